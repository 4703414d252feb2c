"""The vote of the nearest."""

from __future__ import annotations

import numpy as np

from app.lm.engine import Engine
from app.lm.labels import NEAREST, Vote, middles
from app.lm.vectors import unit


def test_nearer_voters_count_more() -> None:
    voters = unit(np.array([[1, 0.1], [1, 1]], np.float32))
    (found,) = Vote(voters, [["near"], ["far"]]).ask(np.array([[1, 0]], np.float32))
    assert [label for label, _ in found] == ["near", "far"]
    assert 0 < found[1][1] < found[0][1] <= 1


def test_a_song_far_from_all_gets_small_shares() -> None:
    random = np.random.default_rng(0)
    voters = unit(random.normal(size=(500, 64)).astype(np.float32))
    vote = Vote(voters, [["same"]] * 500)
    near = vote.ask(voters[:1])[0][0][1]
    assert vote.ask(-voters.mean(axis=0, keepdims=True))[0] == [] or near > 0.1
    assert all(share <= 1 for found in vote.ask(voters[:20]) for _, share in found)


def test_only_the_nearest_vote() -> None:
    voters = np.zeros((NEAREST + 5, 2), np.float32)
    voters[:, 0] = 1
    voters[NEAREST:] = unit(np.array([[1, 3]], np.float32))
    written = [["near"]] * NEAREST + [["far"]] * 5
    (found,) = Vote(voters, written).ask(np.array([[1, 0]], np.float32))
    assert [label for label, _ in found] == ["near"]
    assert abs(found[0][1] - 1) < 1e-5


def test_the_middle_of_a_group_has_length_one() -> None:
    units = unit(np.random.default_rng(0).normal(size=(10, 8)).astype(np.float32))
    found = middles(units, [np.array([0, 1, 2]), np.array([5])])
    assert np.allclose(np.linalg.norm(found, axis=1), 1)
    assert np.allclose(found[1], units[5])


def test_the_nearest_songs_are_others_by_cosine_and_an_unknown_song_has_none(engine: Engine) -> None:
    snapshot = engine.vectors.snapshot()
    song = int(snapshot.ids[3])
    near = engine.nearest(song, 5)
    likeness = snapshot.units @ snapshot.units[3]
    likeness[3] = -2
    assert near[0] == int(snapshot.ids[int(np.argmax(likeness))])
    assert song not in near and len(set(near)) == 5
    assert engine.nearest(10**9, 5) == []


def test_guesses_need_encoded_songs_on_both_sides(engine: Engine) -> None:
    ids = [int(i) for i in engine.vectors.snapshot().ids[:4]]
    labelled = {"one": (ids[:2], {"jazz"}), "none": ([10**9], {"punk"})}
    found = engine.guess_genres({"asked": [ids[2], ids[3]], "gone": [10**9]}, labelled)
    assert list(found) == ["asked"] and {genre for genre, _ in found["asked"]} <= {"jazz"}
    assert engine.guess_genres({"asked": [ids[2]]}, {}) == {"asked": []}
