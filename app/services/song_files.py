"""Read songs from a CSV or JSON Lines file as a stream; docs/catalogue.md lists the columns."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from app.errors import BadInput
from app.services.plain_format import Dropped
from app.services.text import clean, fold, show
from app.starter.reading import vocabulary

_LONGEST_LINE = 1_000_000
_ARTIST = ("artist", "artist_name", "artist_credit_name", "artist_credit", "albumartist")
_TITLE = ("title", "track_name", "recording_name", "recording", "song", "name")
_YEAR = ("year", "first_release_year", "release_year", "first_release_date", "release_date", "date")
_GENRES = ("genres", "genre", "tags")
_MOODS = ("moods", "mood")
_COUNTRY = ("country", "artist_country", "area")
_MOST_GENRES, _MOST_MOODS = 5, 3


@dataclass(frozen=True, slots=True)
class FileSong:
    """One good row."""

    line: int
    artist: str
    title: str
    year: int | None
    genres: tuple[str, ...]
    moods: tuple[str, ...]
    country: str | None


def read_songs(path: Path, at: Callable[[int], None] = lambda _: None) -> Iterator[FileSong | Dropped]:
    """Rows in file order, each taken or dropped with its line and why; ``at`` hears how many bytes are read.

    JSON Lines if the first character is a brace, else CSV whose separator the header shows. Raises BadInput.
    """
    if not path.is_file():
        raise BadInput(f"There is no file {show(str(path), 200)}.")
    with path.open("rb") as stream:
        lines = _lines(stream, at)
        first = next(lines, None)
        if first is None:
            raise BadInput(f"{path.name} is empty.")
        if isinstance(first, Dropped):
            raise BadInput(f"{path.name}, line 1: {first.reason}.")
        yield from _json_lines(first, lines) if first[1].lstrip().startswith("{") else _csv(path.name, first, lines)


_Line = tuple[int, str]


def _lines(stream: BinaryIO, at: Callable[[int], None]) -> Iterator[_Line | Dropped]:
    number = read = 0
    while raw := stream.readline(_LONGEST_LINE):
        number += 1
        read += len(raw)
        too_long = len(raw) == _LONGEST_LINE and not raw.endswith(b"\n")
        while too_long and (rest := stream.readline(_LONGEST_LINE)):
            read += len(rest)
            if rest.endswith(b"\n"):
                break
        at(read)
        if too_long:
            yield Dropped(number, f"longer than {_LONGEST_LINE:,} bytes")
            continue
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            yield Dropped(number, "not UTF-8")
            continue
        if text.strip():
            yield number, text


def _json_lines(first: _Line, lines: Iterable[_Line | Dropped]) -> Iterator[FileSong | Dropped]:
    def every() -> Iterator[_Line | Dropped]:
        yield first
        yield from lines

    for line in every():
        if isinstance(line, Dropped):
            yield line
            continue
        try:
            found = json.loads(line[1])
        except (ValueError, RecursionError):
            yield Dropped(line[0], "not JSON")
            continue
        if isinstance(found, dict):
            yield _song(line[0], {name.replace("-", "_"): value for name, value in found.items()})
        else:
            yield Dropped(line[0], "not a JSON object")


def _csv(name: str, first: _Line, lines: Iterable[_Line | Dropped]) -> Iterator[FileSong | Dropped]:
    """A quoted field may not hold a line end: one line is one row, so that a stray quote costs one row only."""
    separator = max(",\t;|", key=first[1].count)
    header = [fold(cell).replace(" ", "_") for cell in next(csv.reader([first[1].strip("\r\n")], delimiter=separator))]
    if not set(header) & set(_ARTIST) or not set(header) & set(_TITLE):
        raise BadInput(
            f"{name} needs the columns artist and title in its first line; it has {show(', '.join(header))}."
        )
    for line in lines:
        if isinstance(line, Dropped):
            yield line
            continue
        number, text = line
        try:
            cells = next(csv.reader([text.strip("\r\n")], delimiter=separator))
        except (csv.Error, StopIteration):
            yield Dropped(number, "not CSV")
            continue
        if len(cells) != len(header):
            yield Dropped(number, f"{len(cells)} fields, the first line has {len(header)}")
            continue
        yield _song(number, dict(zip(header, cells, strict=True)))


def _song(line: int, row: Mapping[str, Any]) -> FileSong | Dropped:
    try:
        return FileSong(
            line, clean(_text(_first(row, _ARTIST)), "The artist"), clean(_text(_first(row, _TITLE)), "The title"),
            _year(_first(row, _YEAR)), _terms(_first(row, _GENRES), _known(0), _MOST_GENRES),
            _terms(_first(row, _MOODS), _known(1), _MOST_MOODS), _country(_first(row, _COUNTRY)),
        )  # fmt: skip
    except BadInput as problem:
        return Dropped(line, str(problem))


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) not in (None, "", [])), None)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list) and all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in value):
        return "".join(one["name"] + str(one.get("joinphrase") or "") for one in value)  # MusicBrainz' artist credit
    raise BadInput(f"{show(str(value))} is no text")


def _year(value: Any) -> int | None:
    """The year of a year or date; what is none is unknown, not wrong."""
    found = re.match(r"\s*(\d{4})(?:\D|$)", _text(value)) if isinstance(value, str | int | float) else None
    year = int(found[1]) if found else 0
    return year if 1850 <= year <= 2100 else None


def _country(value: Any) -> str | None:
    return value.upper() if isinstance(value, str) and re.fullmatch(r"[A-Za-z]{2}", value) else None


@cache
def _known(kind: int) -> frozenset[str]:
    return vocabulary()[kind]


def _terms(value: Any, known: frozenset[str], most: int) -> tuple[str, ...]:
    """Terms of the vocabulary, from a list or from text with separators; others are left out."""
    if isinstance(value, str):
        value = re.split(r"[,;|/]", value)
    if not isinstance(value, list):
        return ()
    names = [item.get("name") or item.get("tag") if isinstance(item, dict) else item for item in value]
    folded = [fold(name) for name in names if isinstance(name, str)]
    return tuple(dict.fromkeys(name for name in folded if name in known))[:most]
