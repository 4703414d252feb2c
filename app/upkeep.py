"""Wires what the worker does beside jobs: tidy, back up and prove the backup, shred what was deleted."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import gmtime, strftime
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db import Database
from app.errors import AdapterProblem, BadInput, TooBusy
from app.lm.asking import CIRCLE
from app.services import accounts, backup, preparing, privacy
from app.services.chores import Doing
from app.services.recommending import EngineTypes, recommend
from app.settings import Settings
from app.tables import Listener, Song, now

if TYPE_CHECKING:
    from app.lm.engine import Engine

_DAY = 86_400
_ASKED = 3  # listeners whom a restored backup must give a list to


def doings(
    database: Database, settings: Settings, open_engine: Callable[[], Engine], kinds: EngineTypes
) -> dict[str, Doing]:
    """Every chore of this place, by name."""

    def tidy() -> str:
        backup.sweep(settings.backups)
        with database.write() as db:
            return f"{accounts.sweep(db)} sessions and links that had ended were removed"

    def save() -> str:
        file = settings.backups / _name(now())
        made = backup.back_up(database, settings.adapters, file)
        asked = prove(file, open_engine(), kinds)
        gone = rotate(settings.backups, settings.backup_keep)
        return f"{file.name}: {made.adapters} adapters; restored on trial, {asked} lists asked; {gone} old ones removed"

    def shred() -> str:
        return shred_all(database, settings)

    regular = {"tidy": Doing(tidy, _DAY), "shred": Doing(shred)}
    return regular | ({"backup": Doing(save, settings.backup_hours * 3600)} if settings.can_back_up else {})


def prove(file: Path, engine: Engine, kinds: EngineTypes) -> int:
    """Restore a backup into a fresh place and ask it for lists; returns for how many listeners. Raises BadInput."""
    from app.lm.engine import Engine

    with tempfile.TemporaryDirectory(prefix=backup.TRIAL, dir=file.parent) as place:
        settings = Settings(home=Path(place), database_url="")
        backup.restore(file, settings.data, settings.adapters)
        preparing.migrate(settings.url)
        restored = Database(settings.url)
        try:
            trial = Engine(engine.base, dataclasses.replace(engine.settings, adapters=settings.adapters, storage=""))
            with restored.read() as db:
                people = _to_ask(db)
                for who in people:
                    _ask(db, trial, kinds, who, _is_fit(engine, who))
                return len(people)
        finally:
            restored.close()


def _to_ask(db: Session) -> list[Listener]:
    return list(db.scalars(select(Listener).order_by(Listener.live_version.is_(None), Listener.id).limit(_ASKED)))


def _is_fit(engine: Engine, who: Listener) -> bool:
    """Whether the running place itself can use the listener's live version: a backup mends no broken one."""
    try:
        return who.live_version is None or bool(engine.adapter(who.id, who.live_version))
    except AdapterProblem:
        return False


def _ask(db: Session, engine: Engine, kinds: EngineTypes, who: Listener, is_fit: bool) -> None:
    made = recommend(db, engine, kinds, who.id)
    if is_fit and made.has_history and made.version != who.live_version:
        raise BadInput(f"Restored on trial, the backup does not answer {who.id} with version {who.live_version}.")


def _name(at: int) -> str:
    return f"earshot-{strftime('%Y%m%d-%H%M%S', gmtime(at))}.tar.gz"


def rotate(folder: Path, keep: int) -> int:
    """Remove all but the newest backups of the schedule; returns how many.

    Those whose names say a time to come were made before the clock was set back, and count as the oldest.
    """
    newest = _name(now())
    old = sorted(folder.glob("earshot-*.tar.gz"), key=lambda file: (file.name <= newest, file.name))[:-keep]
    for file in old:
        file.unlink()
    return len(old)


def _keep_only_shared(settings: Settings, songs: Callable[[], set[int]]) -> int:
    from app.lm.shared_vectors import keep_only

    return keep_only(settings.vectors, settings.storage, songs)


def shred_all(database: Database, settings: Settings) -> str:
    """Remove what deleted rows left in files: folders of who has left, vectors of songs that are gone, free pages, the
    write-ahead log.

    Raises TooBusy if somebody was reading just then.
    """
    from app.lm.compacting import keep_only

    privacy.remove_strays(database, [settings.adapters, settings.data / "imports"], but=[CIRCLE])

    def songs() -> set[int]:
        with database.read() as db:
            return set(db.scalars(select(Song.id)))

    gone = _keep_only_shared(settings, songs) if settings.storage else keep_only(settings.vectors, songs)
    if not privacy.shred(database):
        raise TooBusy("Somebody was reading the database; what was deleted is shredded in a minute.")
    return f"the database was rewritten, {gone} vectors of songs that are gone were removed"
