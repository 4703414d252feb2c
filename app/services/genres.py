"""Genres of songs that came without: guessed once from the song's vector, marked, and editable by any listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rapidfuzz import fuzz, process
from sqlalchemy.orm import Session

from app.errors import BadInput
from app.services import catalogue
from app.services.text import clean, fold, show
from app.starter.reading import vocabulary
from app.tables import Song

if TYPE_CHECKING:
    pass

MOST = 5


def checked(written: str) -> list[str]:
    """Genres from a comma-separated line, each in the vocabulary. Raises BadInput, naming the nearest known one."""
    known, _ = vocabulary()
    chosen: list[str] = []
    for part in clean(written, "The genres", required=False).split(","):
        genre = fold(part)
        if not genre or genre in chosen:
            continue
        if genre not in known:
            near = process.extractOne(genre, sorted(known), scorer=fuzz.ratio)
            hint = f" Did you mean {near[0]}?" if near and near[1] >= 60 else ""
            raise BadInput(f"{show(part.strip())} is not in the list of genres.{hint}")
        chosen.append(genre)
    if len(chosen) > MOST:
        raise BadInput(f"A song has {MOST} genres at most, not {len(chosen)}.")
    return chosen


def edit(db: Session, song_id: int, written: str) -> Song:
    """Replace a song's genres by a listener's word, which nothing else changes. Raises BadInput or NotFound."""
    song = catalogue.song(db, song_id)
    song.genres, song.genres_from = checked(written), "listener"
    return song
