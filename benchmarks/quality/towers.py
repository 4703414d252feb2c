"""Rows that read song texts with the product's own engine, adapter off: the base, and what is learnt on its vectors.

Every row takes the same song texts, weights and ranking rule; only the listener's vectors differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from app.lm import ranking
from app.lm.asking import WISH_SHARE, Own
from app.lm.engine import Engine
from app.lm.ranking import Taste
from app.lm.vectors import Floats, unit
from benchmarks.quality.data import Song
from benchmarks.quality.protocol import Case

_MAP_RIDGE = 1.0
_VECTOR_STEPS, _VECTOR_RATE, _VECTOR_SHARPNESS, _VECTOR_DECAY = 40, 0.02, 15.0, 1.0

Known = Callable[[Case], Sequence[Own]]


def own_of(case: Case, songs: Sequence[Song], *, liked_only: bool = False) -> list[Own]:
    """The known songs as the engine takes them, the weightiest first."""
    order = sorted(case.known, key=lambda song: (-abs(case.known[song]), song))
    return [Own(s, songs[s].text, case.known[s]) for s in order if not liked_only or case.known[s] > 0]


def wish_of(case: Case) -> str:
    """What was said so far as the one text that the product takes: a line for each thing, oldest first."""
    return "\n".join(case.wish)


def base(engine: Engine, case: Case, own: Sequence[Own]) -> Floats:
    """The engine's own scores with the adapter off, by its rule."""
    return engine.score("", None, own, wish_of(case))[0]


def centroid(engine: Engine, case: Case, own: Sequence[Own]) -> Floats:
    """Cosine with the weighted mean of the listener's songs, whatever the engine's rule; a wish is blended in."""
    taste = _taste(engine, own)
    return _wished(engine, case, Taste(taste.songs, taste.units, taste.weights, "mean"))


def linear_map(engine: Engine, case: Case, own: Sequence[Own]) -> Floats:
    """A linear map of the listener's own vectors, by ridge regression towards the identity.

    It learns to carry the mean of all other songs (n, D) to the song left out (n, D):
    W = I + (A - C)ᵀ (C Cᵀ + λ I)⁻¹ C, and the songs are ranked through W with the engine's rule.
    """
    taste = _taste(engine, own)
    liked = taste.weights > 0
    songs, weights = taste.units[liked].astype(np.float64), taste.weights[liked].astype(np.float64)
    if len(songs) < 2:
        return _wished(engine, case, taste)
    others = weights @ songs - weights[:, None] * songs
    contexts = others / np.maximum(np.linalg.norm(others, axis=1, keepdims=True), 1e-9)
    gram = contexts @ contexts.T + _MAP_RIDGE * len(songs) * np.eye(len(songs))
    moved = (taste.units @ contexts.T) @ np.linalg.solve(gram, songs - contexts)
    mapped = unit((taste.units + moved).astype(np.float32))
    return _wished(engine, case, Taste(taste.songs, mapped, taste.weights, taste.rule))


def free_vector(engine: Engine, case: Case, own: Sequence[Own]) -> Floats:
    """A free vector (D,): softmax of the liked songs over the catalogue, started at and drawn to the centroid."""
    taste = _taste(engine, own)
    if taste.empty:
        return _wished(engine, case, taste)
    snapshot = engine.vectors.snapshot()
    units = torch.from_numpy(np.asarray(snapshot.units))
    liked = taste.weights > 0
    rows = torch.from_numpy(snapshot.rows(taste.songs[liked].tolist()))
    weights = torch.from_numpy(taste.weights[liked] / taste.weights[liked].sum())
    start = torch.from_numpy(taste.vector)
    vector = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([vector], lr=_VECTOR_RATE)
    for _ in range(_VECTOR_STEPS):
        logs = torch.log_softmax(units @ vector * _VECTOR_SHARPNESS, dim=0)
        loss = -(weights * logs[rows]).sum() + _VECTOR_DECAY * (vector - start).square().sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    found = unit(vector.detach().numpy())
    return _wished(engine, case, Taste(taste.songs[:1], found[None], np.ones(1, np.float32), "mean"))


def _taste(engine: Engine, own: Sequence[Own]) -> Taste:
    return engine.taste("", None, own)[0]


def _wished(engine: Engine, case: Case, taste: Taste) -> Floats:
    """Scores of a taste, with the wish blended in as the engine does."""
    units = engine.vectors.snapshot().units
    values = np.zeros(len(units), np.float32) if taste.empty else ranking.scores(taste, units)
    if not case.wish:
        return values
    wished = units @ engine.wish_unit(wish_of(case))
    return wished if taste.empty else ranking.blend(values, wished, WISH_SHARE)
