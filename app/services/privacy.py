"""Leave, and be gone: what an account's deletion removes, and how its traces leave the files."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from sqlalchemy import Column, ColumnElement, Table, delete, exists, func, select, text
from sqlalchemy.orm import Session

from app.db import Database, alone
from app.errors import Conflict
from app.objects import Objects
from app.services import blends, chores
from app.tables import Listener, Song
from app.tables import Table as Base
from app.tables_sharing import BlendMember

log = logging.getLogger("earshot.privacy")

_CHUNK = 400
_BROUGHT = ("log", "import")  # sources of songs that a listener brought; the others came with a catalogue
_ID = re.compile(r"[0-9a-f]{16}")


def referring(to: Column[object], on_delete: str | None = "CASCADE") -> Iterator[tuple[Table, Column[object]]]:
    """(table, column) of every foreign key to a column, with that ON DELETE; with None, of those that have none."""
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            if any(key.column is to and key.ondelete == on_delete for key in column.foreign_keys):
                yield table, column


def what_goes(db: Session, listener_id: str) -> dict[str, int]:
    """How many rows of each table go with an account, and how many songs that only this listener brought."""
    found: dict[str, int] = {}
    for table, column in referring(_listeners().c.id):
        rows = db.scalar(select(func.count()).select_from(table).where(column == listener_id)) or 0
        found[table.name] = found.get(table.name, 0) + rows
    if "blends" in found:  # those of three people or more are handed on
        mine = select(BlendMember.blend_id).where(BlendMember.listener_id == listener_id)
        members = select(BlendMember.blend_id).where(BlendMember.blend_id.in_(mine)).group_by(BlendMember.blend_id)
        found["blends"] = len(db.scalars(members.having(func.count() < 3)).all())
    found["songs"] = len(_unshared(db, listener_id, _brought_by(db, listener_id)))
    return {name: rows for name, rows in found.items() if rows}


def delete_account(db: Session, listener_id: str) -> None:
    """Remove a listener, everything of theirs, and songs that nobody else has anything to do with.

    The rows are gone with the commit; the chore "shred" removes what is left in files, RAM and free pages. Raises
    Conflict for the only administrator of a circle with others in it.
    """
    alone(db, "administrators")
    is_admin = db.scalar(select(Listener.is_admin).where(Listener.id == listener_id))
    others = select(func.count()).select_from(Listener).where(Listener.id != listener_id)
    if is_admin and db.scalar(others) and not db.scalar(others.where(Listener.is_admin)):
        raise Conflict("You are the only administrator. Make somebody else one first, then leave.")
    for blend in db.scalars(select(BlendMember.blend_id).where(BlendMember.listener_id == listener_id)).all():
        blends.leave(db, listener_id, blend)  # it is handed on to those who stay
    db.flush()
    db.execute(delete(Listener).where(Listener.id == listener_id))
    # Also what they brought and then deleted their own rows of: of such songs nothing says who brought them.
    db.execute(delete(Song).where(Song.source.in_(_BROUGHT), *_named_by_nobody()))
    chores.ask(db, "shred")


def _listeners() -> Table:
    return Base.metadata.tables["listeners"]


def _songs() -> Table:
    return Base.metadata.tables["songs"]


def _parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), _CHUNK):
        yield ids[start : start + _CHUNK]


def _named_by_nobody() -> list[ColumnElement[bool]]:
    """That no listen, feedback, duplicate or playlist has a song."""
    return [Song.id.not_in(select(column)) for _, column in referring(_songs().c.id, None)]


def _brought_by(db: Session, listener_id: str) -> list[int]:
    """Songs not of a catalogue that the listener has to do with."""
    found: set[int] = set()
    for table, column in referring(_songs().c.id, None):
        if "listener_id" in table.c:
            mine = select(column).where(table.c.listener_id == listener_id)
            found |= set(db.scalars(select(Song.id).where(Song.id.in_(mine), Song.source.in_(_BROUGHT))))
    return sorted(found)


def _unshared(db: Session, listener_id: str, songs: Sequence[int]) -> list[int]:
    """Those of some songs that no row of anybody else's names."""
    kept: list[int] = []
    for part in _parts(songs):
        only = select(Song.id).where(Song.id.in_(part))
        for table, column in referring(_songs().c.id, None):
            other = column == Song.id
            if "listener_id" in table.c:
                other = other & (table.c.listener_id != listener_id)
            only = only.where(~exists().where(other))
        kept += db.scalars(only)
    return kept


# -- what is left when the rows are gone ------------------------------------------------------------


def remove_files(folders: Sequence[Path], listener_id: str, storage: str = "") -> None:
    """Delete a listener's own folder in each of some folders that have one for each listener, and in shared storage.

    Raises StorageProblem if the storage does not answer; the worker's sweep deletes there what no row speaks of.
    """
    if storage:
        Objects(storage).remove_below(f"adapters/{listener_id}")
    for folder in folders:
        if (folder / listener_id).is_dir():
            shutil.rmtree(folder / listener_id)


def remove_strays(database: Database, folders: Sequence[Path], but: Collection[str] = ()) -> int:
    """Delete folders of listeners who are gone, below folders that have one for each; returns how many.

    A kill between a deletion's commit and its files leaves some, and so does a retrain or an upload that made its
    folder anew just then. ``but`` are ids that are nobody's. Folders are listed before people: one of somebody new is
    no stray.
    """
    there = [path for folder in folders for path in folder.glob("*") if _ID.fullmatch(path.name) and path.is_dir()]
    with database.read() as db:
        known = {*db.scalars(select(Listener.id)), *but}
    strays = [path for path in there if path.name not in known]
    for path in strays:
        shutil.rmtree(path)
    return len(strays)


def shred(database: Database) -> bool:
    """Rewrite a SQLite database without the bytes of deleted rows: search index, free space, and write-ahead log.

    False if somebody was reading just then, so that the log still holds old pages; call again later. PostgreSQL's own
    vacuum does its part by itself.
    """
    if not database.is_sqlite:
        return True
    with database.write() as db:
        db.execute(text("INSERT INTO song_search(song_search) VALUES ('optimize')"))
    database.outside_transaction("VACUUM")
    busy, _, _ = database.outside_transaction("PRAGMA wal_checkpoint(TRUNCATE)")[0]
    return not busy
