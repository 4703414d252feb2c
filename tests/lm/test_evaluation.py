"""Did the adapter help: split, ranks, nDCG and the gate."""

from __future__ import annotations

import math

import numpy as np
import pytest

from app.lm import evaluation
from app.lm.evaluation import HeldOut, gains, gate, measure, ndcg, ranks_of, split
from app.lm.proof import Evidence, ordered


def rows(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, np.int64)


def held_out(*ranks: int) -> HeldOut:
    """What measuring these ranks gives."""
    size = max(ranks) + 1
    values = -np.arange(size, dtype=np.float32)
    return measure(values, rows(*[r - 1 for r in ranks]), rows())


def test_the_same_seed_hides_the_same_songs_whatever_their_order() -> None:
    songs = list(range(50, 90))
    assert split(songs, 0.2, seed=3) == split(songs[::-1], 0.2, seed=3)
    assert split(songs, 0.2, seed=3) != split(songs, 0.2, seed=4)


@pytest.mark.parametrize(("count", "hidden"), [(2, 1), (4, 1), (10, 2), (40, 8)])
def test_a_split_shares_out_every_song_once(count: int, hidden: int) -> None:
    learn, hide = split(range(count), 0.2, seed=1)
    assert len(hide) == hidden
    assert sorted(learn + hide) == list(range(count))


def test_a_rank_counts_the_songs_that_are_not_known() -> None:
    values = np.array([0.9, 0.8, 0.7, 0.6, 0.5], np.float32)
    assert ranks_of(values, rows(2), rows()).tolist() == [3]
    assert ranks_of(values, rows(2), rows(0)).tolist() == [2]
    assert ranks_of(values, rows(4, 0), rows(1, 2)).tolist() == [3, 1]


def test_a_hidden_song_is_ranked_even_if_it_is_named_as_known() -> None:
    values = np.array([0.9, 0.8, 0.7], np.float32)
    assert ranks_of(values, rows(1), rows(0, 1)).tolist() == [1]


def test_a_tie_counts_against_the_hidden_song() -> None:
    values = np.array([0.5, 0.5, 0.9, 0.5, 0.1], np.float32)
    assert ranks_of(values, rows(0), rows()).tolist() == [4]
    assert ranks_of(np.zeros(7, np.float32), rows(3), rows()).tolist() == [7]


@pytest.mark.parametrize(
    ("ranks", "value"),
    [
        ([1], 1.0),
        ([2], 1 / math.log2(3)),
        ([10], 1 / math.log2(11)),
        ([11], 0.0),
        ([], 0.0),
        ([1, 2], 1.0),
        ([1, 3], (1 + 1 / 2) / (1 + 1 / math.log2(3))),
        ([3, 500, 700], (1 / 2) / (1 + 1 / math.log2(3) + 1 / 2)),
        (list(range(1, 31)), 1.0),
    ],
)
def test_ndcg_has_its_known_values(ranks: list[int], value: float) -> None:
    assert ndcg(rows(*ranks)) == pytest.approx(value)


def test_a_measure_holds_ranks_gain_and_how_many_were_found() -> None:
    found = held_out(1, 3, 100, 101)
    assert found.ranks == (1, 3, 100, 101)
    assert found.found == 3
    assert found.gain == pytest.approx((10 / 11 + 10 / 13 + 10 / 110 + 10 / 111) / 4)
    assert found.ndcg_10 == pytest.approx(ndcg(rows(1, 3, 100, 101)))
    assert found.as_dict() == {
        "ranks": [1, 3, 100, 101],
        "gain": found.gain,
        "found": 3,
        "ndcg_10": found.ndcg_10,
        "songs": [],
        "of": 4,
        "within": evaluation.FOUND_WITHIN,
    }


def test_better_ranks_are_promoted() -> None:
    verdict = gate(held_out(50, 60, 70), held_out(5, 6, 150))
    assert verdict.promoted
    assert verdict.difference > 0
    assert "higher" in verdict.why
    assert "2 of 3 hidden songs in its first 100, before 3" in verdict.why


