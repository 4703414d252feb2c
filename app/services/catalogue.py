"""The catalogue: starter songs, songs that come later, and their song texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, String, func, select, type_coerce
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.services.text import artist_key, clean, plain, title_key
from app.starter.reading import StarterArtist, read
from app.tables import Artist, Song

if TYPE_CHECKING:
    from app.lm.engine import Engine
    from app.lm.song_text import SongText

_CHUNK = 500


def song(db: Session, song_id: int) -> Song:
    """One song. Raises NotFound."""
    found = db.get(Song, song_id) if 0 < song_id < 2**63 else None
    if found is None:
        raise NotFound(f"There is no song {song_id}.")
    return found


def songs(db: Session, ids: Iterable[int]) -> dict[int, Song]:
    """Songs by id; ids that are not there are left out, as are those that no database can be asked for."""
    wanted, found = [song_id for song_id in ids if 0 < song_id < 2**63], {}
    for start in range(0, len(wanted), _CHUNK):
        for row in db.scalars(select(Song).where(Song.id.in_(wanted[start : start + _CHUNK]))):
            found[row.id] = row
    return found


def gone(db: Session, ids: Sequence[int]) -> list[int]:
    """Those of some ids that are no song's, or no song's any more."""
    there: set[int] = set()
    for start in range(0, len(ids), _CHUNK):
        there |= set(db.scalars(select(Song.id).where(Song.id.in_(ids[start : start + _CHUNK]))))
    return [song for song in ids if song not in there]


def names(db: Session, ids: Iterable[int]) -> dict[int, str]:
    """How songs are called, "title by artist", by id: cheaper than the songs themselves."""
    wanted, found = list(ids), dict[int, str]()
    for start in range(0, len(wanted), _CHUNK):
        rows = db.execute(select(Song.id, Song.title, Song.artist).where(Song.id.in_(wanted[start : start + _CHUNK])))
        found.update((song, f"{title} by {artist}") for song, title, artist in rows)
    return found


def artist_keys(db: Session, ids: Sequence[int]) -> Mapping[int, str]:
    """Folded artist by song id, for the cap on songs an artist."""
    rows = db.execute(select(Song.id, Song.artist_key).where(Song.id.in_(list(ids))))
    return {row.id: row.artist_key for row in rows}


def same_artists(db: Session, ids: Iterable[int]) -> set[int]:
    """Every song by an artist of some songs."""
    wanted, found = list(ids), set[int]()
    for start in range(0, len(wanted), _CHUNK):
        keys = select(Song.artist_key).where(Song.id.in_(wanted[start : start + _CHUNK]))
        found.update(db.scalars(select(Song.id).where(Song.artist_key.in_(keys))))
    return found


def new_song(
    artist: str,
    title: str,
    *,
    year: int | None = None,
    genres: Sequence[str] = (),
    moods: Sequence[str] = (),
    country: str | None = None,
    source: str,
) -> Song:
    """A song row from text that was already cleaned."""
    return Song(
        artist=artist, title=title, artist_key=artist_key(artist), title_key=title_key(title),
        search_text=f" {plain(f'{artist} {title}')}  ", year=year, genres=list(genres), moods=list(moods),
        country=country, source=source,
    )  # fmt: skip


def find(db: Session, artist: str, title: str) -> Song | None:
    """The song of that name (already cleaned), if it is there."""
    return db.scalar(select(Song).where(Song.artist_key == artist_key(artist), Song.title_key == title_key(title)))


def find_or_add(db: Session, artist: str, title: str, *, source: str) -> tuple[Song, bool]:
    """The song of that name, or a new one with its artist's genres where they are known. Raises BadInput."""
    artist, title = clean(artist, "The artist"), clean(title, "The title")
    found = find(db, artist, title)
    if found is not None:
        return found, False
    known = db.get(Artist, artist_key(artist))
    added = new_song(
        artist, title, genres=known.genres if known else (), country=known.country if known else None, source=source
    )
    try:
        with db.begin_nested():
            db.add(added)
    except IntegrityError:  # on PostgreSQL another request may bring the same song at once
        there = find(db, artist, title)
        if there is None:
            raise
        return there, False
    return added, True


