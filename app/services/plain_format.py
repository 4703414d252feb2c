"""Read the plain format: a folder with songs.tsv and listens.tsv, or one tab-separated file.

One file has a header with ``artist`` and ``title`` and any of ``at``, ``plays``, ``rating``, ``tags``, ``year``. In a
folder, listens.tsv names songs of songs.tsv by ``song_id``; a ``user_id`` column is ignored. Empty means unknown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from app.errors import BadInput
from app.services.listens import check_time
from app.services.text import clean, show

_MOST_PLAYS = 1_000_000
_LONGEST_LINE = 100_000
_WHOLE = re.compile(r"-?[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class Row:
    """One row that can be taken. ``at`` None is undated; an empty ``source`` is the import's own; ``learn`` as in
    tables.Listen."""

    line: int
    artist: str
    title: str
    at: int | None
    plays: int
    rating: float | None
    tags: tuple[str, ...] = ()
    year: int | None = None
    album: str | None = None
    duration_ms: int | None = None
    played_ms: int | None = None
    ended: str = "played"
    source: str = ""
    learn: bool = True


@dataclass(frozen=True, slots=True)
class Dropped:
    """One row that cannot be taken, and why."""

    line: int
    reason: str


Table = Iterator[tuple[int, Mapping[str, str] | Dropped]]


def read_plain(path: Path) -> Iterator[Row | Dropped]:
    """Rows of a folder or file, in order, streamed. Raises BadInput if it is not in the plain format at all."""
    if path.is_dir():
        with _open(path / "songs.tsv") as songs, _open(path / "listens.tsv") as plays:
            yield from read_pair(songs, plays)
        return
    with _open(path) as stream:
        yield from read_table(stream, path.name)


def read_table(stream: BinaryIO, name: str) -> Iterator[Row | Dropped]:
    """Rows of one file. Raises BadInput."""
    for line, fields in _table(stream, name, ("artist", "title")):
        yield fields if isinstance(fields, Dropped) else _row(line, fields, fields)


def read_pair(songs: BinaryIO, plays: BinaryIO) -> Iterator[Row | Dropped]:
    """Rows of listens.tsv, whose songs songs.tsv names. Raises BadInput."""
    known: dict[str, Mapping[str, str]] = {}
    for _, fields in _table(songs, "songs.tsv", ("song_id", "artist", "title")):
        if not isinstance(fields, Dropped):
            known[fields["song_id"]] = fields
    for line, fields in _table(plays, "listens.tsv", ("song_id",)):
        if isinstance(fields, Dropped):
            yield fields
        elif fields["song_id"] not in known:
            yield Dropped(line, f"song {show(fields['song_id'])} is not in songs.tsv, or its row there is broken")
        else:
            yield _row(line, known[fields["song_id"]], fields)


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise BadInput(f"There is no file {path.name} at {path.parent}.") from None
    except OSError as problem:
        raise BadInput(f"{path} cannot be read: {problem.strerror}.") from None


def _table(stream: BinaryIO, name: str, needed: tuple[str, ...]) -> Table:
    """Line number and fields of each row; a broken row is Dropped."""
    first = stream.readline(_LONGEST_LINE).decode("utf-8-sig", "replace").rstrip("\r\n")
    header = first.split("\t")
    if not first:
        raise BadInput(f"{name} is empty.")
    missing = [column for column in needed if column not in header]
    if missing:
        raise BadInput(f"{name} has no column {missing[0]!r}; its first line is {show(first)}.")
    line = 1
    while raw := stream.readline(_LONGEST_LINE):
        line += 1
        if len(raw) == _LONGEST_LINE and not raw.endswith(b"\n"):
            while (rest := stream.readline(_LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass
            yield line, Dropped(line, f"the line is longer than {_LONGEST_LINE:,} bytes")
            continue
        try:
            text = raw.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as problem:
            yield line, Dropped(line, f"not UTF-8 at byte {problem.start} of the line")
            continue
        if not text.strip():
            continue
        fields = text.split("\t")
        if len(fields) > len(header):
            yield line, Dropped(line, f"{len(fields)} fields, but the header has {len(header)}")
            continue
        fields += [""] * (len(header) - len(fields))
        yield line, dict(zip(header, fields, strict=True))


def _row(line: int, song: Mapping[str, str], listen: Mapping[str, str]) -> Row | Dropped:
    try:
        if not song["title"].strip():
            return Dropped(line, f"no title (artist {show(song['artist'])})")
        return Row(
            line,
            clean(song["artist"], "the artist"),
            clean(song["title"], "the title"),
            _time(listen.get("at", "")),
            plays_of(listen.get("plays", "")),
            rating_of(listen.get("rating", "")),
            tuple(t.strip() for t in song.get("tags", "").split("|") if t.strip()),
            year_of(song.get("year", "")),
        )
    except BadInput as problem:
        return Dropped(line, str(problem))


def _whole(text: str, what: str) -> int:
    if not _WHOLE.fullmatch(text.strip()):
        raise BadInput(f"{what} {show(text)} is no whole number")
    return int(text)


def _time(text: str) -> int | None:
    return check_time(_whole(text, "the time")) if text.strip() else None


def plays_of(text: str) -> int:
    """A play count; empty is one. Raises BadInput."""
    plays = _whole(text, "the play count") if text.strip() else 1
    if not 1 <= plays <= _MOST_PLAYS:
        raise BadInput(f"the play count {plays} is not between 1 and {_MOST_PLAYS:,}")
    return plays


def rating_of(text: str) -> float | None:
    """A rating from 0 to 5; empty is none. Raises BadInput."""
    if not text.strip():
        return None
    try:
        rating = float(text)
    except ValueError:
        raise BadInput(f"the rating {show(text)} is no number") from None
    if not math.isfinite(rating) or not 0 <= rating <= 5:
        raise BadInput(f"the rating {show(text)} is not between 0 and 5")
    return rating


def year_of(text: str) -> int | None:
    """A year; what is none is unknown."""
    return int(text) if len(text) == 4 and text.isascii() and text.isdigit() and int(text) >= 1860 else None
