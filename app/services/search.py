"""Find songs by what people type, behind one function for every database.

Each song has ``search_text``: artist and title, folded, without accents and punctuation. Words may come in any order
and as beginnings. Where few songs hold every word, those that look alike are judged by rapidfuzz, so that a
typo or two is forgiven.
"""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz import fuzz
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services import search_index
from app.services.text import LONGEST, artist_key, fold, plain
from app.tables import Song, SongPlays

_ENOUGH = 74.0
_FEW = 5
_MOST_WORDS = 12


def search(db: Session, query: str, limit: int = 20) -> list[Song]:
    """Songs for a query, best first: whole name, then beginnings, then how often the circle played them."""
    readable = query[:LONGEST].encode("utf-8", "replace").decode().replace("\x00", " ")
    words = plain(readable).split()[:_MOST_WORDS]
    if not words:
        return []
    asked = " ".join(words)
    ids = [*search_index.named(db, artist_key(readable), fold(readable)), *search_index.holding(db, words)]
    judged = _judge(db, ids, asked, words)
    if len(judged) < limit and (more := search_index.holding(db, words, inside=True)):
        judged |= _judge(db, [i for i in more if i not in judged], asked, words)
    if len(judged) < min(_FEW, limit):
        judged |= _judge(db, [i for i in search_index.alike(db, words) if i not in judged], asked, words, alike=True)
    plays = _plays(db, list(judged))
    best = sorted(judged, key=lambda song: (*judged[song], -plays.get(song, 0), song))[:limit]
    found = {song.id: song for song in db.scalars(select(Song).where(Song.id.in_(best)))}
    return [found[song] for song in best]


_Closeness = tuple[int, float]


def _judge(
    db: Session, ids: Sequence[int], asked: str, words: Sequence[str], *, alike: bool = False
) -> dict[int, _Closeness]:
    """How close songs are, smaller is closer; those that neither hold every word nor are alike are left out."""
    judged: dict[int, _Closeness] = {}
    rows = db.execute(select(Song.id, Song.artist, Song.search_text).where(Song.id.in_(set(ids)))) if ids else ()
    for song, name, both in rows:
        artist = plain(name)
        both = both.strip()
        title = both[len(artist) + 1 :] if both.startswith(f"{artist} ") else both
        close = _closeness(asked, words, artist, title)
        if close is None and alike and (likeness := _likeness(asked, artist, title)) >= _ENOUGH:
            close = (4, -likeness)
        if close is not None:
            judged[song] = close
    return judged


def _closeness(asked: str, words: Sequence[str], artist: str, title: str) -> _Closeness | None:
    both, turned = f"{artist} {title}", f"{title} {artist}"
    bare = artist.removeprefix("the ")
    if asked in (title, artist, both, turned, bare):
        return 0, 0.0
    if any(name.startswith(asked) for name in (title, artist, bare, turned)):
        return 1, 0.0
    parts = both.split()
    if all(any(part.startswith(word) for part in parts) for word in words):
        return 2, 0.0
    return (3, 0.0) if all(word in both for word in words) else None


def _likeness(asked: str, artist: str, title: str) -> float:
    """0–100: the better of the query against title, artist, and both in either order."""
    both = f"{artist} {title}"
    return max(
        fuzz.ratio(asked, title), fuzz.ratio(asked, artist), fuzz.ratio(asked, artist.removeprefix("the ")),
        fuzz.token_sort_ratio(asked, both), 0.85 * fuzz.partial_ratio(asked, both) if len(asked) > 4 else 0.0,
    )  # fmt: skip


def _plays(db: Session, ids: Sequence[int]) -> dict[int, int]:
    if not ids:
        return {}
    rows = db.execute(select(SongPlays.song_id, SongPlays.plays).where(SongPlays.song_id.in_(ids)))
    return {row.song_id: row.plays for row in rows}
