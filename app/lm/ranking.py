"""From a listener's encoded songs to a ranked list with reasons.

One rule for every listener, adapter on or off: the taste vector is the weighted mean of the listener's own song
vectors, centred on the catalogue's mean; a song's score is the cosine between it and the song's centred catalogue
vector. Centring alone lifts nDCG@10 of the generic base by half (docs/decisions.md).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.lm.vectors import Floats, Snapshot

_TINY = 1e-9


def unit(vectors: Floats) -> Floats:
    """Rows (or one vector) scaled to length 1; zero stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    result: Floats = (vectors / np.maximum(norms, _TINY)).astype(np.float32)
    return result


@dataclass(frozen=True, slots=True)
class Taste:
    """A listener's taste against one catalogue.

    songs: (n,) ids of the listener's own songs; shares: (n, D) what each adds to the taste vector, so that their sum,
    and therefore every score, is exactly the sum of what the listener's songs say; liked: (n,) false for dislikes,
    which pull but are no reasons; vector: (D,) unit length.
    """

    songs: NDArray[np.int64]
    shares: Floats
    liked: NDArray[np.bool_]
    vector: Floats


@dataclass(frozen=True, slots=True)
class Ranked:
    """One song of a list. speaks: the listener's own songs that add most to its score, with their part of it (0–1)."""

    song: int
    score: float
    speaks: tuple[tuple[int, float], ...]


def taste_of(songs: Sequence[int], vectors: Floats, weights: Floats, mean: Floats) -> Taste:
    """Weighted, centred mean of a listener's own songs.

    vectors: (n, D) through the listener's tower; weights: (n,), negative for what they dislike; mean: (D,) of the
    catalogue. An empty history gives the zero vector, which ranks nothing above anything.
    """
    if len(songs) == 0:
        nothing = np.zeros_like(mean)
        return Taste(np.empty(0, np.int64), np.empty((0, len(mean)), np.float32), np.empty(0, np.bool_), nothing)
    shares = weights[:, None] * (vectors - mean)
    total = shares.sum(axis=0)
    scale = max(float(np.linalg.norm(total)), _TINY)
    shares = (shares / scale).astype(np.float32)
    return Taste(np.asarray(songs, np.int64), shares, weights > 0, (total / scale).astype(np.float32))


def blend(taste: Floats, wish: Floats, share: float) -> Floats:
    """Mix a wish into a taste vector. Both (D,); share 0 is the taste alone, 1 the wish alone."""
    return unit((1 - share) * unit(taste) + share * unit(wish))


def scores(query: Floats, catalogue: Snapshot) -> Floats:
    """Cosine of a query (D,) with every centred catalogue vector: (n,)."""
    return cosine_scores(query, catalogue.vectors, catalogue.mean)


def cosine_scores(query: Floats, vectors: Floats, mean: Floats) -> Floats:
    """The same for any set of vectors (n, D); a centred row's length follows from |v|² − 2 v·m + |m|²."""
    products = vectors @ np.stack([query, mean], axis=1)  # (n, 2) in one pass over memory
    lengths = np.sqrt(np.maximum(1.0 - 2.0 * products[:, 1] + float(mean @ mean), _TINY))
    result: Floats = ((products[:, 0] - float(query @ mean)) / lengths).astype(np.float32)
    return result


def top(values: Floats, rows: NDArray[np.int64] | None, count: int) -> NDArray[np.int64]:
    """Row numbers of the ``count`` largest values, best first, among ``rows`` (None: all); ties by row number."""
    pool = np.arange(len(values)) if rows is None else rows
    if count < len(pool):
        cut = np.argpartition(-values[pool], count - 1)[:count]
        # A tie at the edge must not depend on how the partition fell.
        pool = pool[values[pool] >= values[pool[cut]].min()]
    return pool[np.lexsort((pool, -values[pool]))][:count]


def diversify(
    ranked: NDArray[np.int64],
    values: Floats,
    vectors: Floats,
    artists: Sequence[str],
    count: int,
    *,
    per_artist: int,
    spread: float,
) -> list[int]:
    """Greedy pick of ``count`` rows: at most ``per_artist`` songs an artist, and each next song is the best by
    score less ``spread`` times its likeness to the nearest picked one (maximal marginal relevance, Carbonell 1998).

    ranked: (k,) rows, best first; vectors: (k, D) unit rows; artists: k keys. Returns positions in ``ranked``.
    """
    if len(ranked) == 0:
        return []
    gain = values[ranked].astype(np.float64)
    nearest = np.zeros(len(ranked))
    taken: dict[str, int] = {}
    open_ = np.ones(len(ranked), dtype=bool)
    picked: list[int] = []
    while len(picked) < count and open_.any():
        best = int(np.argmax(np.where(open_, gain - spread * nearest, -np.inf)))
        open_[best] = False
        picked.append(best)
        taken[artists[best]] = taken.get(artists[best], 0) + 1
        if taken[artists[best]] >= per_artist:
            open_ &= np.array([artist != artists[best] for artist in artists])
        nearest = np.maximum(nearest, vectors @ vectors[best])
    return picked


def reasons(taste: Taste, song_vector: Floats, count: int = 8) -> tuple[tuple[int, float], ...]:
    """The listener's own songs that add most to a song's score, each with its part of what speaks for it.

    song_vector: (D,) centred. Only songs that add something are named.
    """
    added = taste.shares @ song_vector
    for_it = np.where(taste.liked, np.maximum(added, 0.0), 0.0)
    total = float(for_it.sum())
    if total <= 0:
        return ()
    order = np.argsort(-for_it, kind="stable")[:count]
    return tuple((int(taste.songs[i]), float(for_it[i]) / total) for i in order if for_it[i] > 0)


def allowed_rows(
    catalogue: Snapshot, without: Collection[int] = (), only: Collection[int] | None = None
) -> NDArray[np.int64]:
    """Rows of the catalogue that may be ranked."""
    if only is not None:
        keep = [s for s in only if s not in set(without)]
        return np.sort(catalogue.rows(keep))
    mask = np.ones(len(catalogue.ids), dtype=bool)
    mask[catalogue.rows(list(without))] = False
    return np.flatnonzero(mask)
