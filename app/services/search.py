"""Find songs by what people type, behind one function for every database.

Each song has ``search_text``: artist and title, folded, without accents and punctuation. Words may come in any order
and as prefixes. Where too few songs hold every word, songs that share enough trigrams are judged by rapidfuzz, so that
a typo or two is forgiven.
"""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz import fuzz
from sqlalchemy import Integer, Select, column, func, select, text
from sqlalchemy.orm import Session

from app.services.text import LONGEST, plain
from app.tables import Listen, Song

_POOL = 300
_ENOUGH = 74.0
_TRIGRAMS = 24


def search(db: Session, query: str, limit: int = 20) -> list[Song]:
    """Songs for a query, best first: whole name, then prefix, then how often the circle played them."""
    words = plain(query[:LONGEST]).split()
    if not words:
        return []
    found = _with_all(db, words)
    if len(found) < limit:
        found += _alike(db, " ".join(words), {song.id for song in found})
    plays = _plays(db, [song.id for song in found])
    asked = " ".join(words)
    found.sort(key=lambda song: (*_closeness(song, asked, words), -plays.get(song.id, 0), song.id))
    return found[:limit]


def _closeness(song: Song, asked: str, words: Sequence[str]) -> tuple[int, float]:
    artist, title = plain(song.artist), plain(song.title)
    both, turned = f"{artist} {title}", f"{title} {artist}"
    bare = artist.removeprefix("the ")
    if asked in (title, artist, both, turned, bare):
        return 0, 0.0
    if any(name.startswith(asked) for name in (title, artist, bare, turned)):
        return 1, 0.0
    parts = both.split()
    if all(any(part.startswith(word) for part in parts) for word in words):
        return 2, 0.0
    if all(word in both for word in words):
        return 3, 0.0
    return 4, -_likeness(asked, song)


def _likeness(asked: str, song: Song) -> float:
    """0–100: the better of the query against title, artist, and both in either order."""
    artist, title = plain(song.artist), plain(song.title)
    return max(
        fuzz.ratio(asked, title), fuzz.ratio(asked, artist), fuzz.ratio(asked, artist.removeprefix("the ")),
        fuzz.token_sort_ratio(asked, f"{artist} {title}"),
        0.85 * fuzz.partial_ratio(asked, f"{artist} {title}") if len(asked) > 4 else 0.0,
    )  # fmt: skip


def _quoted(term: str) -> str:
    return '"' + term.replace('"', '""') + '"'


def _with_all(db: Session, words: Sequence[str]) -> list[Song]:
    """Songs whose search text holds every word."""
    long, short = [w for w in words if len(w) >= 3], [w for w in words if len(w) < 3]
    wanted = select(Song)
    if long and _is_sqlite(db):
        wanted = wanted.where(Song.id.in_(_fts(" AND ".join(_quoted(word) for word in long))))
    else:
        short = list(words)
    for word in short:
        wanted = wanted.where(Song.search_text.contains(word, autoescape=True))
    return list(db.scalars(wanted.limit(_POOL)))


def _alike(db: Session, asked: str, already: set[int]) -> list[Song]:
    """Songs that share trigrams with the query and are close enough by edit distance."""
    trigrams = sorted({asked[i : i + 3] for i in range(len(asked) - 2) if " " not in asked[i : i + 3].strip()})
    if not trigrams or not _is_sqlite(db):
        return []
    expression = " OR ".join(_quoted(t) for t in trigrams[:_TRIGRAMS])
    ids = db.scalars(
        text("SELECT rowid FROM song_search WHERE song_search MATCH :m ORDER BY rank LIMIT :n"),
        {"m": expression, "n": _POOL},
    )
    candidates = db.scalars(select(Song).where(Song.id.in_([i for i in ids if i not in already])))
    return [song for song in candidates if _likeness(asked, song) >= _ENOUGH]


def _fts(expression: str) -> Select[tuple[int]]:
    """Ids of songs that the trigram index finds, as a subquery."""
    matches = text("SELECT rowid AS id FROM song_search WHERE song_search MATCH :match LIMIT 2000")
    found = matches.bindparams(match=expression).columns(column("id", Integer)).subquery("found")
    return select(found.c.id)


def _is_sqlite(db: Session) -> bool:
    return db.get_bind().dialect.name == "sqlite"


def _plays(db: Session, ids: Sequence[int]) -> dict[int, int]:
    if not ids:
        return {}
    rows = db.execute(
        select(Listen.song_id, func.sum(Listen.plays)).where(Listen.song_id.in_(ids)).group_by(Listen.song_id)
    )
    return {song: int(plays) for song, plays in rows}
