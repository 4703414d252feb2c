"""How well hidden songs are ranked, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.lm.evaluation import ndcg, ranks_of
from app.lm.vectors import Floats
from benchmarks.quality.protocol import Case

METRICS = ("ndcg@10", "recall@10", "recall@100", "auc")
_RESAMPLES = 5000
Measured = dict[str, float | None]


def measure(values: Floats, case: Case) -> Measured:
    """Metrics of one scoring of the whole catalogue (N,), None for those that the task does not have.

    A tie counts against a hidden song (for the AUC: half).
    """
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"scores that are not finite for {case.key}")
    hidden = np.array(case.hidden, np.int64)
    if case.wrong:
        right, wrong = values[hidden][:, None], values[np.array(case.wrong, np.int64)][None, :]
        auc = float((right > wrong).mean() + 0.5 * (right == wrong).mean())
        return {"ndcg@10": None, "recall@10": None, "recall@100": None, "auc": auc}
    ranks = ranks_of(values.astype(np.float32), hidden, np.array(case.out, np.int64))
    return {
        "ndcg@10": ndcg(ranks),
        "recall@10": float((ranks <= 10).mean()),
        "recall@100": float((ranks <= 100).mean()),
        "auc": None,
    }


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


def bootstrap(values: NDArray[np.float64]) -> Interval:
    """Percentile bootstrap over listeners, seeded. values: (L,)."""
    draws = np.random.default_rng(0).integers(0, len(values), size=(_RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))


def by_listener(values: Mapping[str, float], groups: Mapping[str, str]) -> dict[str, float]:
    """One mean a listener from one value a case."""
    gathered: dict[str, list[float]] = {}
    for key, value in values.items():
        gathered.setdefault(groups[key], []).append(value)
    return {group: float(np.mean(them)) for group, them in sorted(gathered.items())}


@dataclass(frozen=True, slots=True)
class Gain:
    """The paired difference of two rows over the same listeners; shares are of listeners."""

    difference: Interval
    relative: float | None
    better: float
    worse: float


def gain(row: Sequence[float], base: Sequence[float]) -> Gain:
    """Paired: both sequences are in the same order of listeners."""
    a, b = np.array(row, np.float64), np.array(base, np.float64)
    difference = bootstrap(a - b)
    mean = float(b.mean())
    return Gain(
        difference,
        difference.mean / mean if mean > 0 else None,
        float((a - b > 1e-12).mean()),
        float((a - b < -1e-12).mean()),
    )
