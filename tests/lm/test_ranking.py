"""From encoded songs to a ranked list with reasons."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from app.lm import ranking
from app.lm.ranking import unit
from app.lm.vectors import Floats

from .making import random_units, snapshot_of

D = 16


def brute_force(query: Floats, vectors: Floats, mean: Floats) -> NDArray[np.float64]:
    """Cosine by its definition, in double precision."""
    centred = vectors.astype(np.float64) - mean.astype(np.float64)
    cosine: NDArray[np.float64] = centred @ query.astype(np.float64) / np.linalg.norm(centred, axis=1)
    return cosine


def taste(weights: list[float], seed: int = 3) -> tuple[ranking.Taste, Floats]:
    """A taste of random songs against a random catalogue, and that catalogue."""
    catalogue = random_units(300, D, seed=1)
    own = random_units(len(weights), D, seed)
    ids = list(range(100, 100 + len(weights)))
    return ranking.taste_of(ids, own, np.array(weights, np.float32), catalogue.mean(axis=0)), catalogue


def test_scores_are_the_cosines_of_centred_vectors() -> None:
    found, catalogue = taste([1.0, 2.0, -0.5])
    snapshot = snapshot_of(catalogue)
    np.testing.assert_allclose(
        ranking.scores(found.vector, snapshot), brute_force(found.vector, catalogue, snapshot.mean), atol=1e-5
    )


def test_the_taste_vector_is_the_weighted_centred_mean_of_length_one() -> None:
    own, mean = random_units(3, D, seed=4), random_units(1, D, seed=5)[0]
    weights = np.array([1.0, 3.0, -0.5], np.float32)
    found = ranking.taste_of([1, 2, 3], own, weights, mean)
    expected = sum(w * (row - mean) for w, row in zip(weights, own, strict=True))
    np.testing.assert_allclose(found.vector, expected / np.linalg.norm(expected), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found.vector), 1.0, atol=1e-6)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 2.0, 0.3], [1.0, -0.4, 2.0, -1.0, 0.1]])
def test_what_the_own_songs_say_adds_up_exactly_to_every_score(weights: list[float]) -> None:
    found, catalogue = taste(weights)
    snapshot = snapshot_of(catalogue)
    centred = unit(catalogue - snapshot.mean)
    np.testing.assert_allclose(
        (centred @ found.shares.T).sum(axis=1), ranking.scores(found.vector, snapshot), atol=1e-5
    )


def test_the_reasons_are_the_songs_that_add_most_with_their_part_of_what_speaks_for_it() -> None:
    found, catalogue = taste([1.0, 2.0, 0.5, 1.5, 0.7])
    centred = unit(catalogue - catalogue.mean(axis=0))
    for row in centred[:20]:
        added = found.shares @ row
        speaking = np.maximum(added, 0)
        order = [int(i) for i in np.argsort(-speaking, kind="stable") if speaking[i] > 0]
        every = ranking.reasons(found, row, count=99)
        assert [song for song, _ in every] == [int(found.songs[i]) for i in order]
        assert sum(part for _, part in every) == pytest.approx(1.0 if order else 0.0)
        for (_, part), i in zip(every, order, strict=True):
            assert part == pytest.approx(speaking[i] / speaking.sum(), abs=1e-6)
        assert ranking.reasons(found, row, count=2) == every[:2]


def test_a_song_that_nothing_speaks_for_has_no_reasons() -> None:
    found, _ = taste([1.0])
    assert ranking.reasons(found, -found.vector) == ()
    assert ranking.reasons(found, found.vector) == ((100, pytest.approx(1.0)),)


def test_a_disliked_song_is_never_a_reason() -> None:
    found, catalogue = taste([1.0, 1.0, -1.0, -1.0])
    centred = unit(catalogue - catalogue.mean(axis=0))
    named = {song for row in centred for song, _ in ranking.reasons(found, row, count=99)}
    assert named == {100, 101}


def test_no_history_is_the_zero_taste_and_ranks_nothing_above_anything() -> None:
    found, catalogue = taste([])
    assert not found.vector.any()
    assert not ranking.scores(found.vector, snapshot_of(catalogue)).any()
    assert ranking.reasons(found, catalogue[0]) == ()


def test_a_wish_is_blended_in_by_its_share() -> None:
    mine, wish = random_units(2, D, seed=6) * np.array([[3.0], [0.2]], np.float32)
    np.testing.assert_allclose(ranking.blend(mine, wish, 0.0), unit(mine), atol=1e-6)
    np.testing.assert_allclose(ranking.blend(mine, wish, 1.0), unit(wish), atol=1e-6)
    half = ranking.blend(mine, wish, 0.5)
    assert half @ unit(mine) == pytest.approx(float(half @ unit(wish)), abs=1e-6)


@pytest.mark.parametrize("count", [1, 5, 17, 60, 100])
def test_the_top_is_sorted_by_value_and_ties_by_row(count: int) -> None:
    values = np.random.default_rng(0).integers(0, 7, size=60).astype(np.float32)
    by_hand = sorted(range(60), key=lambda row: (-values[row], row))
    assert ranking.top(values, None, count).tolist() == by_hand[:count]


def test_the_top_is_taken_among_the_rows_that_are_allowed() -> None:
    values = np.array([9, 1, 5, 5, 7, 5], np.float32)
    rows = np.array([5, 3, 1, 2], np.int64)
    assert ranking.top(values, rows, 2).tolist() == [2, 3]
    assert ranking.top(values, np.empty(0, np.int64), 2).tolist() == []


def test_no_artist_has_more_songs_than_allowed() -> None:
    vectors = random_units(60, D, seed=8)
    values = np.linspace(1, 0, 60, dtype=np.float32)
    artists = ["one"] * 30 + ["two"] * 20 + [f"other {n}" for n in range(10)]
    for per_artist in (1, 2, 3):
        picked = ranking.diversify(np.arange(60), values, vectors, artists, 12, per_artist=per_artist, spread=0.0)
        assert max(Counter(artists[p] for p in picked).values()) == per_artist
        assert len(picked) == len(set(picked)) == min(12, 2 * per_artist + 10)
        assert picked == sorted(picked)  # with no spread, nothing but the cap reorders


def test_one_artist_alone_gives_a_short_list() -> None:
    picked = ranking.diversify(
        np.arange(5), np.ones(5, np.float32), random_units(5, D, 1), ["one"] * 5, 5, per_artist=2, spread=0.1
    )
    assert picked == [0, 1]
    assert (
        ranking.diversify(np.arange(0), np.ones(0, np.float32), random_units(0, D, 1), [], 5, per_artist=2, spread=0.1)
        == []
    )


def test_spread_prefers_a_slightly_worse_song_to_a_twin() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    values = np.array([0.9, 0.89, 0.85], np.float32)
    names = ["a", "b", "c"]
    without = ranking.diversify(np.arange(3), values, vectors, names, 3, per_artist=1, spread=0.0)
    spread = ranking.diversify(np.arange(3), values, vectors, names, 3, per_artist=1, spread=0.1)
    assert (without, spread) == ([0, 1, 2], [0, 2, 1])


def test_positions_are_those_of_the_ranked_rows_not_of_the_catalogue() -> None:
    values = np.array([0.1, 0.9, 0.5, 0.7], np.float32)
    ranked = np.array([1, 3, 2], np.int64)
    picked = ranking.diversify(ranked, values, random_units(3, D, 2), ["a", "b", "c"], 3, per_artist=1, spread=0.0)
    assert picked == [0, 1, 2]


def test_only_songs_that_may_be_ranked_are() -> None:
    snapshot = snapshot_of(random_units(6, D, seed=9), first_id=10)
    assert ranking.allowed_rows(snapshot).tolist() == [0, 1, 2, 3, 4, 5]
    assert ranking.allowed_rows(snapshot, without=[11, 99]).tolist() == [0, 2, 3, 4, 5]
    assert ranking.allowed_rows(snapshot, only=[14, 12, 99]).tolist() == [2, 4]
    assert ranking.allowed_rows(snapshot, without={12}, only={14, 12}).tolist() == [4]
    assert ranking.allowed_rows(snapshot, only=[]).tolist() == []
