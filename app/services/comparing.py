"""Two versions of one's taste, list beside list: what each would recommend now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from app.services import catalogue, hiding, history, retraining
from app.services.recommending import EngineTypes
from app.tables import Song

if TYPE_CHECKING:
    from app.lm.engine import Engine

BASE = ""
_COUNT = 20


@dataclass(frozen=True, slots=True)
class Placed:
    """A song of one list; ``there`` is its place in the other one, None if it is not in it."""

    song: Song
    place: int
    there: int | None


@dataclass(frozen=True, slots=True)
class Column:
    """One version's list. ``answered`` is false if its files could not be trusted and the base stepped in."""

    version: str
    label: str
    answered: bool
    songs: Sequence[Placed]


def side_by_side(
    db: Session, engine: Engine, kinds: EngineTypes, listener: str, left: str, right: str
) -> tuple[Column, Column]:
    """What two of a listener's versions (BASE is the base) recommend from the same history. Raises NotFound."""
    past = history.read(db, listener, kinds.song_text)
    own = past.own(db, kinds.song_text, kinds.own)
    hidden = {song for song, verdict in past.verdicts.items() if verdict in ("dislike", "not_now")}
    hidden |= hiding.hidden_songs(db, listener)
    ask = kinds.ask(count=_COUNT, without=past.known | hidden)
    lists: list[list[int]] = []
    answered: list[bool] = []
    labels = [_label(db, listener, version) for version in (left, right)]
    for version in (left, right):
        ranked, by = engine.recommend(listener, version or None, own, ask, lambda ids: catalogue.artist_keys(db, ids))
        lists.append([entry.song for entry in ranked])
        answered.append((by or BASE) == version)
    rows = catalogue.songs(db, {*lists[0], *lists[1]})
    columns = []
    for n, version in enumerate((left, right)):
        other = {song: place for place, song in enumerate(lists[1 - n], 1)}
        placed = [Placed(rows[s], place, other.get(s)) for place, s in enumerate(lists[n], 1) if s in rows]
        columns.append(Column(version, labels[n], answered[n], placed))
    return columns[0], columns[1]


def _label(db: Session, listener: str, version: str) -> str:
    if version == BASE:
        return "the base"
    return f"version {retraining.own_version(db, listener, version).number}"
