"""Encode songs of the catalogue beside everything else; a song that is removed meanwhile leaves no vector behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.db import Database
from app.services import catalogue, genres

if TYPE_CHECKING:
    from app.lm.engine import Engine
    from app.lm.song_text import SongText


def encode(db: Database, engine: Engine, write_text: SongText, ids: Sequence[int], *, guess: bool = True) -> int:
    """Encode those of some songs that need it, and guess genres for those without; returns how many were encoded."""
    with db.read() as session:
        texts = catalogue.texts(session, write_text, ids)
    encoded = engine.encode_songs(texts)
    if guess:
        genres.infer(db, engine, write_text, ids)
    forget_gone(db, engine, [song for song, _ in texts])
    return encoded


def forget_gone(db: Database, engine: Engine, encoded: Sequence[int]) -> int:
    """Remove the vectors of songs that the database does not have; returns how many.

    To be called after their vectors were written: whoever removes a song later than this looks, removes its vector too.
    """
    with db.read() as session:
        gone = catalogue.gone(session, encoded)
    if gone:
        engine.vectors.remove(gone)
    return len(gone)
