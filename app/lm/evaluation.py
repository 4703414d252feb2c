"""Did the adapter help? Held-out songs, their ranks in the whole catalogue, and the promotion gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.lm.vectors import Floats

FOUND_WITHIN = 100
_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class HeldOut:
    """How the hidden songs fared. ranks: one a song, 1 is the top; gain: mean of 1/log2(1 + rank); ndcg at 10.

    songs: which ones they were, in the order of ``ranks``, where the caller knows.
    """

    ranks: tuple[int, ...]
    gain: float
    found: int
    ndcg_10: float
    songs: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a card or a page."""
        return {
            **asdict(self),
            "ranks": list(self.ranks),
            "songs": list(self.songs),
            "of": len(self.ranks),
            "within": FOUND_WITHIN,
        }


def split(songs: Sequence[int], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Songs to learn from and songs to hide; the same seed hides the same songs."""
    ordered = sorted(songs)
    hidden = max(1, round(len(ordered) * share))
    chosen = set(np.random.default_rng(seed).permutation(len(ordered))[:hidden].tolist())
    return [s for i, s in enumerate(ordered) if i not in chosen], [s for i, s in enumerate(ordered) if i in chosen]


def ranks_of(values: Floats, hidden: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rank of each hidden row among all rows less the known ones; a tie counts against it."""
    usable = np.ones(len(values), dtype=bool)
    usable[known] = False
    usable[hidden] = True
    pool = np.sort(values[usable])
    above = len(pool) - np.searchsorted(pool, values[hidden], side="left")
    return np.maximum(above, 1).astype(np.int64)


def ndcg(ranks: NDArray[np.int64], cut: int = 10) -> float:
    """Normalised discounted cumulative gain of hidden items at ``cut`` (Järvelin & Kekäläinen, 2002)."""
    if len(ranks) == 0:
        return 0.0
    gained = float((1 / np.log2(1 + ranks[ranks <= cut])).sum())
    ideal = float((1 / np.log2(1 + np.arange(1, min(len(ranks), cut) + 1))).sum())
    return gained / ideal


def measure(values: Floats, hidden: NDArray[np.int64], known: NDArray[np.int64]) -> HeldOut:
    """Score one ranking of the whole catalogue. Rows as in ``ranks_of``."""
    ranks = ranks_of(values, hidden, known)
    gain = float((1 / np.log2(1 + ranks)).mean()) if len(ranks) else 0.0
    return HeldOut(tuple(int(r) for r in ranks), gain, int((ranks <= FOUND_WITHIN).sum()), ndcg(ranks))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's decision, with the paired difference of the gain and its 95 % bootstrap interval."""

    promoted: bool
    difference: float
    low: float
    high: float
    why: str


def gate(before: HeldOut, after: HeldOut, seed: int = 0) -> Verdict:
    """A version goes live only if it does not lose to the base on the hidden songs."""
    b = 1 / np.log2(1 + np.array(before.ranks, dtype=np.float64))
    a = 1 / np.log2(1 + np.array(after.ranks, dtype=np.float64))
    difference = float(np.sort(a).mean() - np.sort(b).mean())  # sorted: a mere change of order is exactly no change
    draws = np.random.default_rng(seed).integers(0, len(a), size=(_RESAMPLES, len(a)))
    low, high = np.quantile((a - b)[draws].mean(axis=1), [0.025, 0.975])
    promoted = difference > 0
    count = len(after.ranks)
    moved = f"found {after.found} of {count} hidden songs in its first {FOUND_WITHIN}, before {before.found}"
    if promoted:
        why = f"The new version ranks your hidden songs higher on the whole: it {moved}."
    elif difference == 0:
        why = f"The new version ranks your hidden songs just as before ({moved}), so the old one stays."
    else:
        why = f"The new version ranks your hidden songs lower on the whole: it {moved}. The old one stays."
    return Verdict(promoted, difference, float(low), float(high), why)
