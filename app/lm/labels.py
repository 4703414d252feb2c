"""Labels for songs by the vote of the labelled ones nearest to them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from app.lm.centred import Centred
from app.lm.vectors import Floats, unit

NEAREST = 30
_POWER = 4
_ROWS_AT_ONCE = 512


def middles(units: Floats | Centred, groups: Sequence[NDArray[np.int64]]) -> Floats:
    """The unit mean of each group of rows: (groups, D)."""
    if not groups:
        return np.zeros((0, units.shape[1]), np.float32)
    return unit(np.stack([units[rows].mean(axis=0) for rows in groups]))


class Vote:
    """Voters with labels, asked for many songs.

    voters: (m, D) units; written: their labels. A label's share is the part of the nearest voters' weight that carries
    it, times their mean cosine: few voters at hand, or all of them far, make every share small.
    """

    def __init__(self, voters: Floats, written: Sequence[Collection[str]]) -> None:
        self.voters = voters
        self.names = sorted({label for labels in written for label in labels})
        place = {name: column for column, name in enumerate(self.names)}
        self._carries = np.zeros((len(written), len(self.names)), np.float32)  # (m, labels)
        for row, labels in enumerate(written):
            self._carries[row, [place[label] for label in labels]] = 1

    def ask(self, songs: Floats) -> list[list[tuple[str, float]]]:
        """(label, share) for each of songs (n, D), best first."""
        result: list[list[tuple[str, float]]] = []
        for start in range(0, len(songs), _ROWS_AT_ONCE):
            for shares in self.shares(songs[start : start + _ROWS_AT_ONCE]):
                order = np.argsort(-shares, kind="stable")[:10]
                result.append([(self.names[i], float(shares[i])) for i in order if shares[i] > 0])
        return result

    def shares(self, songs: Floats) -> Floats:
        """(n, labels) for songs (n, D)."""
        count = min(NEAREST, len(self.voters))
        if not count:
            return np.zeros((len(songs), len(self.names)), np.float32)
        likeness = songs @ self.voters.T
        nearest: NDArray[np.int64] = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
        near = np.maximum(np.take_along_axis(likeness, nearest, 1), 0)
        weights = near**_POWER
        weights *= near.mean(axis=1, keepdims=True) / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
        result: Floats = np.einsum("nk,nkl->nl", weights, self._carries[nearest]).astype(np.float32)
        return result
