"""The exact best without sorting all, and the compressed index beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.lm import centred
from app.lm.centred import Centred, Stored
from app.lm.index import SongIndex

from .making import random_units


def clustered(count: int, dimension: int = 16) -> Centred:
    """Rows around sixty middles, as songs lie around artists."""
    middles = random_units(60, dimension, seed=1)
    rows = middles[np.arange(count) % 60] + 0.3 * random_units(count, dimension, seed=2, centre=0.0)
    return Centred(Stored(rows), rows.mean(axis=0))


@pytest.mark.parametrize("count", [1, 9, 40, 99])
def test_the_exact_best_are_those_of_a_whole_sort(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(centred, "ROWS_AT_ONCE", 7)
    rows = np.repeat(random_units(20, 8, seed=3), 2, axis=0)  # ties: every row twice
    units = Centred(Stored(rows), rows.mean(axis=0))
    values = units @ units[5]
    order = np.lexsort((np.arange(40), -values))[:count]
    found, theirs = units.top(units[5], count)
    assert found.tolist() == order.tolist()
    assert theirs.tolist() == values[order].tolist()


def test_the_index_finds_nearly_all_of_the_exact_best_with_their_exact_values(tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    units = clustered(20_000)
    index = SongIndex.build(units)
    assert index.lists < index._index.nlist  # or it would read everything
    index.save(tmp_path / "songs.faiss")
    loaded = SongIndex.load(tmp_path / "songs.faiss")
    shares = []
    for seed in range(40):
        query = units[np.random.default_rng(seed).integers(0, 20_000, 3)].mean(axis=0)
        rows, values = loaded.top(units, query, 50)
        exact, best = units.top(query, 50)
        shares.append(len(set(rows.tolist()) & set(exact.tolist())) / 50)
        np.testing.assert_allclose(values, units[rows] @ query, atol=1e-6)
        assert values[0] == pytest.approx(best[0], abs=1e-6)
    assert np.mean(shares) >= 0.97


def test_a_catalogue_of_a_few_songs_has_an_index_too() -> None:
    pytest.importorskip("faiss")
    units = clustered(60)
    assert SongIndex.build(units).top(units, units[3], 5)[0][0] == 3
