"""What counts as a listen, and when two listens are one: the one rule for players, imports and the page.

Lengths are milliseconds, times whole seconds since 1970. Nothing here touches the database.
"""

from __future__ import annotations

from typing import Literal

Ended = Literal["played", "skipped"]

# Last.fm's and ListenBrainz' rule: half of the song or four minutes, whichever comes first.
ENOUGH_MS = 240_000
ENOUGH_OF_UNKNOWN_MS = 30_000
SAME_SECONDS = 90
START_OR_END_SECONDS = 10


def how_it_ended(played_ms: int | None, duration_ms: int | None, *, skipped: bool | None = None) -> Ended:
    """Whether a play counts as a listen ("played") or is a weak sign against the song ("skipped").

    What was heard decides; a player's own word for skipping only where that is not known. With neither, the sender has
    applied the rule itself, as players do before they submit.
    """
    if played_ms is None:
        return "skipped" if skipped else "played"
    known = duration_ms or 0
    enough = min(ENOUGH_MS, (known + 1) // 2) if known > 0 else ENOUGH_OF_UNKNOWN_MS
    return "played" if played_ms >= enough else "skipped"


def may_be_same(one: int, other: int, duration_ms: int | None) -> bool:
    """Whether two reports of one song by one listener may be one play: a soft duplicate.

    Within 90 s (clocks differ, basic exports know minutes only), or one song's length apart to 10 s (one source keeps
    the start, the other the end). Ask it of reports from different sources only: one source does not tell a play
    twice, and a song on repeat is exactly its length apart.
    """
    apart = abs(one - other)
    if apart <= SAME_SECONDS:
        return True
    return duration_ms is not None and duration_ms > 0 and abs(apart - duration_ms / 1000) <= START_OR_END_SECONDS


def window(duration_ms: int | None) -> int:
    """Seconds around a time in which ``may_be_same`` can hold at all: what to ask the database for."""
    return max(SAME_SECONDS, (duration_ms or 0) // 1000 + START_OR_END_SECONDS + 1)
