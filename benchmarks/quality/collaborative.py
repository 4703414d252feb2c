"""Rows that read no text: random, popularity, item-kNN and ALS (https://github.com/benfred/implicit).

Each is fitted to the histories it may see, those of a circle or of the crowd, and scores the whole catalogue.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import CosineRecommender
from implicit.utils import ParameterWarning
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from app.lm.vectors import Floats
from benchmarks.quality.protocol import Case, Histories, number_of

_FACTORS, _CIRCLE_FACTORS, _ROUNDS = 64, 16, 15
_CONFIDENCE, _RIDGE = 20.0, 0.1
_NEIGHBOURS = 100
_CROWD = 100  # more listeners than this are a crowd: more factors pay then

Scorer = Callable[[Case], Floats]


def noise(case: Case, songs: int) -> Floats:
    """(N,) in [0, 1), the same for the same case: breaks ties, and is the random row."""
    drawn: Floats = np.random.default_rng(number_of("noise", case.key)).random(songs, dtype=np.float32)
    return drawn


def popularity(histories: Histories, songs: int) -> Scorer:
    """How many of the listeners know a song."""
    counts = np.zeros(songs)
    for known in histories.values():
        counts[list(known)] += 1
    return lambda case: _untied(counts, case)


def item_knn(histories: Histories, songs: int) -> Scorer:
    """Cosine between songs by their listeners, the hundred nearest of each, summed over the listener's songs."""
    columns, matrix = _compressed(histories)
    model = CosineRecommender(K=_NEIGHBOURS, num_threads=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ParameterWarning)  # it converts its own matrix, and says so
        model.fit(matrix, show_progress=False)
    near = model.similarity.tocsr()

    def score(case: Case) -> Floats:
        mine = _vector(case.liked, columns)
        return _untied(_spread(near.T @ mine, columns, songs), case)

    return score


def als(histories: Histories, songs: int) -> Scorer:
    """Implicit-feedback factors (Hu, Koren and Volinsky 2008); the listener's factor is solved from the known songs."""
    columns, matrix = _compressed(histories)
    model = AlternatingLeastSquares(
        factors=_FACTORS if len(histories) > _CROWD else _CIRCLE_FACTORS,
        regularization=_RIDGE,
        alpha=_CONFIDENCE,
        iterations=_ROUNDS,
        num_threads=1,
        random_state=0,
        use_gpu=False,
    )
    model.fit(matrix, show_progress=False)
    items = np.asarray(model.item_factors, np.float64)
    gram = items.T @ items + _RIDGE * np.eye(items.shape[1])

    def score(case: Case) -> Floats:
        own = items[_vector(case.liked, columns) > 0]
        # Confidence of a known song is alpha, of any other 1 (implicit's own convention).
        mine = np.linalg.solve(gram + (_CONFIDENCE - 1) * own.T @ own, _CONFIDENCE * own.sum(axis=0))
        return _untied(_spread(items @ mine, columns, songs), case)

    return score


def _compressed(histories: Histories) -> tuple[Mapping[int, int], csr_matrix]:
    """Songs that anybody knows as columns, and the matrix (listeners, columns) of ones."""
    columns = {song: at for at, song in enumerate(sorted({song for known in histories.values() for song in known}))}
    places = [(row, columns[song]) for row, user in enumerate(sorted(histories)) for song in histories[user]]
    rows, cols = np.array(places, np.int32).T if places else np.empty((2, 0), np.int32)
    shape = (len(histories), max(1, len(columns)))
    return columns, csr_matrix((np.ones(len(places), np.float32), (rows, cols)), shape=shape)


def _vector(known: Sequence[int], columns: Mapping[int, int]) -> NDArray[np.float64]:
    vector = np.zeros(max(1, len(columns)))
    vector[[columns[song] for song in known if song in columns]] = 1
    return vector


def _spread(values: NDArray[np.float64], columns: Mapping[int, int], songs: int) -> NDArray[np.float64]:
    """Column values back on the whole catalogue; songs that nobody here knows come last."""
    low = float(values.min()) if len(values) else 0.0
    result = np.full(songs, low - abs(low) - 1.0)
    if columns:
        result[list(columns)] = values
    return result


def _untied(values: NDArray[np.float64], case: Case) -> Floats:
    """Ties broken at random, everything else kept: a place in the order for each song."""
    order = np.lexsort((noise(case, len(values)), values))
    places = np.empty(len(values), np.float32)
    places[order] = np.arange(len(values), dtype=np.float32)
    return places
