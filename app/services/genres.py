"""Genres of songs that came without: guessed once from the song's vector, marked, and editable by any listener."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rapidfuzz import fuzz, process
from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from app.db import Database
from app.errors import BadInput
from app.services import catalogue
from app.services.text import clean, fold, show
from app.starter.reading import vocabulary
from app.tables import Song, SongGenre

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    from app.lm.engine import Engine
    from app.lm.song_text import SongText

MOST = 5
# Measured on the starter catalogue with whole artists held out (benchmarks/genres.md). For artists that the music
# adapter has read, 61 % of what reaches it is right; for those that it never read, next to nothing does (3 guesses,
# none right).
SURE = 0.28
_MOST_GUESSED = 2
_MOST_LABELLED = 20_000
_PART = 2000


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


def infer(db: Database, engine: Engine, write_text: SongText, ids: Sequence[int] | None = None) -> int:
    """Guess the genres of encoded songs that have none, of all or of some; returns how many got any.

    An artist's songs are judged together, by the artists whose songs are nearest. What is guessed is marked, becomes
    part of the song text, and is encoded. It is never guessed again: neither a guess nor a listener's word is
    overwritten, and no guess counts as a label.
    """
    with db.read() as session:
        bare = select(Song.id, Song.artist_key).where(Song.genres_from == "given", Song.id.not_in(_WITH_GENRES))
        asked = _grouped(session.execute(bare if ids is None else bare.where(Song.id.in_(ids))))
        if not asked:
            return 0
        labelled = _labelled(session)
    guessed: list[int] = []
    artists = list(asked)
    for start in range(0, len(artists), _PART):
        part = {artist: asked[artist] for artist in artists[start : start + _PART]}
        sure: dict[int, list[str]] = {}
        for artist, found in engine.guess_genres(part, labelled).items():
            chosen = [genre for genre, share in found if share >= SURE][:_MOST_GUESSED]
            sure |= {song: chosen for song in part[artist] if chosen}
        with db.write() as session:
            for row in catalogue.songs(session, sure).values():
                if not row.genres and row.genres_from == "given":
                    row.genres, row.genres_from = sure[row.id], "inferred"
                    guessed.append(row.id)
    for start in range(0, len(guessed), _PART):
        with db.read() as session:
            texts = catalogue.texts(session, write_text, guessed[start : start + _PART])
        engine.encode_songs(texts)
    return len(guessed)


_WITH_GENRES = select(SongGenre.song_id)


def _grouped(rows: Iterable[Row[int, str]]) -> dict[str, list[int]]:
    grouped: dict[str, list[int]] = {}
    for song, artist in rows:
        grouped.setdefault(artist, []).append(song)
    return grouped


def _labelled(db: Session) -> dict[str, tuple[list[int], set[str]]]:
    """Artists' songs and genres where somebody wrote them, the starter catalogue's first."""
    written = select(Song.id, Song.artist_key, Song.genres).where(
        Song.genres_from != "inferred", Song.id.in_(_WITH_GENRES)
    )
    artists: dict[str, tuple[list[int], set[str]]] = {}
    for song, artist, genres in db.execute(written.order_by(Song.source != "starter", Song.id).limit(_MOST_LABELLED)):
        songs, known = artists.setdefault(artist, ([], set()))
        songs.append(song)
        known.update(genres)
    return artists
