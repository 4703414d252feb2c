"""Which plays are there already: the same second exactly, or told by another source (a soft duplicate).

A chunk of a history in order of time falls where the listener has next to nothing yet: that little is read whole. Where
there is more, it is one indexed look for each row, all rows of a chunk in one query.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from operator import add, sub

from sqlalchemy import select, text, tuple_
from sqlalchemy.orm import Session

from app.services.counting import SAME_SECONDS, may_be_same
from app.services.plain_format import Row
from app.tables import Listen
from app.tables_imports import SoftDuplicate

_HOUR = 3_600  # no song whose length is looked at is longer
_AT_LEAST = 900  # the other source may know a length that this one does not
_FEW = 8  # plays are read whole if there are fewer than one for so many rows
_LOOK = """
SELECT r.key AS place, l.id, l.listened_at, l.ended, l.source, l.duration_ms, l.played_ms
FROM json_each(:rows) AS r CROSS JOIN listens AS l
WHERE l.listener_id = :me AND l.song_id = json_extract(r.value, '$[0]')
  AND l.listened_at BETWEEN json_extract(r.value, '$[1]') - json_extract(r.value, '$[2]')
                        AND json_extract(r.value, '$[1]') + json_extract(r.value, '$[2]')
"""
_LOOK_POSTGRESQL = """
SELECT r.place - 1 AS place, l.id, l.listened_at, l.ended, l.source, l.duration_ms, l.played_ms
FROM unnest(CAST(:songs AS bigint[]), CAST(:times AS bigint[]), CAST(:around AS bigint[]))
  WITH ORDINALITY AS r(song, at, around, place)
JOIN listens AS l ON l.listener_id = :me AND l.song_id = r.song
  AND l.listened_at BETWEEN r.at - r.around AND r.at + r.around
ORDER BY l.listened_at
"""


@dataclass(frozen=True, slots=True)
class Known:
    """A play that a row repeats. ``listen`` is its id (None: it comes in the same chunk)."""

    exact: bool
    listen: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Play:
    at: int
    ended: str
    source: str
    lengths: tuple[int | None, int | None]
    id: int | None = None


def matches(db: Session, listener: str, rows: Sequence[tuple[int, Row]], source: str) -> list[Known | None]:
    """For each (song id, dated row) of a chunk what it repeats, in the database or earlier in the chunk; else None."""
    around = [_around(row) for _, row in rows]
    near: dict[int, list[_Play]] = {}
    for place, id_, at, ended, from_, duration, played in _look(db, listener, rows, around):
        near.setdefault(place, []).append(_Play(at, ended, from_, (duration, played), id_))
    aside = _set_aside(db, listener, rows)
    chunk: set[tuple[int, int]] = set()
    found: list[Known | None] = []
    for place, (song, row) in enumerate(rows):
        assert row.at is not None
        if (song, row.at) in chunk or (song, row.at) in aside:
            found.append(Known(True))
            continue
        known = None
        if place in near:
            play = _Play(row.at, row.ended, row.source or source, (row.duration_ms, row.played_ms))
            known = _best(play, near[place])
        found.append(known)
        if known is None:
            chunk.add((song, row.at))
    return found


def _around(row: Row) -> int:
    longest = min(max(row.duration_ms or 0, row.played_ms or 0) // 1000, _HOUR)
    return max(_AT_LEAST, longest + 11)


def _best(play: _Play, near: Sequence[_Play]) -> Known | None:
    soft: Known | None = None
    for other in near:
        if other.at == play.at:
            return Known(True, other.id)
        soft = soft or _soft(play, other)
    return soft


def _soft(new: _Play, old: _Play) -> Known | None:
    """What another source tells of the same play. One source does not tell a play twice: a song on repeat stays. A
    skip never repeats a play."""
    if new.source == old.source or (new.ended == "skipped" and old.ended == "played"):
        return None
    apart = abs(new.at - old.at)
    if apart <= SAME_SECONDS:
        return Known(False, old.id, f"a soft duplicate: {old.source} tells it within {SAME_SECONDS} s")
    if any(may_be_same(new.at, old.at, length) for length in (*new.lengths, *old.lengths)):
        return Known(False, old.id, f"a soft duplicate: {old.source} tells it one song's length apart")
    return None


def _look(
    db: Session, listener: str, rows: Sequence[tuple[int, Row]], around: Sequence[int]
) -> Sequence[tuple[int, int, int, str, str, int | None, int | None]]:
    few = _look_at_few(db, listener, rows, around)
    if few is not None:
        return few
    if db.get_bind().dialect.name == "sqlite":
        asked = json.dumps([(song, row.at, wide) for (song, row), wide in zip(rows, around, strict=True)])
        return [tuple(r) for r in db.execute(text(_LOOK), {"rows": asked, "me": listener})]
    lists = {"songs": [song for song, _ in rows], "times": [row.at for _, row in rows], "around": list(around)}
    return [tuple(r) for r in db.execute(text(_LOOK_POSTGRESQL), {**lists, "me": listener})]


def _look_at_few(
    db: Session, listener: str, rows: Sequence[tuple[int, Row]], around: Sequence[int]
) -> list[tuple[int, int, int, str, str, int | None, int | None]] | None:
    """The same by all that the listener played in the time of the rows, earliest first; None if that is not little."""
    times = [row.at or 0 for _, row in rows]
    first, last = min(map(sub, times, around), default=0), max(map(add, times, around), default=0)
    columns = (Listen.song_id, Listen.id, Listen.listened_at, Listen.ended, Listen.source, Listen.duration_ms,
               Listen.played_ms)  # fmt: skip
    wanted = select(*columns).where(Listen.listener_id == listener, Listen.listened_at.between(first, last))
    most = len(rows) // _FEW
    played = db.execute(wanted.order_by(Listen.listened_at, Listen.id).limit(most + 1)).all()
    if len(played) > most:
        return None
    of_song: dict[int, list[tuple[int, int, str, str, int | None, int | None]]] = {}
    for song, id_, at, ended, source, duration, heard in played:
        of_song.setdefault(song, []).append((id_, at or 0, ended, source, duration, heard))
    return [
        (place, *play)
        for place, (song, _) in enumerate(rows) if song in of_song
        for play in of_song[song] if abs(play[1] - times[place]) <= around[place]
    ]  # fmt: skip


def _set_aside(db: Session, listener: str, rows: Sequence[tuple[int, Row]]) -> set[tuple[int, int]]:
    """(song, time) of rows that were soft duplicates before."""
    mine = SoftDuplicate.listener_id == listener
    if db.scalar(select(SoftDuplicate.id).where(mine).limit(1)) is None:
        return set()
    found: set[tuple[int, int]] = set()
    for start in range(0, len(rows), 500):
        keys = [(song, row.at) for song, row in rows[start : start + 500]]
        columns = select(SoftDuplicate.song_id, SoftDuplicate.listened_at)
        found |= {(s, t) for s, t in db.execute(
            columns.where(mine, tuple_(SoftDuplicate.song_id, SoftDuplicate.listened_at).in_(keys)))}  # fmt: skip
    return found
