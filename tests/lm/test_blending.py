"""A blend: everyone's own scores, nobody louder than their weight, and a list that suits all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from app.lm import ranking
from app.lm.asking import Ask
from app.lm.blending import share_below, together
from app.lm.engine import Engine
from app.lm.vectors import Floats
from tests.conftest import own_of

NOBODY = "0" * 16


def alone(ids: Sequence[int]) -> Mapping[int, str]:
    """Every song by an artist of its own."""
    return {i: str(i) for i in ids}


def test_scores_of_any_size_count_the_same() -> None:
    quiet = np.array([0.1, 0.2, 0.3, 0.0], np.float32)
    loud = 1000 * np.array([0.0, 1.0, -1.0, 0.5], np.float32)
    both, parts = together([quiet, loud], [1, 1])
    again, same = together([quiet * 7 + 3, loud / 1000], [1, 1])
    assert np.array_equal(both, again) and np.array_equal(parts, same)
    assert np.argsort(-both).tolist() == [2, 1, 3, 0], "the first's best, the other's best, then in turn"
    assert np.allclose(parts.sum(axis=0), 1) and parts[0, 2] > 0.7 and parts[1, 3] > 0.6


def test_weight_moves_the_list_towards_a_person() -> None:
    one, other = np.array([1.0, 0, 0, 0], np.float32), np.array([0, 1.0, 0, 0], np.float32)
    assert together([one, other], [3, 1])[0].argmax() == 0
    assert together([one, other], [1, 3])[0].argmax() == 1


def test_the_share_below_counts_who_fits_less() -> None:
    assert share_below(np.array([0.1, 0.5, 0.9, 0.5], np.float32), [0, 1, 2]).tolist() == [
        0.0,
        pytest.approx(1 / 3),
        1.0,
    ]


def test_a_blend_of_one_person_with_themself_is_their_own_list(engine: Engine, db: object) -> None:
    ids = [int(i) for i in engine.vectors.snapshot().ids]
    with db.read() as session:  # type: ignore[attr-defined]
        own = own_of(session, ids[:12])
    ask = Ask(count=10, without=ids[:12], spread=0.0)
    mine, _ = engine.recommend(NOBODY, None, own, ask, alone)
    both = engine.blend([(NOBODY, None, own, 1.0), (NOBODY, None, own, 2.0)], ask, alone)
    assert [b.song for b in both] == [r.song for r in mine]
    assert all(b.parts == pytest.approx((1 / 3, 2 / 3), abs=1e-3) and b.above[0] == b.above[1] for b in both)


def test_a_blend_suits_both_better_than_either_ones_list_suits_the_other(engine: Engine, db: object) -> None:
    ids = [int(i) for i in engine.vectors.snapshot().ids]
    with db.read() as session:  # type: ignore[attr-defined]
        one, other = own_of(session, ids[:10]), own_of(session, ids[-10:])
    ask = Ask(count=10, without=[*ids[:10], *ids[-10:]], spread=0.0)
    voices = [(NOBODY, None, one, 1.0), (NOBODY, None, other, 1.0)]
    made = engine.blend(voices, ask, alone)
    scored = [engine.score(NOBODY, None, own)[0] for own in (one, other)]
    row_of = engine.vectors.snapshot().row_of

    def suits(songs: Sequence[int]) -> list[float]:
        return [float(share_below(values, [row_of[s] for s in songs]).mean()) for values in scored]

    blended = suits([b.song for b in made])
    for reader, own in ((1, one), (0, other)):
        single, _ = engine.recommend(NOBODY, None, own, ask, alone)
        listed = suits([r.song for r in single])
        assert min(blended) > min(listed), "whoever is worse off does better than with either one's list"
        assert blended[reader] > listed[reader] + 0.05, "and each better than with the other's"
    assert all(sum(b.parts) == pytest.approx(1) for b in made)


def test_who_yields_comes_to_what_the_others_like_and_in_the_end_to_the_least_misery() -> None:
    one = np.array([9.0, 8.0, 7.0, 2.0, 1.0, 0.0], np.float32)
    other = np.array([0.0, 8.0, 1.0, 7.0, 2.0, 9.0], np.float32)
    orders = [np.argsort(-together([one, other], [1, 1], much)[0]).tolist() for much in (0.0, 30.0, math.inf)]
    assert orders[0][:2] == [0, 5], "by turns each one's best, which the other likes least"
    assert orders[1][0] == 1 and set(orders[1][-2:]) != {0, 5}, "second for both"
    assert orders[2][:2] == [1, 3] and set(orders[2][-2:]) == {0, 5}, "by the worse of two places: 2, 4, 5, 5, 6, 6"
    parts = [together([one, other], [1, 1], much)[1] for much in (0.0, 30.0, math.inf)]
    assert np.array_equal(parts[0], parts[1]) and np.array_equal(parts[0], parts[2])


def test_nobody_of_any_two_or_three_is_worse_off_than_with_one_list_for_all(engine: Engine, db: object) -> None:
    ids = [int(i) for i in engine.vectors.snapshot().ids]
    parted = [ids[start : start + 8] for start in range(0, len(ids) - 8, len(ids) // 9)]
    with db.read() as session:  # type: ignore[attr-defined]
        owns = [own_of(session, some) for some in parted]
    snapshot = engine.vectors.snapshot()
    by_turns_alone = 0
    for size in (2, 3):
        for start in range(len(owns) - size + 1):
            heard = owns[start : start + size]
            ask = Ask(count=10, without=[song.id for own in heard for song in own], spread=0.0)
            scored = [engine.score(NOBODY, None, own)[0] for own in heard]

            def worst(songs: Sequence[int], scored: Sequence[Floats] = scored) -> float:
                return min(float(share_below(values, list(snapshot.rows(songs))).mean()) for values in scored)

            made = engine.blend([(NOBODY, None, own, 1.0) for own in heard], ask, alone)
            lists = [engine.recommend(NOBODY, None, own, ask, alone)[0] for own in heard]
            promised = max(worst([r.song for r in listed]) for listed in lists)
            assert worst([b.song for b in made]) >= promised - 1e-6
            turns = ranking.top(together(scored, [1] * size)[0], ranking.allowed_rows(snapshot, ask.without), 10)
            by_turns_alone += worst([int(snapshot.ids[row]) for row in turns]) >= promised
    assert 0 < by_turns_alone < 2 * len(owns) - 3, "some had to yield, some had not"


def test_everybody_has_their_turn_and_more_turns_with_more_weight(engine: Engine, db: object) -> None:
    ids = [int(i) for i in engine.vectors.snapshot().ids]
    with db.read() as session:  # type: ignore[attr-defined]
        one, other = own_of(session, ids[:10]), own_of(session, ids[-10:])
    ask = Ask(count=12, without=[*ids[:10], *ids[-10:]])

    def turns(weight: float) -> int:
        made = engine.blend([(NOBODY, None, one, weight), (NOBODY, None, other, 1.0)], ask, alone)
        return sum(song.above[0] > song.above[1] for song in made)

    assert 4 <= turns(1.0) <= 8
    assert turns(3.0) > turns(1.0) > turns(1 / 3)


def test_who_has_no_songs_is_not_heard(engine: Engine, db: object) -> None:
    ids = [int(i) for i in engine.vectors.snapshot().ids]
    with db.read() as session:  # type: ignore[attr-defined]
        own = own_of(session, ids[:10])
    made = engine.blend([(NOBODY, None, own, 1.0), (NOBODY, None, [], 9.0)], Ask(count=5), alone)
    assert [b.parts for b in made] == [(1.0, 0.0)] * 5 and made[0].speaks[1] == ()
    assert engine.blend([(NOBODY, None, [], 1.0)], Ask(count=5), alone) == []


def test_a_taste_agrees_with_itself_more_than_with_another(engine: Engine, db: object) -> None:
    ids = [int(i) for i in engine.vectors.snapshot().ids]
    with db.read() as session:  # type: ignore[attr-defined]
        one, other = own_of(session, ids[:10]), own_of(session, ids[200:210])
    mine, theirs = (NOBODY, None, one, 1.0), (NOBODY, None, other, 1.0)
    same, apart = engine.likeness(mine, mine), engine.likeness(mine, theirs)
    assert same is not None and apart is not None
    assert same.agreement > 0.97 > apart.agreement
    back = engine.likeness(theirs, mine)
    assert back is not None and back.agreement == pytest.approx(apart.agreement) and back.mine == apart.theirs
    assert set(apart.theirs) == {s.id for s in other}
    assert engine.likeness(mine, (NOBODY, None, [], 1.0)) is None
