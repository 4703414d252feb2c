"""What is interrupted: each prepares what it needs, then counts its steps, then acts. Runs in a process of its own."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.db import Database
from app.services import accounts, importing, listens, preparing, privacy, retraining
from app.services.imports import running
from app.services.imports.runner import Runner
from app.services.imports.staging import Staging
from app.services.plain_format import Row
from app.settings import Settings
from app.tables import AdapterVersion
from app.tables_imports import Import

if TYPE_CHECKING:
    from app.lm.engine import Engine
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


CHUNK = 20  # rows in one transaction, so that the import has two
BROUGHT = [(f"Artist {n % 7}", f"Brought {n}", 1_700_000_000 + n) for n in range(40)]


def _runner(home: Path) -> tuple[Runner, LoadedTiny]:
    from app.lm.song_text import song_text

    importing.CHUNK = CHUNK
    db = Database(Settings(home=home).url)
    return Runner(db, Staging(Settings(home=home).data / "imports"), song_text), LoadedTiny(home)


class LoadedTiny:
    """The tiny base of a home, loaded when songs are encoded."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def get(self) -> Engine:
        """The engine."""
        return worker_on_tiny_base(self._home).engine


def bring_a_file(home: Path, steps: Steps) -> None:
    """Ana's upload as the pages take it: staged, read for the preview, run, its new songs encoded."""
    runner, base = _runner(home)
    steps.watch()
    _bring(runner, base)
    runner.close()


def _bring(runner: Runner, base: LoadedTiny) -> None:
    lines = [
        {"listened_at": at, "track_metadata": {"artist_name": artist, "track_name": title}}
        for artist, title, at in BROUGHT
    ]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    with runner.db.write() as session:
        ana = accounts.by_name(session, "Ana").id
        running.discard_staged(session, runner.staging, ana)
        made = running.begin(session, ana, "web", "listens.jsonl").id
    kept = runner.staging.keep(ana, made, [("listens.jsonl", io.BytesIO(content))], 1_000_000)
    with runner.db.write() as session:
        session.get_one(Import, made).files = kept
    runner.submit(made, base)
    runner.wait()
    _run(runner, base, ana, made)


def _run(runner: Runner, base: LoadedTiny, ana: str, made: str) -> None:
    with runner.db.write() as session:
        running.start(session, ana, made)
    runner.submit(made, base)
    runner.wait()


def go_on_with_the_file(home: Path, steps: Steps) -> None:
    """What follows a kill: the next start goes on by itself; Ana runs what was only previewed, or brings it again."""
    runner, base = _runner(home)
    runner.resume(base)
    runner.wait()
    with runner.db.read() as session:
        rows = list(session.scalars(select(Import)))
    if not any(row.state == "done" for row in rows):
        ready = [row for row in rows if row.state == "ready"]
        _run(runner, base, ready[0].listener_id, ready[0].id) if ready else _bring(runner, base)
    runner.close()


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
    from app.main import KINDS, open_store
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
    worker = worker_on_tiny_base(home)
    steps.watch()
    with worker.db.write() as session:
        retraining.reclaim(session, worker.owner)
    worker.sweep()
    worker.once()


def recover(home: Path, steps: Steps) -> None:
    """What the next worker does after a kill: take back, sweep, and finish what is queued."""
    retrain(home, steps)
