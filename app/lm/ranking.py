"""From a listener's encoded songs to a ranked list with reasons.

Everything is measured between units: vectors less the catalogue's mean, scaled to length 1. Two rules, the same for a
listener's adapter as for the base; which one fits is a property of the catalogue (docs/decisions.md has the numbers):

mean
    cosine with the weighted mean of the listener's own songs. For catalogues with one entry an artist.
interest
    soft maximum over the listener's own songs, log Σ wᵢ exp(sharp · cosᵢ) / sharp: a song needs to be near some of
    them, not near their middle. For catalogues with several songs an artist, where it finds a quarter more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.lm.asking import Ask, AskArtists, Lift
from app.lm.centred import Centred
from app.lm.vectors import Floats, Snapshot, unit

Rule = Literal["mean", "interest"]

SHARP = 8.0
_CANDIDATES = 200  # from whom a list is picked, if not ten times its length
_AWAY = 0.3  # how much nearness to a disliked song counts against nearness to a liked one
# What the slider moves at its ends, in spreads of the score (docs/decisions.md).
_NEAR = 0.5
_KNOWN_ARTIST = 3.0
_BEST = 0.999  # of the catalogue: where a wish and a taste are brought to one height before they are mixed


@dataclass(frozen=True, slots=True)
class Taste:
    """A listener's own songs against one catalogue.

    songs: (n,) ids; units: (n, D) through the listener's tower; weights: (n,), below zero for what they dislike.
    """

    songs: NDArray[np.int64]
    units: Floats
    weights: Floats
    rule: Rule

    @property
    def vector(self) -> Floats:
        """The taste vector: (D,) unit mean of the songs by weight; zero for an empty history."""
        return unit(self.weights @ self.units)

    @property
    def empty(self) -> bool:
        """Whether nothing is known that a list could start from."""
        return not (self.weights > 0).any()


@dataclass(frozen=True, slots=True)
class Ranked:
    """One song of a list. speaks: the listener's own songs that speak most for it, with their part (0–1)."""

    song: int
    score: float
    speaks: tuple[tuple[int, float], ...]


def taste_of(songs: Sequence[int], vectors: Floats, weights: Floats, mean: Floats, rule: Rule) -> Taste:
    """A Taste from vectors (n, D) as encoded; mean: (D,) of the catalogue."""
    return Taste(np.asarray(songs, np.int64), unit(vectors - mean), np.asarray(weights, np.float32), rule)


def scores(taste: Taste, units: Floats | Centred) -> Floats:
    """How well each of some units (N, D) fits a taste: (N,)."""
    if taste.rule == "mean":
        result: Floats = units @ taste.vector
        return result
    liked, disliked = taste.weights > 0, taste.weights < 0
    values = _soft_maximum(units, taste.units[liked], taste.weights[liked])
    if disliked.any():
        values -= _AWAY * _soft_maximum(units, taste.units[disliked], -taste.weights[disliked])
    return values


def _soft_maximum(units: Floats | Centred, own: Floats, weights: Floats) -> Floats:
    """log Σ wᵢ exp(sharp · cosᵢ) / sharp for each unit, weights scaled to sum 1. (N, D), (n, D), (n,) → (N,)."""
    shares = (weights / weights.sum()).astype(np.float32)
    result = np.empty(len(units), np.float32)
    products = units.products(own.T) if isinstance(units, Centred) else [(slice(None), units @ own.T)]
    for part, likeness in products:
        # Cosines lie in [-1, 1], so exp(8 · cos) neither overflows nor vanishes.
        likeness *= SHARP
        result[part] = np.log(np.exp(likeness, out=likeness) @ shares) / SHARP
    return result


def blend(values: Floats, wished: Floats, share: float) -> Floats:
    """Mix two scorings of one catalogue (N,), each brought to mean 0 and its best thousandth to 1 first.

    Lists are made of the best alone, and how far those lie above the rest differs: 5.5 spreads of the score by a plain
    mean, 6.7 by an adapter's target, 3.7 by a wish (docs/decisions.md).
    """
    return (1 - share) * _levelled(values) + share * _levelled(wished)


def lifted(values: Floats, catalogue: Snapshot, lift: Lift, share: float) -> Floats:
    """Scores (N,), brought to mean 0 and spread 1, plus ``share`` times the root of the voices for each song. Without
    anybody who speaks, the scores as they are."""
    if not lift or share <= 0:
        return values
    voices = np.zeros(len(values), np.float32)
    for songs, loud in lift:
        rows = catalogue.row_of.find(np.frombuffer(songs, np.int64))
        voices[rows[rows >= 0]] += loud  # nobody speaks twice for a song
    if not voices.any():
        return values
    result: Floats = (_standard(values) + share * np.sqrt(voices)).astype(np.float32)
    return result


def _standard(values: Floats) -> Floats:
    result: Floats = (values - values.mean()) / max(float(values.std()), 1e-9)
    return result


def _levelled(values: Floats) -> Floats:
    middle = values.mean()
    result: Floats = (values - middle) / max(float(np.quantile(values, _BEST) - middle), 1e-9)
    return result


