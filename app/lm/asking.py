"""What the engine is asked with. Free of torch, so that pages can be served before the base is loaded."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

WISH_SHARE = 0.7  # how much a wish counts against the taste unless said otherwise (benchmarks/quality.md)


@dataclass(frozen=True, slots=True)
class Own:
    """One of a listener's own songs. A negative weight is a dislike."""

    id: int
    text: str
    weight: float


@dataclass(frozen=True, slots=True)
class Ask:
    """What to rank: without and only are song ids; share is how much a wish counts against the taste.

    adventure: -1 (safe) to 1 (adventurous); familiar: songs by artists whom the listener knows, for adventure to weigh.
    """

    count: int = 20
    without: Collection[int] = ()
    only: Collection[int] | None = None
    wish: str = ""
    wish_share: float = WISH_SHARE
    per_artist: int = 2
    spread: float = 0.3
    adventure: float = 0.0
    familiar: Collection[int] = ()
