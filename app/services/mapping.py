"""The taste map: the catalogue around, one's own songs lit, and how the adapter moved them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.services import catalogue
from app.services.recommending import EngineTypes
from app.services.voices import of as voice_of
from app.tables import Song, SongGenre

if TYPE_CHECKING:
    from app.lm.engine import Engine
    from app.lm.layout import Point

_MINE = 150
_OTHERS = 700
_REGIONS = 14
_A_REGION = 300
_laying = threading.Lock()


@dataclass(frozen=True, slots=True)
class Region:
    """A genre and the middle of its songs on the map."""

    name: str
    at: Point


@dataclass(frozen=True, slots=True)
class MySong:
    """One own song on the map: its places by the base and by the adapter, the genre whose middle is nearest to either,
    and how far the adapter turned it (0: not at all, 1: to where nothing is alike)."""

    song: Song
    base: Point
    now: Point
    near_before: str
    near: str
    turned: float


@dataclass(frozen=True, slots=True)
class TasteMap:
    """Everything that the picture and the table show."""

    others: Sequence[Point]
    mine: Sequence[MySong]
    regions: Sequence[Region]
    version: str | None


def start(engine: Engine) -> bool:
    """Whether the map is laid out; if not, it is done beside the request, once."""
    if engine.laid_out():
        return True

    def work() -> None:
        with _laying:
            engine.lay_out()

    if not _laying.locked():
        threading.Thread(target=work, name="lay-out", daemon=True).start()
    return False


def taste_map(db: Session, engine: Engine, kinds: EngineTypes, listener: str) -> TasteMap:
    """The map of one listener, through the version that answers for them now."""
    (whose, version, own, _), _past = voice_of(db, engine, kinds, listener, picks=False)
    liked = [song for song in own if song.weight > 0][:_MINE]
    regions = _regions(db, engine)
    rows = catalogue.songs(db, [song.id for song in liked])
    mine = [
        MySong(rows[m.song], m.base, m.now, _near(regions, m.base), _near(regions, m.now), max(0.0, 1 - m.likeness))
        for m in engine.moved(whose, version, liked)
        if m.song in rows
    ]
    return TasteMap(engine.scattered(_OTHERS), mine, regions, version)


def _regions(db: Session, engine: Engine) -> list[Region]:
    counted = func.count().label("songs")
    largest = (
        select(SongGenre.genre).group_by(SongGenre.genre).order_by(counted.desc(), SongGenre.genre).limit(_REGIONS)
    )
    found = []
    for genre in list(db.scalars(largest)):
        ids = list(db.scalars(select(SongGenre.song_id).where(SongGenre.genre == genre).limit(_A_REGION)))
        places = list(engine.positions(ids).values())
        if places:
            middle = (sum(x for x, _ in places) / len(places), sum(y for _, y in places) / len(places))
            found.append(Region(genre, middle))
    return found


def _near(regions: Sequence[Region], at: Point) -> str:
    if not regions:
        return ""
    return min(regions, key=lambda r: (r.at[0] - at[0]) ** 2 + (r.at[1] - at[1]) ** 2).name
