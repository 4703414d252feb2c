"""Every row that the database holds of a listener, table by table; a new table is in it at once.

The rest of the zip says the same in other programs' words; this says it in ours, so that nothing is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy import Column, ColumnElement, Table, or_, select
from sqlalchemy.orm import Session

from app.services.exporting.listening import line_of
from app.tables import Song
from app.tables import Table as Base

_AT_ONCE = 2_000
# Keys to the account, of which only hashes are kept, and the worker's own notes of which process has a job.
SECRET = frozenset({"password_hash", "token_hash", "session_hash", "lease_owner"})

# Columns that name a listener in what somebody else says: whom a friend shares with is that friend's.
OTHERS_WORD = frozenset({"shares.friend_id"})


def held(listener_id: str) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    """(table, condition) of every table with rows of a listener: the row names them, or belongs to one that does."""
    found: dict[Table, ColumnElement[bool]] = {}
    listeners = Base.metadata.tables["listeners"]
    for table in Base.metadata.sorted_tables:
        named = [c for c in table.columns if _points_to(c, listeners) and str(c) not in OTHERS_WORD]
        if table is listeners:
            found[table] = table.c.id == listener_id
        elif named:
            found[table] = or_(*(column == listener_id for column in named))
        else:
            parents = [(column, parent) for column in table.columns for parent in found if _points_to(column, parent)]
            theirs = [column.in_(select(parent.c.id).where(found[parent])) for column, parent in parents]
            if theirs:
                found[table] = or_(*theirs)
    yield from found.items()


def _points_to(column: Column[object], table: Table) -> bool:
    return any(key.column.table is table for key in column.foreign_keys)


def every(db: Session, listener_id: str) -> Iterator[tuple[str, Iterable[bytes]]]:
    """(table's name, its rows as lines of JSON) of each table that has rows of the listener."""
    for table, condition in held(listener_id):
        if db.execute(select(1).select_from(table).where(condition).limit(1)).first():
            yield table.name, _lines(db, table, condition)


def _lines(db: Session, table: Table, condition: ColumnElement[bool]) -> Iterator[bytes]:
    columns = [column for column in table.columns if column.name not in SECRET]
    wanted = select(*columns).where(condition).order_by(*table.primary_key.columns)
    if "song_id" in table.c:
        wanted = wanted.add_columns(Song.artist.label("song_artist"), Song.title.label("song_title"))
        wanted = wanted.join(Song, Song.id == table.c.song_id)
    for row in db.execute(wanted, execution_options={"yield_per": _AT_ONCE}).mappings():
        yield line_of(dict(row))
