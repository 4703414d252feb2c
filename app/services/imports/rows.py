"""What every reader gives: rows that can be taken, words on songs, and rows that cannot, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from app.errors import BadInput
from app.services.listens import check_time
from app.services.plain_format import Dropped, Row
from app.services.text import clean, show

LONGEST_MS = 24 * 86_400_000  # ListenBrainz' own bound on a song's length


@dataclass(frozen=True, slots=True)
class Opinion:
    """A love or dislike of a song, as feedback files have it."""

    line: int
    artist: str
    title: str
    verdict: str
    until: int | None = None


Item = Row | Opinion | Dropped
Reader = Callable[[Iterator[str]], Iterator[Item]]


@lru_cache(1 << 16)
def _tidy(value: str, what: str) -> str:
    if not value or value.isspace():
        raise BadInput(f"no {what}")
    return clean(value, what)


def name(value: Any, what: str) -> str:
    """A name as kept: NFC. Raises BadInput for what is no text, empty, too long or has control characters."""
    if isinstance(value, str):
        return _tidy(value, what)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadInput(f"no {what}" if value is None else f"{what} {show(str(value))} is no text")
    return _tidy(str(value), what)


def album(value: Any) -> str | None:
    """An album as kept; what cannot be kept is left out, for a play is worth more than its album."""
    try:
        return name(value, "album") if value else None
    except BadInput:
        return None


def length(value: Any, unit: int = 1) -> int | None:
    """A length in ms from a number in ms (or in ``unit`` ms); what is none is unknown."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value * unit <= LONGEST_MS:
        return None
    return int(value * unit)


def unix_time(value: Any) -> int:
    """Whole seconds since 1970 from a number or digits, fractions cut off. Raises BadInput."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return check_time(int(float(value)) if not isinstance(value, int) else value)
    except (TypeError, ValueError, OverflowError):
        raise BadInput("no time" if value in (None, "") else f"the time {show(str(value))} is no number") from None


def iso_time(value: Any) -> datetime:
    """A point in time from ISO 8601; without a zone it is UTC. Raises BadInput."""
    if not isinstance(value, str) or not value:
        raise BadInput("no time")
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise BadInput(f"the time {show(value)} is no date and time") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def start_of(end: datetime, played_ms: int | None) -> int:
    """When a play began that ended then: whole seconds. Raises BadInput."""
    try:
        return check_time(int(end.timestamp() * 1000 - (played_ms or 0)) // 1000)
    except (OverflowError, ValueError):
        raise BadInput(f"the time {show(str(end))} is out of range") from None


def each(values: Iterator[tuple[int, Any]], make: Callable[[int, Mapping[str, Any]], Item]) -> Iterator[Item]:
    """Items of (line, JSON object): what is no object, or what ``make`` refuses, is dropped with the reason."""
    for line, value in values:
        if not isinstance(value, dict):
            yield Dropped(line, getattr(value, "reason", None) or "not a JSON object")
            continue
        try:
            yield make(line, value)
        except BadInput as problem:
            yield Dropped(line, str(problem))
