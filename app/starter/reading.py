"""Read the starter catalogue's text format.

One artist block, then its songs::

    @ Nina Simone | US | 1954-2003 | jazz, soul | Billie Holiday; Roberta Flack; ~Odetta
    Sinnerman | 1965 | jazz, gospel | driving, intense
    Feeling Good | 1965 | | confident

Fields of an artist: name, ISO 3166 country, active span, genres, related artists (``~`` marks
one who is outside the catalogue). Fields of a song: title, year, genres, moods; empty genres are
the artist's own, an empty year is unknown. ``#`` starts a comment line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
SONGS = HERE / "songs"
_SPAN = re.compile(r"^(\d{4})?(?:-(\d{4})?)?$")


class StarterError(ValueError):
    """A line of the starter catalogue that cannot be read; the message names file and line."""


@dataclass(frozen=True, slots=True)
class StarterSong:
    """One song as the catalogue file states it."""

    title: str
    year: int | None
    genres: tuple[str, ...]
    moods: tuple[str, ...]
    where: str


@dataclass(slots=True)
class StarterArtist:
    """One artist block: facts and songs."""

    name: str
    country: str
    active_from: int | None
    active_to: int | None
    genres: tuple[str, ...]
    related: tuple[str, ...]
    outside: tuple[str, ...]
    where: str
    songs: list[StarterSong] = field(default_factory=list)


def vocabulary() -> tuple[frozenset[str], frozenset[str]]:
    """The controlled genres and moods, in that order."""
    terms: dict[str, list[str]] = {"genres": [], "moods": []}
    section = "genres"
    for raw in (HERE / "vocabulary.txt").read_text(encoding="utf-8").splitlines():
        line = raw.strip()
        if line in ("[genres]", "[moods]"):
            section = line[1:-1]
        elif line and not line.startswith("#"):
            terms[section].append(line)
    return frozenset(terms["genres"]), frozenset(terms["moods"])


def _split(text: str, separator: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(separator) if part.strip())


def _year(text: str, where: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"\d{4}", text):
        raise StarterError(f"{where}: year {text!r} is not four digits")
    return int(text)


def _artist(fields: list[str], where: str) -> StarterArtist:
    if len(fields) != 5:
        raise StarterError(f"{where}: an artist has 5 fields, found {len(fields)}")
    name, country, span, genres, related = fields
    match = _SPAN.match(span)
    if match is None:
        raise StarterError(f"{where}: active span {span!r} is not like 1954-2003")
    names = _split(related, ";")
    return StarterArtist(
        name=name,
        country=country,
        active_from=int(match[1]) if match[1] else None,
        active_to=int(match[2]) if match[2] else None,
        genres=_split(genres, ","),
        related=tuple(n for n in names if not n.startswith("~")),
        outside=tuple(n[1:].strip() for n in names if n.startswith("~")),
        where=where,
    )


def read_lines(lines: Iterable[str], name: str) -> Iterator[StarterArtist]:
    """Artists in file order. Raises StarterError with ``name:line`` for a broken line."""
    artist: StarterArtist | None = None
    for number, raw in enumerate(lines, start=1):
        line, where = raw.strip(), f"{name}:{number}"
        if not line or line.startswith("#"):
            continue
        if line.startswith("@"):
            if artist is not None:
                yield artist
            artist = _artist([part.strip() for part in line[1:].split("|")], where)
            continue
        fields = [part.strip() for part in line.split("|")]
        if artist is None:
            raise StarterError(f"{where}: a song before any artist")
        if len(fields) != 4 or not fields[0]:
            raise StarterError(f"{where}: a song has 4 fields and a title, found {len(fields)}")
        title, year, genres, moods = fields
        artist.songs.append(
            StarterSong(title, _year(year, where), _split(genres, ",") or artist.genres, _split(moods, ","), where)
        )
    if artist is not None:
        yield artist


def read(folder: Path = SONGS) -> list[StarterArtist]:
    """Every artist of the catalogue, files in name order."""
    artists: list[StarterArtist] = []
    for path in sorted(folder.glob("*.txt")):
        with path.open(encoding="utf-8") as lines:
            artists.extend(read_lines(lines, path.name))
    return artists
