"""When a play counts as a listen, and when two plays are one: the same for every import and submission."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Ended = Literal["played", "skipped"]

LONG_MS = 240_000  # four minutes always count
SHORT_MS = 30_000  # what counts when the length is unknown
NEAR_SECONDS = 90  # two players seldom agree on the second
LENGTH_SLACK = 10  # one notes when a song starts, the other when it ends
WINDOW = 3_600 + LENGTH_SLACK  # no song whose length is looked at is longer than an hour


def how_it_ended(played_ms: int | None, duration_ms: int | None, skipped: bool = False) -> Ended:
    """A listen is half of the song or four minutes, or 30 s when its length is unknown; less is a skip.

    What a source counted without saying how long it was played is taken at its word.
    """
    if played_ms is not None and played_ms >= LONG_MS:
        return "played"
    if skipped:
        return "skipped"
    if played_ms is None:
        return "played"
    enough = duration_ms / 2 if duration_ms else SHORT_MS
    return "played" if played_ms >= enough else "skipped"


@dataclass(frozen=True, slots=True)
class Play:
    """What is compared of a play; times in seconds, lengths in ms."""

    at: int
    ended: str
    source: str
    duration_ms: int | None
    played_ms: int | None


def same_play(new: Play, old: Play) -> bool:
    """Whether a play of a song repeats one that is there, told by another source (or twice by the same one).

    Sources differ by up to 90 s, or by the song's length where one notes the start and the other the end. Within one
    source only plays less than 30 s apart are one, since no play counts before that: a song on repeat stays. A skip
    never repeats a play.
    """
    if new.ended == "skipped" and old.ended == "played":
        return False
    apart = abs(new.at - old.at)
    if new.source == old.source:
        return apart * 1000 < SHORT_MS and new.ended == old.ended == "played"
    lengths = (new.duration_ms, new.played_ms, old.duration_ms, old.played_ms)
    return apart <= NEAR_SECONDS or any(abs(apart - length / 1000) <= LENGTH_SLACK for length in lengths if length)
