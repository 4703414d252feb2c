"""What the engine is asked with. Free of torch, so that pages can be served before the base is loaded."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

WISH_SHARE = 0.8  # how much a wish counts against the taste unless said otherwise (benchmarks/quality.md)
CIRCLE = "c" + 15 * "0"  # as whose the circle's adapter lies in the store; no listener's id, which are drawn at random


Lift: TypeAlias = "Sequence[tuple[array[int], float]]"  # of each friend: song ids (typecode q), and how loud they speak
AskArtists: TypeAlias = Callable[[Sequence[int]], Mapping[int, str]]  # an artist key for song ids


@dataclass(frozen=True, slots=True)
class Own:
    """One of a listener's own songs. A negative weight is a dislike."""

    id: int
    text: str
    weight: float


@dataclass(frozen=True, slots=True)
class Ask:
    """What to rank: without and only are song ids; wish_share is how much a wish counts against the taste.

    lift: what friends play; lift_share: how much the root of their voices for a song counts, in spreads of the score.
    Beside a wish it counts as much less as the taste does.
    adventure: -1 (safe) to 1 (adventurous); familiar: songs by artists whom the listener knows, for adventure to weigh.
    """

    count: int = 20
    without: Collection[int] = ()
    only: Collection[int] | None = None
    wish: str = ""
    wish_share: float = WISH_SHARE
    per_artist: int = 2
    spread: float = 0.3
    lift: Lift = ()
    lift_share: float = 0.0
    adventure: float = 0.0
    familiar: Collection[int] = ()
