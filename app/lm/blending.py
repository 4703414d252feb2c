"""Several listeners at once: a list for all of them, and how alike two tastes are.

Each scores the whole catalogue through their own tower, as for their own list. For a common list they take turns:
everybody's best song, then everybody's second, so that nobody counts more for being sure. Where turns alone would leave
somebody worse off than a list of one of them for all, each yields to what the others like as far as is needed. Measured
against averages of scores and of adapters' weights in benchmarks/blends.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from app.lm import ranking
from app.lm.asking import WISH_SHARE, Ask, AskArtists, Own
from app.lm.ranking import Taste
from app.lm.vectors import CatalogueVectors, Floats, Snapshot

# How much each yields to the others, tried in turn until nobody is worse off; the last is the least misery for all
# (O'Connor et al. 2001, PolyLens).
_YIELDING = (0.0, 1.0, 3.0, 10.0, 30.0, math.inf)

# (listener, version or None for the base, own songs, weight above 0)
Voice = tuple[str, str | None, Sequence[Own], float]


class Scoring(Protocol):
    """What a blend needs of the engine."""

    @property
    def vectors(self) -> CatalogueVectors: ...

    def score(
        self, listener: str, version: str | None, own: Sequence[Own], wish: str = "", wish_share: float = WISH_SHARE,
        snapshot: Snapshot | None = None,
    ) -> tuple[Floats, Taste, str | None]: ...  # fmt: skip


@dataclass(frozen=True, slots=True)
class Blended:
    """One song of a blend.

    parts: how much each voice speaks for it, summing to 1; above: the share of the catalogue that fits each voice less
    (0–1); speaks: each voice's own songs that speak most for it, with their part.
    """

    song: int
    score: float
    parts: tuple[float, ...]
    above: tuple[float, ...]
    speaks: tuple[tuple[tuple[int, float], ...], ...]


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike two tastes are, from the first's side.

    theirs: how well each of the other's liked songs fits the first, as the share of the catalogue that fits less (0–1),
    by song; mine: the same the other way round. agreement: mean of both, weighted as the songs are; 0.5 is chance.
    """

    agreement: float
    theirs: Mapping[int, float]
    mine: Mapping[int, float]


def together(values: Sequence[Floats], weights: Sequence[float], yielding: float = 0.0) -> tuple[Floats, Floats]:
    """Several scorings of one catalogue, (N,) each, as one (N,), and each one's part of it, (n, N) summing to 1.

    A song stands where the first turn comes to it: minus the logarithm of the best of its places (1 is first), each
    divided by its listener's share of the weights. With ``yielding`` a place grows by that many times the share of the
    catalogue that the others like better; at infinity a song stands at the worst of its places, whatever the weights.
    Parts are as the shares of the places' inverses.
    """
    return _fused(_places(values), weights, yielding)


def _places(values: Sequence[Floats]) -> Floats:
    """(n, N): where each song stands in each scoring, from 1; a later scoring's by a thousandth more, against ties."""
    places = np.empty((len(values), len(values[0])), np.float32)
    for turn, one in enumerate(values):
        places[turn, np.argsort(-one, kind="stable")] = np.arange(1, len(one) + 1) + turn / 1000
    return places


def _fused(places: Floats, weights: Sequence[float], yielding: float) -> tuple[Floats, Floats]:
    """``together`` from the places (n, N)."""
    shares = np.asarray(weights, np.float32) / np.float32(sum(weights))
    speaks = shares[:, None] / places
    parts: Floats = (speaks / speaks.sum(axis=0)).astype(np.float32)
    if math.isinf(yielding):
        return -np.log(places.max(axis=0)), parts
    others = (places.sum(axis=0) - places) / (max(len(places) - 1, 1) * places.shape[1])
    result: Floats = np.log((speaks / (1 + yielding * others)).max(axis=0))
    return result, parts