def load_starter(db: Session, artists: Sequence[StarterArtist] | None = None) -> tuple[int, int]:
    """Bring the starter catalogue into the database; returns songs added and songs whose facts changed.

    Songs that listeners added under the same name get the catalogue's facts, but keep genres that a listener wrote.
    Running it again changes nothing.
    """
    artists = read() if artists is None else artists
    there = {(row.artist_key, row.title_key): row for row in db.scalars(select(Song))}
    known_artists = {row.key: row for row in db.scalars(select(Artist))}
    added = changed = 0
    for block in artists:
        key = artist_key(block.name)
        facts = known_artists.get(key)
        if facts is None:
            facts = known_artists[key] = Artist(key=key, name=block.name)
            db.add(facts)
        facts.name, facts.country, facts.genres = block.name, block.country, list(block.genres)
        facts.active_from, facts.active_to = block.active_from, block.active_to
        facts.related = [*block.related, *block.outside]
        for entry in block.songs:
            place = (key, title_key(entry.title))
            row = there.get(place)
            if row is None:
                row = there[place] = new_song(
                    block.name, entry.title, year=entry.year, genres=entry.genres, moods=entry.moods,
                    country=block.country, source="starter",
                )  # fmt: skip
                db.add(row)
                added += 1
                continue
            genres, whose = (row.genres, "listener") if row.genres_from == "listener" else (list(entry.genres), "given")
            facts_now = (entry.year, genres, whose, list(entry.moods), block.country)
            if (row.year, row.genres, row.genres_from, row.moods, row.country) != facts_now:
                row.year, row.genres, row.genres_from, row.moods, row.country = facts_now
                changed += 1
    return added, changed


def nearest(db: Session, engine: Engine, to: Song, most: int, per_artist: int = 2) -> list[Song]:
    """Songs whose vectors lie nearest to a song's, at most ``per_artist`` of one artist; none before it is encoded."""
    near = engine.nearest(to.id, most * 8)
    rows = songs(db, near)
    taken: dict[str, int] = {}
    chosen: list[Song] = []
    for row in (rows[i] for i in near if i in rows):
        taken[row.artist_key] = taken.get(row.artist_key, 0) + 1
        if taken[row.artist_key] <= per_artist and len(chosen) < most:
            chosen.append(row)
    return chosen


def count(db: Session) -> int:
    """Songs in the catalogue."""
    return db.scalar(select(func.count()).select_from(Song)) or 0


def texts(db: Session, write_text: SongText, ids: Sequence[int] | None = None) -> list[tuple[int, str]]:
    """(song id, song text) of the whole catalogue, or of some songs."""
    # As stored: the same few lists come again and again, and reading JSON was half of an ask's time.
    genres, moods = type_coerce(Song.genres, String).label("genres"), type_coerce(Song.moods, String).label("moods")
    columns = select(Song.id, Song.artist, Song.title, genres, moods, Song.year)
    if ids is None:
        rows = list(db.execute(columns.order_by(Song.id)))
    else:
        rows = [
            row
            for start in range(0, len(ids), _CHUNK)
            for row in db.execute(columns.where(Song.id.in_(list(ids[start : start + _CHUNK]))))
        ]
    return [(r.id, write_text(r.artist, r.title, _words(r.genres), _words(r.moods), r.year)) for r in rows]


def _words(stored: str | Sequence[str]) -> Sequence[str]:
    """A JSON list of words; PostgreSQL's driver has read it already."""
    return _read_words(stored) if isinstance(stored, str) else stored


@lru_cache(maxsize=20_000)
def _read_words(stored: str) -> tuple[str, ...]:
    return tuple(json.loads(stored))


def texts_after(db: Session, write_text: SongText, after: int, most: int) -> list[tuple[int, str]]:
    """(song id, song text) of the next songs by id: the whole catalogue in parts that fit in memory."""
    return texts(db, write_text, list(db.scalars(select(Song.id).where(Song.id > after).order_by(Song.id).limit(most))))


def texts_where(db: Session, write_text: SongText, condition: ColumnElement[bool], most: int) -> list[str]:
    """Song texts of at most ``most`` songs, one an artist before a second of any; the same ones each time."""
    turn = func.row_number().over(partition_by=Song.artist_key, order_by=Song.id).label("turn")
    columns = select(Song.artist, Song.title, Song.genres, Song.moods, Song.year, Song.id, turn).where(condition)
    chosen = columns.subquery()
    rows = db.execute(select(chosen).order_by(chosen.c.turn, chosen.c.id).limit(most))
    return [write_text(row.artist, row.title, row.genres, row.moods, row.year) for row in rows]


def genres(db: Session) -> list[str]:
    """Genres of the artists in the catalogue, most frequent first."""
    counted: dict[str, int] = {}
    for found in db.scalars(select(Artist.genres)):
        for genre in found:
            counted[genre] = counted.get(genre, 0) + 1
    return sorted(counted, key=lambda g: (-counted[g], g))
