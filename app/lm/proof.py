"""More evidence for the gate: what the target finds of songs that were hidden from it, part by part.

One hidden fifth of a small history says little. The adapter follows its target closely (docs/decisions.md), and targets
without a part of the songs cost next to nothing, so each part of what was learnt from is hidden once as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.lm import evaluation, ranking
from app.lm.ranking import Taste
from app.lm.trainer import Trained
from app.lm.vectors import Floats, Snapshot


@dataclass(frozen=True, slots=True)
class Evidence:
    """How hidden songs fare before (base) and after, a song each in both.

    before and after: (k,) gains by rank; ordered_before and ordered_after: (j,) share of the hidden disliked songs
    that a hidden liked one comes before, where some were hidden.
    """

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    ordered_before: NDArray[np.float64]
    ordered_after: NDArray[np.float64]


def nothing() -> Evidence:
    """Evidence of no songs."""
    none = np.empty(0)
    return Evidence(none, none, none, none)


def rounds(trained: Trained, catalogue: Snapshot) -> Evidence:
    """Hide each part once: the base's ranking from the others against the target's that was made without it."""
    found = [_round(trained, catalogue, part) for part in range(1, len(trained.targets))]
    if not found:
        return nothing()
    return Evidence(*(np.concatenate([getattr(one, name) for one in found]) for name in Evidence.__dataclass_fields__))


def _round(trained: Trained, catalogue: Snapshot, part: int) -> Evidence:
    own, songs = trained.own, trained.songs
    shown, shown_away = own.weights[part].numpy() > 0, own.against[part].numpy() > 0
    liked, disliked = (
        catalogue.row_of.find([songs.ids[i] for i in at.tolist()]) for at in (trained.liked, trained.disliked)
    )
    raw = np.array(songs.weights, np.float32)
    mine, away = trained.liked.numpy()[shown], trained.disliked.numpy()[shown_away]
    taste = Taste(
        np.concatenate([liked[shown], disliked[shown_away]]),
        np.concatenate([own.liked.numpy()[shown], own.disliked.numpy()[shown_away]]),
        np.concatenate([raw[mine], -raw[away]]),
        trained.rule,
    )
    before = ranking.scores(taste, catalogue.units)
    after: Floats = catalogue.units @ trained.targets[part].numpy()
    hidden, known, wrong = (rows[rows >= 0] for rows in (liked[~shown], liked[shown], disliked[~shown_away]))
    return Evidence(
        evaluation.gains(evaluation.ranks_of(before, hidden, known)),
        evaluation.gains(evaluation.ranks_of(after, hidden, known)),
        ordered(before, hidden, wrong),
        ordered(after, hidden, wrong),
    )


def ordered(values: Floats, hidden: NDArray[np.int64], wrong: NDArray[np.int64]) -> NDArray[np.float64]:
    """For each hidden row the share of wrong rows that it comes before, ties half; none without wrong ones."""
    if not len(wrong):
        return np.empty(0)
    right, against = values[hidden][:, None], values[wrong][None]
    shares: NDArray[np.float64] = ((right > against) + 0.5 * (right == against)).mean(axis=1)
    return shares
