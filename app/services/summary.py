"""A listener's taste in a line: what they play most, in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.tables import Listen, Song

_SONGS = 1000  # the most played ones tell
_FEWEST = 3
Kind = TypeVar("Kind", str, int)


@dataclass(frozen=True, slots=True)
class Line:
    """The genres, the artists and the decade that one plays most, most played first; the decade by its first year."""

    genres: tuple[str, ...]
    artists: tuple[tuple[str, str], ...]
    decade: int | None


def taste_line(db: Session, listener: str) -> Line | None:
    """None before three different songs. Each song counts by its plays, at most ten, so that no single one is all."""
    plays = func.sum(Listen.plays).label("plays")
    played = (
        select(Listen.song_id, plays)
        .where(Listen.listener_id == listener, Listen.ended == "played", Listen.learn)
        .group_by(Listen.song_id)
        .order_by(plays.desc())
        .limit(_SONGS)
        .subquery()
    )
    genres, artists, decades = Counter[str](), Counter[str](), Counter[int]()
    names: dict[str, str] = {}
    rows = db.execute(select(Song, played.c.plays).join(played, played.c.song_id == Song.id)).all()
    for song, count in rows:
        weight = min(int(count), 10)
        artists[song.artist_key] += weight
        names[song.artist_key] = song.artist
        for genre in song.genres:
            genres[genre] += weight
        if song.year is not None:
            decades[song.year // 10 * 10] += weight
    if len(rows) < _FEWEST:
        return None
    top = tuple((key, names[key]) for key, _ in _most(artists, 3))
    return Line(tuple(genre for genre, _ in _most(genres, 3)), top, next((d for d, _ in _most(decades, 1)), None))


def _most(counted: Counter[Kind], most: int) -> list[tuple[Kind, int]]:
    """Most first; ties in a fixed order."""
    return sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))[:most]
