"""From encoded songs to a ranked list with reasons."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from app.lm import centred, ranking
from app.lm.ranking import SHARP, Rule, Taste
from app.lm.vectors import Snapshot, unit

from .making import catalogue_of, random_units

D = 16
AWAY = 0.3
RULES: tuple[Rule, ...] = ("mean", "interest")
both_rules = pytest.mark.parametrize("rule", RULES)
Doubles = NDArray[np.float64]


def taste(weights: list[float], rule: Rule, seed: int = 3) -> tuple[Taste, Snapshot]:
    """A taste of random songs 100, 101, … against a random catalogue, and that catalogue."""
    catalogue = catalogue_of(random_units(300, D, seed=1))
    own = random_units(len(weights), D, seed)
    ids = list(range(100, 100 + len(weights)))
    return ranking.taste_of(ids, own, np.array(weights, np.float32), catalogue.mean, rule), catalogue


def cosines(weights: list[float], catalogue: Snapshot, seed: int = 3) -> Doubles:
    """What ``taste`` makes, by definition and in double precision: cosines of catalogue and own songs (N, n)."""
    mean = catalogue.mean.astype(np.float64)
    centred, own = np.asarray(catalogue.vectors) - mean, random_units(len(weights), D, seed) - mean
    lengths = np.linalg.norm(centred, axis=1)[:, None] * np.linalg.norm(own, axis=1)
    result: Doubles = centred @ own.T / lengths
    return result


def soft_maximum(likeness: Doubles, weights: Doubles) -> Doubles:
    """log Σ wᵢ exp(sharp · cosᵢ) / sharp with Σ wᵢ = 1, term by term."""
    terms = [w / weights.sum() * np.exp(SHARP * column) for w, column in zip(weights, likeness.T, strict=True)]
    result: Doubles = np.log(sum(terms)) / SHARP
    return result


@pytest.mark.parametrize("weights", [[1.0], [1.0, 2.0, -0.5], [0.1, 7.0, -2.0, 0.5, -0.3, 1.0]])
def test_a_score_by_mean_is_the_cosine_with_the_weighted_mean_of_units(weights: list[float]) -> None:
    found, catalogue = taste(weights, "mean")
    own = unit(random_units(len(weights), D, seed=3) - catalogue.mean).astype(np.float64)
    pull = np.array(weights) @ own
    by_definition = cosines(weights, catalogue) @ np.array(weights) / np.linalg.norm(pull)
    np.testing.assert_allclose(ranking.scores(found, catalogue.units), by_definition, atol=1e-5)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 2.0, 0.3], [1.0, -0.4, 2.0, -1.0, 0.1]])
def test_a_score_by_interest_is_the_soft_maximum_over_likes_less_a_part_of_that_over_dislikes(
    weights: list[float],
) -> None:
    found, catalogue = taste(weights, "interest")
    likeness, each = cosines(weights, catalogue), np.array(weights)
    expected = soft_maximum(likeness[:, each > 0], each[each > 0])
    if (each < 0).any():
        expected -= AWAY * soft_maximum(likeness[:, each < 0], -each[each < 0])
    np.testing.assert_allclose(ranking.scores(found, catalogue.units), expected, atol=1e-5)


def test_a_catalogue_of_more_rows_than_are_scored_at_once_is_scored_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, catalogue = taste([1.0, 2.0, -1.0], "interest")
    at_once = ranking.scores(found, catalogue.units)
    monkeypatch.setattr(centred, "ROWS_AT_ONCE", 7)
    np.testing.assert_allclose(ranking.scores(found, catalogue.units), at_once, atol=1e-6)


def test_interest_finds_what_is_near_one_song_and_the_mean_what_lies_between_them() -> None:
    own = np.eye(2, 4, dtype=np.float32)
    units = unit(np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]], np.float32))
    nowhere = np.zeros(4, np.float32)
    best = {
        rule: int(ranking.scores(ranking.taste_of([1, 2], own, np.ones(2, np.float32), nowhere, rule), units).argmax())
        for rule in RULES
    }
    assert best == {"mean": 1, "interest": 0}


@both_rules
def test_only_the_ratio_of_weights_counts(rule: Rule) -> None:
    one, catalogue = taste([1.0, 2.0, -0.5], rule)
    tenfold, _ = taste([10.0, 20.0, -5.0], rule)
    skewed, _ = taste([10.0, 2.0, -0.5], rule)
    values = ranking.scores(one, catalogue.units)
    np.testing.assert_allclose(ranking.scores(tenfold, catalogue.units), values, atol=1e-5)
    assert np.abs(ranking.scores(skewed, catalogue.units) - values).max() > 0.01


@both_rules
def test_a_weightier_song_pulls_harder(rule: Rule) -> None:
    found = [taste([weight, 1.0, 1.0], rule)[0] for weight in (0.5, 1.0, 4.0)]
    near_the_first = [float(ranking.scores(t, t.units[:1])[0]) for t in found]
    assert near_the_first == sorted(near_the_first)
    assert near_the_first[2] > near_the_first[0] + 0.02


@both_rules
def test_a_dislike_pushes_down_what_is_near_it(rule: Rule) -> None:
    liked, catalogue = taste([1.0, 1.0], rule)
    disliked, _ = taste([1.0, 1.0, -1.0], rule)
    change = ranking.scores(disliked, catalogue.units) - ranking.scores(liked, catalogue.units)
    likeness = catalogue.units @ disliked.units[2]
    nearest, farthest = np.argsort(-likeness)[:10], np.argsort(likeness)[:10]
    assert (change[nearest] < -0.05).all()
    assert change[nearest].max() < change[farthest].min()


def test_the_taste_vector_is_the_weighted_mean_of_centred_units_of_length_one() -> None:
    own, mean = random_units(3, D, seed=4), random_units(1, D, seed=5)[0]
    weights = np.array([1.0, 3.0, -0.5], np.float32)
    found = ranking.taste_of([1, 2, 3], own, weights, mean, "mean")
    rows = [(row - mean) / np.linalg.norm(row - mean) for row in own]
    expected = sum(w * row for w, row in zip(weights, rows, strict=True))
    np.testing.assert_allclose(found.vector, expected / np.linalg.norm(expected), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found.vector), 1.0, atol=1e-6)


@both_rules
def test_the_reasons_are_the_songs_that_add_most_with_their_part_of_what_speaks_for_it(rule: Rule) -> None:
    weights = [1.0, 2.0, -0.9, 0.5, 1.5, 0.7]
    found, catalogue = taste(weights, rule)
    each, likeness = np.maximum(weights, 0), cosines(weights, catalogue)
    terms = each * (np.maximum(likeness, 0) if rule == "mean" else np.exp(SHARP * likeness))
    for row, speaking in zip(catalogue.units[:20], terms[:20], strict=True):
        order = [int(i) for i in np.argsort(-speaking, kind="stable") if speaking[i] > 0]
        every = ranking.reasons(found, row, count=99)
        assert [song for song, _ in every] == [100 + i for i in order]
        assert sum(part for _, part in every) == pytest.approx(1.0 if order else 0.0)
        for (_, part), i in zip(every, order, strict=True):
            assert part == pytest.approx(speaking[i] / speaking.sum(), abs=1e-5)
        assert ranking.reasons(found, row, count=2) == every[:2]


@pytest.mark.parametrize("weights", [[1.0], [1.0, 2.0, 0.3], [0.2, 1.0, 5.0, 0.7, 3.0, 0.1, 1.0]])
def test_the_reasons_by_interest_are_the_parts_that_make_the_score(weights: list[float]) -> None:
    """part · exp(sharp · score) is what a song put into the sum: weight share times exp(sharp · cosine)."""
    found, catalogue = taste(weights, "interest")
    values = ranking.scores(found, catalogue.units).astype(np.float64)
    likeness = cosines(weights, catalogue)
    for row in range(0, 300, 10):
        parts = dict(ranking.reasons(found, catalogue.units[row], count=99))
        assert sum(parts.values()) == pytest.approx(1.0)
        for i, weight in enumerate(weights):
            put_in = weight / sum(weights) * np.exp(SHARP * likeness[row, i])
            assert parts[100 + i] * np.exp(SHARP * values[row]) == pytest.approx(put_in, rel=1e-3)


def test_by_mean_a_song_that_nothing_speaks_for_has_no_reasons() -> None:
    found, _ = taste([1.0], "mean")
    assert ranking.reasons(found, -found.vector) == ()
    assert ranking.reasons(found, found.vector) == ((100, pytest.approx(1.0)),)


@both_rules
def test_a_disliked_song_is_never_a_reason(rule: Rule) -> None:
    found, catalogue = taste([1.0, 1.0, -1.0, -1.0], rule)
    named = {song for row in catalogue.units for song, _ in ranking.reasons(found, row, count=99)}
    assert named == {100, 101}


@both_rules
def test_no_history_is_empty_and_has_no_reasons(rule: Rule) -> None:
    found, catalogue = taste([], rule)
    assert found.empty
    assert not found.vector.any()
    assert ranking.reasons(found, catalogue.units[0]) == ()


@both_rules
def test_dislikes_alone_are_nothing_to_start_a_list_from(rule: Rule) -> None:
    disliked, catalogue = taste([-1.0, -0.5], rule)
    assert disliked.empty
    assert ranking.reasons(disliked, catalogue.units[0]) == ()
    assert not taste([-1.0, 0.1], rule)[0].empty


def test_no_history_by_mean_ranks_nothing_above_anything() -> None:
    found, catalogue = taste([], "mean")
    assert not ranking.scores(found, catalogue.units).any()


def test_a_wish_is_blended_in_by_its_share_whatever_the_scale_of_either_scoring() -> None:
    random = np.random.default_rng(6)
    mine = (5 + 3 * random.normal(size=200)).astype(np.float32)
    wished = (0.2 * random.normal(size=200)).astype(np.float32)
    own, wish = ((v - v.mean()) / (np.quantile(v, 0.999) - v.mean()) for v in (mine, wished))
    for share in (0.0, 0.3, 0.5, 1.0):
        blended = ranking.blend(mine, wished, share)
        np.testing.assert_allclose(blended, (1 - share) * own + share * wish, atol=1e-5)
        np.testing.assert_allclose(ranking.blend(40 * mine - 7, wished / 9 + 2, share), blended, atol=1e-3)


def test_a_few_that_stand_out_of_one_scoring_do_not_drown_the_other() -> None:
    random = np.random.default_rng(7)
    peaked, wished = np.zeros(3000, np.float32), random.normal(size=3000).astype(np.float32)
    peaked[:6] = 1  # twenty-two spreads above the rest, where the best of the other are three
    blended = ranking.blend(peaked, wished, 0.5)
    assert blended[6:].max() > np.median(blended[:6]), "the best of the wish stand beside the best of the taste"


def test_a_scoring_without_differences_leaves_the_order_to_the_other() -> None:
    flat, wished = np.full(50, 0.3, np.float32), np.linspace(0, 1, 50, dtype=np.float32)
    blended = ranking.blend(flat, wished, 0.5)
    assert np.isfinite(blended).all()
    assert (np.diff(blended) > 0).all()


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
    units = random_units(60, D, seed=8)
    gains = np.linspace(1, 0, 60, dtype=np.float32)
    artists = ["one"] * 30 + ["two"] * 20 + [f"other {n}" for n in range(10)]
    for per_artist in (1, 2, 3):
        picked = ranking.diversify(gains, units, artists, 12, per_artist=per_artist, spread=0.0)
        assert max(Counter(artists[p] for p in picked).values()) == per_artist
        assert len(picked) == len(set(picked)) == min(12, 2 * per_artist + 10)
        assert picked == sorted(picked)  # with no spread, nothing but the cap reorders


def test_one_artist_alone_gives_a_short_list() -> None:
    gains, units = np.ones(5, np.float32), random_units(5, D, 1)
    assert ranking.diversify(gains, units, ["one"] * 5, 5, per_artist=2, spread=0.1) == [0, 1]
    assert ranking.diversify(gains[:0], units[:0], [], 5, per_artist=2, spread=0.1) == []


def test_spread_prefers_a_slightly_worse_song_to_a_twin() -> None:
    units = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    gains = np.array([0.9, 0.89, 0.85], np.float32)
    names = ["a", "b", "c"]
    without = ranking.diversify(gains, units, names, 3, per_artist=1, spread=0.0)
    spread = ranking.diversify(gains, units, names, 3, per_artist=1, spread=0.1)
    assert (without, spread) == ([0, 1, 2], [0, 2, 1])


def test_every_pick_is_the_best_by_gain_less_spread_times_likeness_to_the_nearest_pick() -> None:
    random = np.random.default_rng(2)
    gains, units = random.normal(size=40).astype(np.float32), random_units(40, D, seed=8, centre=0.3)
    picked = ranking.diversify(gains, units, [str(n) for n in range(40)], 12, per_artist=1, spread=0.7)
    assert picked != np.argsort(-gains)[:12].tolist()
    for place, best in enumerate(picked):
        left = [p for p in range(40) if p not in picked[:place]]
        worth = {p: gains[p] - 0.7 * max([0.0, *(units[p] @ units[q] for q in picked[:place])]) for p in left}
        assert best == max(worth, key=lambda p: worth[p])


def test_the_best_gain_comes_first_wherever_it_stands() -> None:
    gains = np.array([0.5, 0.9, 0.7], np.float32)
    assert ranking.diversify(gains, random_units(3, D, 2), ["a", "b", "c"], 3, per_artist=1, spread=0.0) == [1, 2, 0]


def test_only_songs_that_may_be_ranked_are() -> None:
    snapshot = catalogue_of(random_units(6, D, seed=9), first_id=10)
    assert ranking.allowed_rows(snapshot).tolist() == [0, 1, 2, 3, 4, 5]
    assert ranking.allowed_rows(snapshot, without=[11, 99]).tolist() == [0, 2, 3, 4, 5]
    assert ranking.allowed_rows(snapshot, only=[14, 12, 99]).tolist() == [2, 4]
    assert ranking.allowed_rows(snapshot, without={12}, only={14, 12}).tolist() == [4]
    assert ranking.allowed_rows(snapshot, only=[]).tolist() == []