def nearness(taste: Taste, catalogue: Snapshot) -> Floats:
    """(N,) likeness of each song to the nearest liked one other than itself; 0 if there is none."""
    liked = np.flatnonzero(taste.weights > 0)
    result = np.zeros(len(catalogue.ids), np.float32)
    if not len(liked):
        return result
    rows = catalogue.row_of.find(taste.songs[liked].tolist())
    for part, likeness in catalogue.units.products(taste.units[liked].T):
        own = np.flatnonzero((rows >= part.start) & (rows < part.start + len(likeness)))
        likeness[rows[own] - part.start, own] = -1.0
        result[part] = np.maximum(likeness.max(axis=1), 0)
    return result


def venture(values: Floats, near: Floats, familiar: NDArray[np.int64], adventure: float) -> Floats:
    """Shift scores (N,) from safe (adventure -1) to adventurous (1): away from what lies next to an own song and from
    artists the listener knows, towards what fits the whole of their taste. near: (N,); familiar: row numbers.
    """
    shifted = _standard(values) - adventure * _NEAR * _standard(near)
    shifted[familiar] -= adventure * _KNOWN_ARTIST
    return shifted


def ventured(values: Floats, taste: Taste, catalogue: Snapshot, familiar: Collection[int], adventure: float) -> Floats:
    """Scores shifted by ``venture``; as they are in the middle of the slider, or when nothing is known of a taste."""
    if not adventure or taste.empty:
        return values
    return venture(values, nearness(taste, catalogue), catalogue.rows(list(familiar)), adventure)


def top(values: Floats, rows: NDArray[np.int64] | None, count: int) -> NDArray[np.int64]:
    """Row numbers of the ``count`` largest values, best first, among ``rows`` (None: all); ties by row number."""
    pool = np.arange(len(values)) if rows is None else rows
    if count < len(pool):
        cut = np.argpartition(-values[pool], count - 1)[:count]
        # A tie at the edge must not depend on how the partition fell.
        pool = pool[values[pool] >= values[pool[cut]].min()]
    return pool[np.lexsort((pool, -values[pool]))][:count]


def diversify(
    gains: Floats,
    units: Floats,
    artists: Sequence[str],
    count: int,
    *,
    per_artist: int,
    spread: float,
) -> list[int]:
    """Greedy pick of ``count`` of k candidates: at most ``per_artist`` songs an artist, and each next song is the best
    by its gain less ``spread`` times its likeness to the nearest picked one (maximal marginal relevance, Carbonell and
    Goldstein 1998).

    gains: (k,); units: (k, D); artists: k keys. Returns positions, first pick first.
    """
    nearest = np.zeros(len(gains), dtype=np.float32)
    taken: dict[str, int] = {}
    open_ = np.ones(len(gains), dtype=bool)
    picked: list[int] = []
    while len(picked) < count and open_.any():
        best = int(np.argmax(np.where(open_, gains - spread * nearest, -np.inf)))
        open_[best] = False
        picked.append(best)
        taken[artists[best]] = taken.get(artists[best], 0) + 1
        if taken[artists[best]] >= per_artist:
            open_ &= np.array([artist != artists[best] for artist in artists])
        nearest = np.maximum(nearest, units @ units[best])
    return picked


def shortlist(
    values: Floats, rows: NDArray[np.int64] | None, catalogue: Snapshot, ask: Ask, artists: AskArtists, spread: float
) -> list[int]:
    """Row numbers of a list by scores (N,): the best among ``rows``, of various artists and sounds as is asked.

    spread: how much likeness to what is picked already counts against a song, in spreads of the score.
    """
    best = top(values, rows, max(_CANDIDATES, 10 * ask.count))
    keys = artists(catalogue.ids[best].tolist())
    picked = diversify(
        values[best],
        catalogue.units[best],
        [keys.get(int(catalogue.ids[row]), "") for row in best],
        ask.count,
        per_artist=ask.per_artist,
        spread=spread * float(values.std()),
    )
    return [int(best[place]) for place in picked]


def reasons(taste: Taste, song: Floats, count: int = 8) -> tuple[tuple[int, float], ...]:
    """The liked songs that speak most for a song (a unit, (D,)), each with its part of the score as the rule makes it.

    mean: its part of the weighted sum of cosines, those below zero left out. interest: its part of the soft maximum.
    """
    likeness = taste.units @ song
    if taste.rule == "mean":
        speaking = np.maximum(taste.weights, 0) * np.maximum(likeness, 0)
    else:
        speaking = np.maximum(taste.weights, 0) * np.exp(SHARP * likeness)
    total = float(speaking.sum())
    if total <= 0:
        return ()
    order = np.argsort(-speaking, kind="stable")[:count]
    return tuple((int(taste.songs[i]), float(speaking[i]) / total) for i in order if speaking[i] > 0)


def allowed_rows(
    catalogue: Snapshot, without: Collection[int] = (), only: Collection[int] | None = None
) -> NDArray[np.int64]:
    """Rows of the catalogue that may be ranked."""
    if only is not None:
        keep = set(only) - set(without)
        return np.sort(catalogue.rows(list(keep)))
    mask = np.ones(len(catalogue.ids), dtype=bool)
    mask[catalogue.rows(list(without))] = False
    return np.flatnonzero(mask)
