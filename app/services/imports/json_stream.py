"""JSON values one by one out of a stream: an array, JSON Lines, or objects one after the other.

A broken value costs itself, not the file: reading goes on where the next object seems to begin.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_MOST = 8_000_000
_DECODE = json.JSONDecoder().raw_decode
_BETWEEN = re.compile(r"[\s,]*")
_NEXT = re.compile(r"(?:[}\]]\s*,?\s*|\n\s*)(?=\{)")
_OVERLAP = 64
_AT_THE_END = 24  # an error so near to the end of what is read may be the end's fault


@dataclass(frozen=True, slots=True)
class Broken:
    """A value that is no JSON, and why."""

    reason: str


def values(text: Iterator[str]) -> Iterator[Any]:
    """Each value of the stream, in order; the brackets of an outer array are not part of any."""
    buffer, more = "", True

    def grow() -> None:
        nonlocal buffer, more
        wanted = max(len(buffer), 1)
        while more and wanted > 0:
            piece = next(text, None)
            more = piece is not None
            buffer += piece or ""
            wanted -= len(piece or "")

    at, outside = 0, True
    while True:
        at = _after_gap(buffer, at)
        if at >= len(buffer):
            buffer, at = "", 0
            if not more:
                return
            grow()
            continue
        if buffer[at] == "[" and outside:
            at, outside = at + 1, False
            continue
        if buffer[at] == "]":
            at, outside = at + 1, True  # another array may follow, as some tools write page after page
            continue
        try:
            value, at = _DECODE(buffer, at)
        except (ValueError, RecursionError) as problem:
            near_the_end = _near_the_end(problem, len(buffer))
            buffer, at = buffer[at:], 0
            if more and near_the_end and len(buffer) < _MOST:
                grow()
                continue
            yield Broken(_why(problem, near_the_end, len(buffer)))
            found = _NEXT.search(buffer)
            while found is None and more:
                buffer = buffer[-_OVERLAP:]
                grow()
                found = _NEXT.search(buffer)
            buffer = buffer[found.end() :] if found else ""
            continue
        yield value
        if at > 1 << 16:
            buffer, at = buffer[at:], 0


def _after_gap(buffer: str, at: int) -> int:
    gap = _BETWEEN.match(buffer, at)
    return gap.end() if gap else at


def _near_the_end(problem: Exception, end: int) -> bool:
    """Whether more text might mend it."""
    if not isinstance(problem, json.JSONDecodeError):
        return False
    # Where a string never ends, the error lies where the string began.
    return problem.msg.startswith("Unterminated string") or problem.pos >= end - _AT_THE_END


def _why(problem: Exception, near_the_end: bool, size: int) -> str:
    if isinstance(problem, RecursionError):
        return "nested too deeply"
    if size >= _MOST:
        return f"longer than {_MOST:,} characters"
    return "the file ends in the middle of it" if near_the_end else "not JSON"
