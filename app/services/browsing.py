"""Look around the catalogue: by genre, decade, artist and song. Whose plays may be seen is decided in sharing.py."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

from sqlalchemy import ColumnElement, distinct, func, select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.services.sharing import visible
from app.services.text import artist_key, plain, show
from app.tables import Artist, Listen, Listener, Song, SongGenre

LETTERS = "abcdefghijklmnopqrstuvwxyz"
DIGITS = "0–9"
OTHERS = "other"
_TURNS = 20_000  # songs among which artists take turns; later pages are plainly by id

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Counted:
    """A genre or a decade, and how many songs it has."""

    name: str
    songs: int


@dataclass(frozen=True, slots=True)
class ArtistLine:
    """An artist in a list."""

    key: str
    name: str
    songs: int


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a long list. ``number`` starts at 1 and is never past the end."""

    items: Sequence[Item]
    total: int
    number: int
    pages: int


@dataclass(frozen=True, slots=True)
class ArtistFacts:
    """What is known of an artist; ``related`` are names, each with its key if songs of theirs are here."""

    key: str
    name: str
    country: str | None
    active_from: int | None
    active_to: int | None
    genres: Sequence[str]
    related: Sequence[tuple[str, str | None]]


@dataclass(frozen=True, slots=True)
class Player:
    """Somebody who played a song and may be named."""

    name: str
    plays: int
    is_me: bool


def genres(db: Session) -> list[Counted]:
    """Every genre that a song has, most songs first."""
    counted = func.count().label("songs")
    rows = db.execute(select(SongGenre.genre, counted).group_by(SongGenre.genre).order_by(counted.desc()))
    return [Counted(genre, songs) for genre, songs in rows]


