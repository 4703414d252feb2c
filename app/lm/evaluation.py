"""Did the adapter help? Held-out songs, their ranks in the whole catalogue, and the promotion gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.lm.vectors import Floats

if TYPE_CHECKING:
    from app.lm.proof import Evidence
    from app.lm.ranking import Rule

FOUND_WITHIN = 100
_HALF_AT = 10.0
_TIE = 1e-12
_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class HeldOut:
    """How the hidden songs fared. ranks: one a song, 1 is the top; gain: mean of 10/(10 + rank); ndcg at 10.

    songs: which ones they were, in the order of ``ranks``, where the caller knows. learnt_since: whether what was
    measured has gone on to learn from them.
    """

    ranks: tuple[int, ...]
    gain: float
    found: int
    ndcg_10: float
    songs: tuple[int, ...] = ()
    learnt_since: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a card or a page; what never came to pass is not among them."""
        plain = {
            **asdict(self),
            "ranks": list(self.ranks),
            "songs": list(self.songs),
            "of": len(self.ranks),
            "within": FOUND_WITHIN,
        }
        if not self.learnt_since:
            del plain["learnt_since"]
        return plain


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


def gains(ranks: NDArray[np.int64]) -> NDArray[np.float64]:
    """What each rank is worth to the gate: 10/(10 + rank). Less steep than nDCG's discount, so it tells more of few
    songs (docs/decisions.md)."""
    worth: NDArray[np.float64] = _HALF_AT / (_HALF_AT + ranks.astype(np.float64))
    return worth


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
    gain = float(gains(ranks).mean()) if len(ranks) else 0.0
    return HeldOut(tuple(int(r) for r in ranks), gain, int((ranks <= FOUND_WITHIN).sum()), ndcg(ranks))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's decision, with the paired difference of the gain and its 95 % bootstrap interval."""

    promoted: bool
    difference: float
    low: float
    high: float
    why: str


# How many standard errors a version must gain by. Songs scatter more than artists do, so more of what looks like a gain
# is none (docs/decisions.md, measured on half of the listeners and looked at on the other half).
CAUTION: dict[Rule, float] = {"mean": 0.0, "interest": 0.5}


def gate(before: HeldOut, after: HeldOut, more: Evidence | None = None, seed: int = 0, caution: float = 0.0) -> Verdict:
    """A version goes live only if it finds songs that were hidden better than the base does.

    before and after: the songs hidden from the adapter itself; more: those hidden in turn from its target, all of which
    count alike. It must gain over all of them, by more than ``caution`` standard errors. Where somebody dislikes songs,
    whether liked ones come before those counts as well, and any gain will do.
    """
    b, a = gains(np.array(before.ranks, np.int64)), gains(np.array(after.ranks, np.int64))
    if more is not None:
        b, a = np.concatenate([b, more.before]), np.concatenate([a, more.after])
    random = np.random.default_rng(seed)
    difference, draws = _paired(b, a, random)
    if more is not None and len(more.ordered_before):
        caution = 0.0
        ordered, ordered_draws = _paired(more.ordered_before, more.ordered_after, random)
        difference, draws = difference + ordered, draws + ordered_draws
    low, high = np.quantile(draws, [0.025, 0.975])
    promoted = difference > max(_TIE, caution * float(draws.std()))
    return Verdict(promoted, difference, float(low), float(high), _why(before, after, difference, promoted))


def _why(before: HeldOut, after: HeldOut, difference: float, promoted: bool) -> str:
    """The verdict in a sentence or two."""
    of = f"{len(after.ranks)} hidden songs in its first {FOUND_WITHIN}"
    moved = f"found {after.found} of {of}, before {before.found}"
    if promoted:
        top = "places near the top count most"
        if after.gain < before.gain - _TIE:
            return (
                f"On these hidden songs the new version ranks lower ({moved}), but higher over all your songs, "
                f"each of which was hidden once ({top})."
            )
        return f"The new version ranks your hidden songs higher on the whole ({top}): it {moved}."
    if difference == 0:
        return f"The new version ranks your hidden songs just as before ({moved}), so the old one stays."
    if difference > 0:
        return f"The new version gains too little to be sure that it is better: it {moved}. The old one stays."
    return f"The new version ranks your hidden songs lower on the whole: it {moved}. The old one stays."


def _paired(
    before: NDArray[np.float64], after: NDArray[np.float64], random: np.random.Generator
) -> tuple[float, NDArray[np.float64]]:
    """Mean difference, and bootstrap draws of it."""
    difference = float(np.sort(after).mean() - np.sort(before).mean())  # sorted: a change of order is exactly no change
    rows = random.integers(0, len(after), size=(_RESAMPLES, len(after)))
    return difference, (after - before)[rows].mean(axis=1)
