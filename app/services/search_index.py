"""Ask the trigram index of either database for songs that may fit a query; search.py judges them.

On SQLite the index is FTS5's (``song_search``), on PostgreSQL pg_trgm's. Search texts have spaces at either end, so
that " yes" finds beginnings of words and a word of two letters has a trigram of its own. Scripts that put no space
between words are looked up anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from rapidfuzz import fuzz, process
from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.tables import Song, SongPlays

_POOL = 800  # ids that one question of the index gives at most
_TERMS = 60
_CHOSEN = 60
_NOTHING = '"\x01\x01\x01"'
_END = "\U0010ffff"
# Kana, Han, Hangul, Thai, Lao, Khmer, Burmese
_UNSPACED = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x3400, 0x9FFF),
             (0xAC00, 0xD7AF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))  # fmt: skip


def holding(db: Session, words: Sequence[str], *, inside: bool = False) -> list[int]:
    """Songs in which every word begins a word, or (``inside``) stands anywhere; of many the likeliest."""
    asked = [word for word in words if len(word) > 1 or _unspaced(word)]
    letters = [f" {letter} " for letter in words[:-1]] + [f" {words[-1]}"]  # if there is nothing but single letters
    if inside and all(len(word) < 3 for word in asked):
        return []
    pieces = [word if inside or _unspaced(word) else f" {word}" for word in asked] or letters
    holds = [Song.search_text.contains(piece, autoescape=True) for piece in pieces]
    if _is_sqlite(db):
        found = _match(db, " AND ".join(f"({_term(db, piece)})" for piece in pieces))
    else:
        found = list(db.scalars(select(Song.id).where(*holds).limit(_POOL)))
    if len(found) < _POOL:
        return _best(db, found)
    # More than the pool: what the circle plays most must not be missed.
    most = select(SongPlays.song_id).order_by(SongPlays.plays.desc()).limit(_POOL).subquery()
    played = select(Song.id).join(most, most.c.song_id == Song.id).where(*holds)
    return [*_best(db, found), *_best(db, list(db.scalars(played)))]


def alike(db: Session, words: Sequence[str]) -> list[int]:
    """Songs in which something like the longer words stands: each may be mistyped at its beginning or at its end."""
    groups = [_ends(word) for word in sorted(words, key=len, reverse=True)[:5] if len(word) > 3]
    if not groups:
        return []
    if not _is_sqlite(db):
        db.execute(text("SET LOCAL pg_trgm.word_similarity_threshold = 0.3"))
        near = func.word_similarity(" ".join(words), Song.search_text)
        close = Song.search_text.op("%>")(" ".join(words))
        return list(db.scalars(select(Song.id).where(close).order_by(near.desc(), Song.id).limit(_CHOSEN * 5)))
    found = _match(db, " AND ".join(f"({_any(group)})" for group in groups))
    if not found and len(groups) > 1:
        found = _match(db, _any([piece for group in groups[:2] for piece in group]))
    if len(found) <= _CHOSEN * 2:
        return found
    rows = db.execute(select(Song.id, Song.search_text).where(_among(db, found, Song.id)))
    texts = {row.id: row.search_text for row in rows}
    scorer = fuzz.partial_ratio if len(words) == 1 else fuzz.partial_token_sort_ratio
    return [song for _, _, song in process.extract(" ".join(words), texts, scorer=scorer, limit=_CHOSEN * 2)]


def named(db: Session, artist_key: str, title_key: str) -> list[int]:
    """Songs whose artist or title is exactly that: they must not be missed among many that begin so."""
    ids: list[int] = []
    for same in (Song.title_key == title_key, Song.artist_key == artist_key):
        ids += _best(db, list(db.scalars(select(Song.id).where(same).limit(_CHOSEN * 5))))
    return ids


def _is_sqlite(db: Session) -> bool:
    return db.get_bind().dialect.name == "sqlite"


def _unspaced(word: str) -> bool:
    return any(low <= ord(c) <= high for c in word for low, high in _UNSPACED)


def _ends(word: str) -> list[str]:
    """Two pieces of a word, one of which one typing mistake leaves whole."""
    size = 3 if len(word) > 5 else 2
    return [f" {word[:size]}", f"{word[-size:]} "]


def _best(db: Session, ids: Sequence[int]) -> list[int]:
    """All of a few songs; of many the most played and those with the shortest names, which fit most exactly."""
    if len(ids) <= _CHOSEN * 2:
        return list(ids)
    played = select(SongPlays.song_id).where(_among(db, ids, SongPlays.song_id)).order_by(SongPlays.plays.desc())
    short = select(Song.id).where(_among(db, ids, Song.id)).order_by(func.length(Song.search_text), Song.id)
    return [*db.scalars(played.limit(_CHOSEN)), *db.scalars(short.limit(_CHOSEN))]


def _among(db: Session, ids: Sequence[int], column: InstrumentedAttribute[int]) -> ColumnElement[bool]:
    if _is_sqlite(db):
        return column.in_(text("SELECT value FROM json_each(:ids)").bindparams(ids=json.dumps(list(ids))))
    return column == func.any(list(ids))


# -- SQLite -----------------------------------------------------------------------------------------


def _quoted(term: str) -> str:
    return '"' + term.replace('"', '""') + '"'


def _any(pieces: Sequence[str]) -> str:
    return " OR ".join(_quoted(piece) for piece in pieces)


def _term(db: Session, piece: str) -> str:
    """An FTS5 expression for a piece; one shorter than a trigram stands for the trigrams that begin with it."""
    if len(piece) >= 3:
        return _quoted(piece)
    wanted = text("SELECT term FROM song_search_terms WHERE term >= :low AND term < :high LIMIT :most")
    return _any(list(db.scalars(wanted, {"low": piece, "high": piece + _END, "most": _TERMS}))) or _NOTHING


def _match(db: Session, expression: str) -> list[int]:
    found = text("SELECT rowid FROM song_search WHERE song_search MATCH :m LIMIT :most")
    return list(db.scalars(found, {"m": expression, "most": _POOL}))