def decades(db: Session) -> list[Counted]:
    """Decades with songs, oldest first, by their first year."""
    counted: dict[int, int] = {}
    for year, songs in db.execute(select(Song.year, func.count()).group_by(Song.year)):
        if year is not None:
            counted[year // 10 * 10] = counted.get(year // 10 * 10, 0) + songs
    return [Counted(str(decade), counted[decade]) for decade in sorted(counted)]


def by_genre(db: Session, genre: str, number: int = 1, size: int = 50) -> Page[Song]:
    """Songs of a genre, one of each artist before a second of any (of very many, the first 20,000). Raises NotFound."""
    known = _stored(genre)
    total = db.scalar(select(func.count()).select_from(SongGenre).where(SongGenre.genre == known)) or 0
    if not total:
        raise NotFound(f"No song here has the genre {show(genre)}.")
    return _songs(db, Song.id.in_(select(SongGenre.song_id).where(SongGenre.genre == known)), total, number, size)


def by_decade(db: Session, decade: str, number: int = 1, size: int = 50) -> Page[Song]:
    """Songs of a decade ("1960"), in the same order. Raises NotFound."""
    digits = decade.removesuffix("s")
    if not (len(digits) == 4 and digits.isascii() and digits.isdigit() and digits.endswith("0")):
        raise NotFound(f"{show(decade)} is no decade; one is 1960.")
    within = Song.year.between(int(digits), int(digits) + 9)
    total = db.scalar(select(func.count()).select_from(Song).where(within)) or 0
    if not total:
        raise NotFound(f"No song here is known to be of the {digits}s.")
    return _songs(db, within, total, number, size)


def _songs(db: Session, condition: ColumnElement[bool], total: int, number: int, size: int) -> Page[Song]:
    number, pages = _place(total, number, size)
    first = select(Song.id, Song.artist_key).where(condition).order_by(Song.id).limit(_TURNS).subquery()
    turn = func.row_number().over(partition_by=first.c.artist_key, order_by=first.c.id).label("turn")
    ordered = select(first.c.id, turn).subquery()
    inside = select(ordered.c.id).order_by(ordered.c.turn, ordered.c.id)
    beyond = select(Song.id).where(condition).order_by(Song.id)
    ids = list(db.scalars((inside if number * size <= _TURNS else beyond).offset((number - 1) * size).limit(size)))
    found = {song.id: song for song in db.scalars(select(Song).where(Song.id.in_(ids)))}
    return Page([found[i] for i in ids], total, number, pages)


def _place(total: int, number: int, size: int) -> tuple[int, int]:
    pages = max(1, -(-total // size))
    return min(max(1, number), pages), pages


def _stored(text: str) -> str:
    """A value as a database can be asked for it: PostgreSQL takes no NUL, neither takes lone surrogates."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


# -- artists ----------------------------------------------------------------------------------------


@lru_cache
def _initials(letter: str) -> tuple[str, ...]:
    """Every character of the Latin alphabets that stands under a letter: e, é, ê, ..."""
    latin = (chr(code) for code in [*range(0x61, 0x250), *range(0x1E00, 0x1F00)])
    return tuple(c for c in latin if unicodedata.category(c) == "Ll" and plain(c)[:1] == letter)


def _under(letter: str) -> ColumnElement[bool]:
    first = func.substr(Song.artist_key, 1, 1)
    if letter == DIGITS:
        return first.in_(list("0123456789"))
    if letter == OTHERS:
        return first.not_in([*"0123456789", *(c for a in LETTERS for c in _initials(a))])
    return first.in_(_initials(letter))


def artists(db: Session, listener: str, letter: str = "", number: int = 1, size: int = 60) -> Page[ArtistLine]:
    """Artists under a letter by name; without one, those with most plays that the listener may see, then most songs.

    Raises NotFound for what is no letter.
    """
    if letter and letter not in (*LETTERS, DIGITS, OTHERS):
        raise NotFound(f"There is no letter {show(letter)}.")
    condition = [_under(letter)] if letter else []
    total = db.scalar(select(func.count(distinct(Song.artist_key))).where(*condition)) or 0
    number, pages = _place(total, number, size)
    songs = func.count().label("songs")
    wanted = select(Song.artist_key, songs).where(*condition).group_by(Song.artist_key)
    if letter:
        wanted = wanted.order_by(Song.artist_key)
    else:
        played = (
            select(Song.artist_key.label("key"), func.sum(Listen.plays).label("plays"))
            .join(Listen, Listen.song_id == Song.id)
            .where(Listen.ended == "played", Listen.listener_id.in_(visible(listener)))
            .group_by(Song.artist_key)
            .subquery()
        )
        most = func.coalesce(func.max(played.c.plays), 0)
        wanted = wanted.outerjoin(played, played.c.key == Song.artist_key)
        wanted = wanted.order_by(most.desc(), songs.desc(), Song.artist_key)
    rows = db.execute(wanted.offset((number - 1) * size).limit(size)).all()
    names = _names(db, [row.artist_key for row in rows])
    return Page([ArtistLine(key, names.get(key, key), count) for key, count in rows], total, number, pages)


def _names(db: Session, keys: Sequence[str]) -> dict[str, str]:
    """Names of artists that have songs here, by key: as the facts write them, else as a song does."""
    songs = select(Song.artist_key, func.min(Song.artist)).where(Song.artist_key.in_(keys)).group_by(Song.artist_key)
    names: dict[str, str] = {row[0]: row[1] for row in db.execute(songs)}
    for key, name in db.execute(select(Artist.key, Artist.name).where(Artist.key.in_(list(names)))):
        names[key] = name
    return names


def artist(db: Session, key: str) -> ArtistFacts:
    """An artist, by key or by name, with songs here or facts of their own. Raises NotFound."""
    said = _stored(key)
    # What is a key is meant as one: the key of "The The Orchestra", as a name, would be somebody else's.
    for key in dict.fromkeys((said, artist_key(said))):
        facts = db.get(Artist, key)
        name = facts.name if facts else _names(db, [key]).get(key)
        if name is not None:
            break
    else:
        raise NotFound(f"There is no artist {show(said)} here.")
    if facts is None:
        return ArtistFacts(key, name, None, None, None, (), ())
    keys = [artist_key(other) for other in facts.related]
    here = _names(db, keys)
    related = [(other, key if key in here else None) for other, key in zip(facts.related, keys, strict=True)]
    return ArtistFacts(facts.key, name, facts.country, facts.active_from, facts.active_to, facts.genres, related)


def songs_of(db: Session, key: str, number: int = 1, size: int = 50) -> Page[Song]:
    """An artist's songs, oldest first and undated last."""
    mine = Song.artist_key == key
    total = db.scalar(select(func.count()).select_from(Song).where(mine)) or 0
    number, pages = _place(total, number, size)
    ordered = select(Song).where(mine).order_by(Song.year.asc().nulls_last(), Song.id)
    return Page(list(db.scalars(ordered.offset((number - 1) * size).limit(size))), total, number, pages)


# -- one song ---------------------------------------------------------------------------------------


def who_played(db: Session, listener: str, song_id: int) -> list[Player]:
    """Who played a song and lets this listener see it, most plays first."""
    plays = func.sum(Listen.plays).label("plays")
    rows = db.execute(
        select(Listener.id, Listener.name, plays)
        .join(Listen, Listen.listener_id == Listener.id)
        .where(Listen.song_id == song_id, Listen.ended == "played", Listener.id.in_(visible(listener)))
        .group_by(Listener.id, Listener.name)
        .order_by(plays.desc(), Listener.name)
    )
    return [Player(name, int(count), who == listener) for who, name, count in rows]
