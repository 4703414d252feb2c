"""What the engine is asked with. Free of torch, so that pages can be served before the base is loaded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

WISH_SHARE = 0.7  # how much a wish counts against the taste unless said otherwise (benchmarks/quality.md)
CIRCLE = "c" + 15 * "0"  # as whose the circle's adapter lies in the store; no listener's id, which are drawn at random


@dataclass(frozen=True, slots=True)
class Own:
    """One of a listener's own songs. A negative weight is a dislike."""

    id: int
    text: str
    weight: float


@dataclass(frozen=True, slots=True)
class Ask:
    """What to rank: without and only are song ids; wish_share is how much a wish counts against the taste.

    lift: how many friends speak for a song, by its id; lift_share: how much the root of that counts, in spreads of the
    taste's own scores.
    adventure: -1 (safe) to 1 (adventurous); familiar: songs by artists whom the listener knows, for adventure to weigh.
    """

    count: int = 20
    without: Collection[int] = ()
    only: Collection[int] | None = None
    wish: str = ""
    wish_share: float = WISH_SHARE
    per_artist: int = 2
    spread: float = 0.3
    lift: Mapping[int, float] = field(default_factory=dict)
    lift_share: float = 0.0
    adventure: float = 0.0
    familiar: Collection[int] = ()
