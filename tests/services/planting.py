"""One row or more in every table that holds something of a listener, made from the tables' own columns.

A new table is planted by itself; only a column whose values a CHECK limits needs a line in LIMITED, and a table that
holds nothing of anybody a line in NOBODYS.
"""

from __future__ import annotations

from itertools import count
from typing import Any

from sqlalchemy import JSON, Boolean, Column, Float, Integer, String
from sqlalchemy.orm import Session

from app.tables import Table

NOBODYS = {
    "artists", "songs", "song_genres", "song_plays", "recordings", "song_lookups", "chores", "circle_versions",
    "list_changes",
}  # fmt: skip
LIMITED: dict[str, Any] = {
    "listeners.sharing": "off", "listens.ended": "played", "feedback.verdict": "love", "preferences.kind": "artist",
    "jobs.kind": "taste", "jobs.state": "failed", "soft_duplicates.ended": "played", "imports.state": "done",
    "api_tokens.scopes": "submit", "auth_requests.scopes": "submit", "blend_members.weight": 3,
    "listeners.live_version": None, "songs.genres_from": "listener", "songs.source": "log",
}  # fmt: skip
_serial = count(1)

Row = dict[str, Any]


def plant(db: Session, name: str, friend: str) -> tuple[str, dict[str, list[Row]]]:
    """A new listener with rows in every table; gives their id and the rows by table.

    ``name`` stands in every text of theirs. A table that names two people gets a row for either place; in the second,
    it is ``friend``, the id of somebody else, who comes first and whose name is not known here: "of a friend".
    """
    made: dict[str, list[Row]] = {}
    song = _insert(db, "songs", name, {}, made)
    version = _insert(db, "circle_versions", "the circle", {}, made)
    who = _insert(db, "listeners", name, {}, made)["id"]
    ids = {"listeners": who, "songs": song["id"], "circle_versions": version["id"]}
    for table in Table.metadata.sorted_tables:
        if table.name in NOBODYS or table.name == "listeners":
            continue
        people = [column.name for column in table.columns if _parent(column) == "listeners"]
        for place in people or [""]:
            named = {column: who if column == place else friend for column in people}
            is_theirs = not people or place == people[0]
            row = _insert(db, table.name, name if is_theirs else "of a friend", ids, made, named)
            if is_theirs and "id" in row:
                ids[table.name] = row["id"]
    return who, made


def _parent(column: Column[Any]) -> str:
    return next((key.column.table.name for key in column.foreign_keys), "")


def _insert(
    db: Session, table: str, name: str, ids: dict[str, Any], made: dict[str, list[Row]], named: Row | None = None
) -> Row:
    columns = Table.metadata.tables[table].columns
    row = {column.name: (named or {}).get(column.name, _value(column, name, ids)) for column in columns}
    db.execute(Table.metadata.tables[table].insert().values(row))
    made.setdefault(table, []).append(row)
    return row


def _value(column: Column[Any], name: str, ids: dict[str, Any]) -> Any:
    known = f"{column.table.name}.{column.name}"
    if known in LIMITED:
        return LIMITED[known]
    if _parent(column):
        return ids[_parent(column)]
    serial = next(_serial)
    if isinstance(column.type, String) and (column.type.length or 99) < len(f"{name} {serial}"):
        return f"{serial:016x}"[-column.type.length :]  # no room for a name
    kinds: list[tuple[Any, Any]] = [
        (Boolean, True), (Integer, 1_000_000 + serial), (Float, 0.5), (JSON, [f"{name} {serial}"]),
        (String, f"{name} {serial}" if column.name != "id" else f"{serial:016x}"),
    ]  # fmt: skip
    return next(value for kind, value in kinds if isinstance(column.type, kind))
