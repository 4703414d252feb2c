"""Listens as CSV: what our own export writes, or any table with a header that names artist and title.

Cells that a spreadsheet would take for a formula are written with an apostrophe before them, and read back without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.errors import BadInput
from app.services.counting import how_it_ended
from app.services.imports.lastfm import table
from app.services.imports.rows import Item, album, iso_time, length, name, unix_time
from app.services.listens import check_time
from app.services.plain_format import Dropped, Row, plays_of, rating_of, year_of
from app.services.text import show

COLUMNS = (
    "artist", "title", "album", "listened_at", "time_utc", "plays", "rating", "ended", "duration_ms", "played_ms",
    "source", "learn",
)  # fmt: skip
_FORMULA = tuple("=+-@\t\r＝＋－＠")
_NAMES = {
    "track": "title", "song": "title", "artist_name": "artist", "track_name": "title", "timestamp": "listened_at",
    "uts": "listened_at", "at": "listened_at", "date": "time_utc", "time": "time_utc", "release_name": "album",
}  # fmt: skip


def defused(cell: str) -> str:
    """A cell that no spreadsheet runs; ``as_it_was`` undoes it."""
    return f"'{cell}" if cell.startswith((*_FORMULA, "'")) else cell


def as_it_was(cell: str) -> str:
    """The cell before ``defused``; an apostrophe that a person wrote stays."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith((*_FORMULA, "'")) else cell


def header_of(cells: list[str]) -> list[str]:
    """Column names as this reader knows them."""
    plain = [cell.strip().casefold().replace(" ", "_") for cell in cells]
    return [column if _NAMES.get(column, column) in plain else _NAMES.get(column, column) for column in plain]


def read_csv(text: Iterator[str], separator: str = ",") -> Iterator[Item]:
    """Rows below a header; columns that it does not know are ignored."""
    found = table(text, separator, header=False)
    _, first = next(found, (0, []))
    columns = header_of(first) if isinstance(first, list) else []
    for line, row in found:
        if isinstance(row, Dropped):
            yield row
            continue
        try:
            if len(row) != len(columns):
                raise BadInput(f"{len(row)} fields, the first line has {len(columns)}")
            yield _row(line, {name: as_it_was(cell) for name, cell in zip(columns, row, strict=True)})
        except BadInput as problem:
            yield Dropped(line, str(problem))


def _row(line: int, cells: Mapping[str, str]) -> Row:
    duration, played = length(cells.get("duration_ms") or None), length(cells.get("played_ms") or None)
    ended = cells.get("ended", "")
    if ended not in ("", "played", "skipped"):
        raise BadInput(f"it ended as {show(ended)}, which is neither played nor skipped")
    return Row(
        line, name(cells.get("artist"), "artist"), name(cells.get("title"), "title"), _at(cells),
        plays_of(cells.get("plays", "")), rating_of(cells.get("rating", "")), year=year_of(cells.get("year", "")),
        album=album(cells.get("album")), duration_ms=duration, played_ms=played,
        ended=ended if ended in ("played", "skipped") else how_it_ended(played, duration),
        source=cells.get("source", "")[:40] if cells.get("source", "").isascii() else "",
        learn=cells.get("learn", "") != "no",
    )  # fmt: skip


def _at(cells: Mapping[str, str]) -> int | None:
    written, spoken = cells.get("listened_at", "").strip(), cells.get("time_utc", "").strip()
    if written.isdigit() and len(written) >= 12:
        written = written[:-3]  # milliseconds
    if written and not written.lstrip("-").replace(".", "", 1).isdigit():
        spoken, written = written, ""
    if written:
        return unix_time(written)
    return check_time(int(iso_time(spoken).timestamp())) if spoken else None