def test_worse_ranks_are_kept_out() -> None:
    verdict = gate(held_out(5, 6, 7), held_out(50, 60, 70))
    assert not verdict.promoted
    assert verdict.difference < 0
    assert "lower" in verdict.why and "old one stays" in verdict.why


def test_the_same_ranks_are_kept_out() -> None:
    verdict = gate(held_out(5, 6, 7), held_out(5, 6, 7))
    assert not verdict.promoted
    assert verdict.difference == verdict.low == verdict.high == 0
    assert "just as before" in verdict.why


@pytest.mark.parametrize("seed", range(20))
def test_the_same_ranks_in_another_order_are_kept_out(seed: int) -> None:
    ranks = np.random.default_rng(seed).integers(1, 400, size=9).tolist()
    verdict = gate(held_out(*ranks), held_out(*np.random.default_rng(seed + 1).permutation(ranks).tolist()))
    assert not verdict.promoted
    assert verdict.difference == 0


def test_the_interval_holds_the_difference_and_is_the_same_each_time() -> None:
    before, after = held_out(*range(20, 60)), held_out(*range(10, 50))
    verdict = gate(before, after, seed=1)
    assert verdict.low < verdict.difference < verdict.high
    assert gate(before, after, seed=1) == verdict
    assert gate(held_out(9), held_out(4)).low == pytest.approx(gate(held_out(9), held_out(4)).high)


def evidence(before: list[int], after: list[int], ordered: tuple[float, float] | None = None) -> Evidence:
    shares = np.array([]), np.array([])
    if ordered is not None:
        shares = np.array([ordered[0]]), np.array([ordered[1]])
    return Evidence(gains(rows(*before)), gains(rows(*after)), *shares)


def test_what_was_hidden_from_the_target_counts_as_well() -> None:
    before, after = held_out(20, 30), held_out(19, 31)
    assert gate(before, after, evidence([50, 60], [5, 6])).promoted
    lost = gate(before, after, evidence([5, 6], [50, 60]))
    assert not lost.promoted and "lower on the whole" in lost.why


def test_a_gain_within_what_chance_does_keeps_a_version_out() -> None:
    mixed = held_out(20, 30, 40, 50), held_out(10, 45, 20, 70)
    unsure = gate(*mixed, caution=1.0)
    assert unsure.difference > 0 and not unsure.promoted
    assert "too little to be sure" in unsure.why
    assert gate(*mixed).promoted
    clear = held_out(20, 30, 40, 50), held_out(10, 15, 20, 25)
    assert gate(*clear, caution=1.0).promoted


def test_many_songs_hidden_in_turn_outweigh_a_few_and_the_verdict_says_so() -> None:
    verdict = gate(held_out(5, 6), held_out(50, 60), evidence([200] * 9, [1] * 9), caution=1.0)
    assert verdict.promoted
    assert "On these hidden songs the new version ranks lower" in verdict.why and "each of which" in verdict.why


def test_more_songs_make_the_same_gain_sure() -> None:
    before, after = [20, 30, 40, 50], [10, 45, 20, 70]
    assert not gate(held_out(*before), held_out(*after), caution=1.0).promoted
    assert gate(held_out(*before), held_out(*after), evidence(before * 40, after * 40), caution=1.0).promoted


def test_where_dislikes_were_hidden_the_order_of_liked_and_disliked_decides() -> None:
    worse = held_out(20, 30), held_out(25, 35)
    assert gate(*worse, evidence([20], [25], ordered=(0.4, 0.9))).promoted
    assert not gate(*worse, evidence([20], [25], ordered=(0.9, 0.4))).promoted


def test_order_is_the_share_of_disliked_songs_that_a_liked_one_comes_before() -> None:
    values = np.array([0.9, 0.5, 0.1, 0.5], np.float32)
    assert ordered(values, rows(0, 1), rows(2, 3)).tolist() == [1.0, 0.75]  # a tie counts half
    assert len(ordered(values, rows(0, 1), rows())) == 0
