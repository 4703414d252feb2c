"""What is interrupted: each prepares what it needs, then counts its steps, then acts. Runs in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from app.db import Database
from app.lm.song_text import song_text
from app.services import accounts, encoding, importing, listens, preparing, privacy, retraining
from app.services.imports import runner
from app.services.imports.staging import Staging
from app.services.plain_format import Row
from app.settings import Settings
from app.tables import AdapterVersion

if TYPE_CHECKING:
    from app.worker import Worker
    from tests.faults.steps import Steps

IMPORTED = [Row(n, f"Artist {n % 7}", f"Song {n}", 1_700_000_000 + n, 1, None) for n in range(60)]


def migrate(home: Path, steps: Steps) -> None:
    """From whatever revision the database has to the newest."""
    steps.watch()
    preparing.migrate(Settings(home=home).url)


def import_listens(home: Path, steps: Steps) -> None:
    """Ana's file of listens."""
    db = Database(Settings(home=home).url)
    steps.watch()
    with db.write() as session:
        importing.import_rows(session, accounts.by_name(session, "Ana").id, IMPORTED)


class _Encodes:
    """Stands for the engine, whose own part in an import is only to encode the new songs."""

    def get(self) -> Any:
        return self

    def encode_songs(self, texts: list[tuple[int, str]]) -> int:
        return len(texts)


def bring_along(home: Path, steps: Steps) -> None:
    """The web process takes up the import that waits, or that a killed one left, to its end; ten rows at a time."""
    settings = Settings(home=home)
    importing.CHUNK = 10
    encoding.genres.infer = lambda *_: 0  # type: ignore[assignment]  # asks the base
    work = runner.Runner(Database(settings.url), Staging(settings.data / "imports"), song_text)
    steps.watch()
    work.resume(_Encodes())
    work.wait()
    work.close()


def log_a_listen(home: Path, steps: Steps) -> None:
    """One play of a song that is new to the catalogue."""
    db = Database(Settings(home=home).url)
    steps.watch()
    with db.write() as session:
        ana = accounts.by_name(session, "Ana")
        listens.log(session, ana.id, artist="New here", title="Song", at=1_700_000_000)


def promote(home: Path, steps: Steps) -> None:
    """Ana goes back to her first version."""
    db = Database(Settings(home=home).url)
    steps.watch()
    with db.write() as session:
        ana = accounts.by_name(session, "Ana")
        mine = select(AdapterVersion.id).where(AdapterVersion.listener_id == ana.id).order_by(AdapterVersion.number)
        retraining.go_live(session, ana.id, session.scalars(mine).first())


def leave(home: Path, steps: Steps) -> None:
    """Ben deletes his account."""
    settings = Settings(home=home)
    db = Database(settings.url)
    steps.watch()
    with db.write() as session:
        ben = accounts.by_name(session, "Ben").id
        privacy.delete_account(session, ben)
    privacy.remove_files([settings.adapters], ben)


def worker_on_tiny_base(home: Path) -> Worker:
    """The worker of a home whose base is the tiny one in its folder ``tiny``."""
    from app.lm.engine import Engine, EngineSettings
    from app.opening import KINDS, open_store
    from app.worker import Worker

    settings = Settings(home=home)
    engine = Engine.open(
        EngineSettings(
            base_toml=home / "none.toml",
            base_override=str(home / "tiny"),
            vectors=settings.vectors,
            adapters=settings.adapters,
            rank=4,
            threads=1,
        )
    )
    return Worker(Database(settings.url), open_store(settings), lambda: engine, KINDS)


def retrain(home: Path, steps: Steps) -> None:
    """The worker takes Ana's job from the queue to a verdict."""
    from app import training

    # What is shown by the clock would make other steps in each run: only what changes is shown here.
    training._SHOW_SECONDS = training._BEAT_SECONDS = 100_000.0
    worker = worker_on_tiny_base(home)
    steps.watch()
    with worker.db.write() as session:
        retraining.reclaim(session, worker.owner)
    worker.sweep()
    worker.once()


def recover(home: Path, steps: Steps) -> None:
    """What the next worker does after a kill: take back, sweep, and finish what is queued."""
    retrain(home, steps)
