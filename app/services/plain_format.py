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

from app.errors import BadInput
from app.services.listens import check_time
from app.services.text import clean, show

_MOST_PLAYS = 1_000_000
_LONGEST_LINE = 100_000
_WHOLE = re.compile(r"-?[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class Row:
    """One row that can be taken. ``at`` None is undated."""

    line: int
    artist: str
    title: str
    at: int | None
    plays: int
    rating: float | None
    tags: tuple[str, ...] = ()
    year: int | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    """One row that cannot be taken, and why."""

    line: int
    reason: str


def read_plain(path: Path) -> Iterator[Row | Dropped]:
    """Rows of a folder or file, in order, streamed. Raises BadInput if it is not in the plain format at all."""
    if path.is_dir():
        yield from _read_folder(path)
        return
    for line, fields in _table(path, ("artist", "title")):
        yield fields if isinstance(fields, Dropped) else _row(line, fields, fields)


def _read_folder(folder: Path) -> Iterator[Row | Dropped]:
    songs: dict[str, Mapping[str, str]] = {}
    for _, fields in _table(folder / "songs.tsv", ("song_id", "artist", "title")):
        if not isinstance(fields, Dropped):
            songs[fields["song_id"]] = fields
    for line, fields in _table(folder / "listens.tsv", ("song_id",)):
        if isinstance(fields, Dropped):
            yield fields
        elif fields["song_id"] not in songs:
            yield Dropped(line, f"song {show(fields['song_id'])} is not in songs.tsv, or its row there is broken")
        else:
            yield _row(line, songs[fields["song_id"]], fields)


def _table(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, Mapping[str, str] | Dropped]]:
    """Line number and fields of each row; a broken row is Dropped."""
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        raise BadInput(f"There is no file {path.name} at {path.parent}.") from None
    except OSError as problem:
        raise BadInput(f"{path} cannot be read: {problem.strerror}.") from None
    with stream:
        first = stream.readline(_LONGEST_LINE).decode("utf-8-sig", "replace").rstrip("\r\n")
        header = first.split("\t")
        if not first:
            raise BadInput(f"{path.name} is empty.")
        missing = [name for name in needed if name not in header]
        if missing:
            raise BadInput(f"{path.name} has no column {missing[0]!r}; its first line is {show(first)}.")
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
            _plays(listen.get("plays", "")),
            _rating(listen.get("rating", "")),
            tuple(t.strip() for t in song.get("tags", "").split("|") if t.strip()),
            _year(song.get("year", "")),
        )
    except BadInput as problem:
        return Dropped(line, str(problem))


def _whole(text: str, what: str) -> int:
    if not _WHOLE.fullmatch(text.strip()):
        raise BadInput(f"{what} {show(text)} is no whole number")
    return int(text)


def _time(text: str) -> int | None:
    return check_time(_whole(text, "the time")) if text.strip() else None


def _plays(text: str) -> int:
    plays = _whole(text, "the play count") if text.strip() else 1
    if not 1 <= plays <= _MOST_PLAYS:
        raise BadInput(f"the play count {plays} is not between 1 and {_MOST_PLAYS:,}")
    return plays


def _rating(text: str) -> float | None:
    if not text.strip():
        return None
    try:
        rating = float(text)
    except ValueError:
        raise BadInput(f"the rating {show(text)} is no number") from None
    if not math.isfinite(rating) or not 0 <= rating <= 5:
        raise BadInput(f"the rating {show(text)} is not between 0 and 5")
    return rating


def _year(text: str) -> int | None:
    return int(text) if len(text) == 4 and text.isascii() and text.isdigit() and int(text) >= 1860 else None
