"""Last.fm histories as the usual exporters write them: three shapes of CSV, and pages of JSON."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from app.errors import BadInput
from app.services.imports.decoding import lines
from app.services.imports.json_stream import values
from app.services.imports.rows import Item, album, each, name, unix_time
from app.services.listens import check_time
from app.services.plain_format import Dropped, Row
from app.services.text import show

_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: place for place, name in enumerate(_NAMES, 1)}


def cells(text: str, separator: str) -> list[str]:
    """One line of CSV. Raises BadInput."""
    try:
        return next(csv.reader([text], delimiter=separator, strict=True), [])
    except csv.Error as problem:
        raise BadInput(f"not CSV ({problem})") from None


def table(text: Iterator[str], separator: str, *, header: bool) -> Iterator[tuple[int, list[str] | Dropped]]:
    """(line, cells) of each line that is not blank, the header left out. One line is one row, so that a stray quote
    costs one row only."""
    for line, content in lines(text):
        if content is None:
            yield line, Dropped(line, "longer than a million characters")
        elif content.strip() and not (header and line == 1):
            try:
                yield line, cells(content, separator)
            except BadInput as problem:
                yield line, Dropped(line, str(problem))


def _rows(found: Iterator[tuple[int, list[str] | Dropped]], make: Any) -> Iterator[Item]:
    for line, row in found:
        if isinstance(row, Dropped):
            yield row
            continue
        try:
            yield make(line, row)
        except BadInput as problem:
            yield Dropped(line, str(problem))


# -- artist,album,track,15 Mar 2025 14:30 -----------------------------------------------------------


def read_bare(text: Iterator[str]) -> Iterator[Item]:
    """No header; times in UTC, with or without a comma before the time of day."""
    return _rows(table(text, ",", header=False), _bare)


def _bare(line: int, row: Sequence[str]) -> Item:
    if len(row) == 5:
        row = [*row[:3], f"{row[3]} {row[4].strip()}"]
    if len(row) != 4:
        raise BadInput(f"{len(row)} fields instead of artist, album, track, date")
    if not row[3].strip():
        raise BadInput("no time (perhaps it was playing when the file was made)")
    return Row(line, name(row[0], "artist"), name(row[2], "title"), spoken_time(row[3]), 1, None, album=album(row[1]))


def spoken_time(value: str) -> int:
    """ "15 Mar 2025 14:30" or "15 Mar 2025, 14:30" in UTC, in English whatever the machine speaks. Raises BadInput."""
    parts = value.replace(",", " ").split()
    try:
        day, month, year, clock = parts
        hour, minute = clock.split(":")
        when = datetime(int(year), _MONTHS[month[:3].casefold()], int(day), int(hour), int(minute), tzinfo=UTC)
    except (ValueError, KeyError):
        raise BadInput(f"the time {show(value)} is not like 15 Mar 2025 14:30") from None
    return check_time(int(when.timestamp()))


# -- Artist;Album;AlbumId;Track;Date#user -----------------------------------------------------------


def read_stats(text: Iterator[str]) -> Iterator[Item]:
    """lastfmstats: semicolons, milliseconds, the user in the header's last cell."""
    return _rows(table(text, ";", header=True), _stats)


def _stats(line: int, row: Sequence[str]) -> Item:
    if len(row) != 5:
        raise BadInput(f"{len(row)} fields instead of 5")
    try:
        at = int(row[4]) // 1000
    except ValueError:
        raise BadInput(f"the time {show(row[4])} is no number of milliseconds") from None
    return Row(line, name(row[0], "artist"), name(row[3], "title"), check_time(at), 1, None, album=album(row[1]))


# -- uts,utc_time,artist,artist_mbid,album,album_mbid,track,track_mbid ------------------------------


def read_uts(text: Iterator[str]) -> Iterator[Item]:
    """The shape whose first column is the time in seconds."""
    return _rows(table(text, ",", header=True), _uts)


def _uts(line: int, row: Sequence[str]) -> Item:
    if len(row) != 8:
        raise BadInput(f"{len(row)} fields instead of 8")
    return Row(line, name(row[2], "artist"), name(row[6], "title"), unix_time(row[0]), 1, None, album=album(row[4]))


# -- pages of {"track": [...]} ----------------------------------------------------------------------


def read_pages(text: Iterator[str]) -> Iterator[Item]:
    """The JSON twin: pages as the API gives them, in an array or one after the other."""
    return each(enumerate(_tracks(values(text)), 1), _track)


def _tracks(pages: Iterator[Any]) -> Iterator[Any]:
    for page in pages:
        inner = page.get("recenttracks", page) if isinstance(page, dict) else page
        tracks = inner.get("track") if isinstance(inner, dict) and "artist" not in inner else inner
        if isinstance(tracks, list):
            yield from tracks
        else:
            yield tracks  # one track alone, or what is broken


def _track(line: int, track: Mapping[str, Any]) -> Item:
    if isinstance(track.get("@attr"), dict) and track["@attr"].get("nowplaying"):
        return Dropped(line, "it was playing when the file was made")
    date = track.get("date")
    at = unix_time(date.get("uts") if isinstance(date, dict) else date)
    artist = name(_text(track.get("artist")), "artist")
    return Row(line, artist, name(track.get("name"), "title"), at, 1, None, album=album(_text(track.get("album"))))


def _text(value: Any) -> Any:
    return value.get("#text", value.get("name")) if isinstance(value, dict) else value