def share_below(values: Floats, rows: Sequence[int]) -> Floats:
    """For some rows of a scoring (N,), the share of the catalogue that scores less: (len(rows),)."""
    ordered = np.sort(values)
    below = np.searchsorted(ordered, values[list(rows)], side="left") / max(len(values) - 1, 1)
    return below.astype(np.float32)


def fair(
    single: Sequence[Floats], weights: Sequence[float], listed: Callable[[Floats], list[int]]
) -> tuple[Floats, Floats, list[int]]:
    """Scores, parts and rows of a list that suits whoever it suits least at least as well as any one's own list would:
    by turns if they do, else yielding as little as does it; the best that was tried where nothing does.

    ``listed`` makes a list of rows from scores (N,).
    """
    places = _places(single)

    def least(rows: list[int]) -> float:
        """How well a list suits whoever it suits least, larger is better."""
        return -float(places[:, rows].mean(axis=1).max()) if rows else 0.0

    promised = max(least(listed(values)) for values in single) if len(single) > 1 else -math.inf
    tried: list[tuple[float, Floats, Floats, list[int]]] = []
    for yielding in _YIELDING:
        values, parts = _fused(places, weights, yielding)
        rows = listed(values)
        tried.append((least(rows), values, parts, rows))
        if tried[-1][0] >= promised:
            return tried[-1][1:]
    return max(tried, key=lambda one: one[0])[1:]


class Blending:
    """The part of the engine that listens to several voices."""

    def blend(self: Scoring, voices: Sequence[Voice], ask: Ask, artists: AskArtists) -> list[Blended]:
        """A list for all voices. Whoever has no history yet is left out of the scores; with none at all it is empty.

        Whoever it suits least it suits at least as well as one voice's own list would suit whoever that suits least,
        where any way of yielding gets there.
        """
        snapshot = self.vectors.snapshot()  # one for all: rows mean the same songs in every voice's scores
        scored = [
            self.score(listener, version, own, ask.wish, ask.wish_share, snapshot)[:2]
            for listener, version, own, _ in voices
        ]
        heard = [i for i, (_, taste) in enumerate(scored) if not taste.empty]
        if not heard or not len(snapshot.ids):
            return []
        single = [scored[i][0] for i in heard]
        rows = ranking.allowed_rows(snapshot, ask.without, ask.only)

        def listed(values: Floats) -> list[int]:
            return ranking.shortlist(values, rows, snapshot, ask, artists, ask.spread)

        values, speaks, chosen = fair(single, [voices[i][3] for i in heard], listed)
        above = np.zeros((len(voices), len(chosen)), np.float32)
        parts = np.zeros_like(above)
        for place, i in enumerate(heard):
            above[i] = share_below(single[place], chosen)
            parts[i] = speaks[place][chosen]
        return [
            Blended(
                int(snapshot.ids[row]),
                float(values[row]),
                tuple(float(x) for x in parts[:, n]),
                tuple(float(x) for x in above[:, n]),
                tuple(ranking.reasons(taste, snapshot.units[row], 2) if not taste.empty else () for _, taste in scored),
            )
            for n, row in enumerate(chosen)
        ]

    def likeness(self: Scoring, mine: Voice, theirs: Voice) -> Likeness | None:
        """How alike two tastes are; None as long as one of them has no liked song that is encoded."""
        snapshot = self.vectors.snapshot()
        found: list[dict[int, float]] = []
        means: list[float] = []
        for (listener, version, own, _), other in ((mine, theirs[2]), (theirs, mine[2])):
            values, taste, _version = self.score(listener, version, own, snapshot=snapshot)
            liked = [song for song in other if song.weight > 0 and song.id in snapshot.row_of]
            if taste.empty or not liked:
                return None
            fits = share_below(values, [snapshot.row_of[song.id] for song in liked])
            means.append(float(np.average(fits, weights=[song.weight for song in liked])))
            found.append({song.id: float(fit) for song, fit in zip(liked, fits, strict=True)})
        return Likeness(sum(means) / 2, found[0], found[1])
