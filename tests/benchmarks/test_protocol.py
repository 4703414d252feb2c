"""What is hidden, from whom, and who may be measured."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from sets import write_dialogues, write_friends, write_listens, write_songs

from benchmarks.quality import data, listeners, protocol, reporting
from benchmarks.quality.__main__ import arguments


def test_a_case_does_not_depend_on_who_else_is_measured(folder: Path) -> None:
    found = data.read(folder)
    everybody = protocol.questions("discover", found, sorted(found.listens))
    one = protocol.questions("discover", found, ["user 3"])
    assert one.cases[0] in everybody.cases


def test_nothing_hidden_is_seen_by_the_crowd_or_the_listener(folder: Path) -> None:
    found = data.read(folder)
    asked = protocol.questions("discover", found, sorted(found.listens))
    for case in asked.cases:
        assert not set(case.hidden) & {*case.known, *asked.crowd(case)[case.group], *case.out}
        assert not set(case.hidden) & set(asked.circle(case)[case.group])


def test_a_fifth_is_hidden(folder: Path) -> None:
    found = data.read(folder)
    for case in protocol.questions("discover", found, sorted(found.listens)).cases:
        assert len(case.hidden) == round(0.2 * (len(case.liked) + len(case.hidden)))


def test_new_artists_are_wholly_hidden_and_known_ones_wholly_out(folder: Path) -> None:
    found = data.read(folder)
    for case in protocol.questions("new-artists", found, sorted(found.listens)).cases:
        hidden = {found.songs[s].artist_key for s in case.hidden}
        known = {found.songs[s].artist_key for s in case.known}
        assert hidden and not hidden & known
        assert {s for s, song in enumerate(found.songs) if song.artist_key in known} == set(case.out)


def test_of_a_newcomer_only_the_five_most_played_artists_are_known(folder: Path) -> None:
    found = data.read(folder)
    for case in protocol.questions("newcomer", found, sorted(found.listens)).cases:
        plays: dict[str, float] = {}
        for x in found.listens[case.group]:
            if protocol.weight(x) > 0:
                plays[found.songs[x.song].artist_key] = plays.get(found.songs[x.song].artist_key, 0) + x.plays
        picked = {found.songs[s].artist_key for s in case.known}
        assert len(picked) == 5 and min(plays[a] for a in picked) >= max(plays[a] for a in plays if a not in picked)
        assert {found.songs[s].artist_key for s in case.hidden} == set(plays) - picked
        assert {s for s, song in enumerate(found.songs) if song.artist_key in picked} == set(case.out)
        assert sum(case.known.values()) == pytest.approx(5)


def test_likes_are_learnt_in_time_order_and_dislikes_weigh_below_zero(folder: Path) -> None:
    found = data.read(folder)
    cases = protocol.questions("likes", found, sorted(found.listens)).cases
    assert cases
    for case in cases:
        times = {x.song: x.at or 0.0 for x in found.listens[case.group]}
        assert max(times[s] for s in case.known) <= min(times[s] for s in (*case.hidden, *case.wrong))
        assert any(weight < 0 for weight in case.known.values())
        assert case.logged == len(case.known) > len(case.liked), "a song that was rated low was played all the same"


def test_a_circle_of_friends_has_friends_first_and_nobody_twice(folder: Path) -> None:
    write_friends(folder)
    found = data.read(folder)
    users = sorted(found.listens)
    circle = protocol.circle_of("user 0", found, users, "friends")
    assert set(circle[:5]) == {f"user {u}" for u in range(2, 12, 2)}
    assert len(set(circle)) == len(circle) == 11 and "user 0" not in circle
    assert protocol.circle_of("user 0", found, users, "friends") == circle
    assert protocol.circle_of("user 0", found, users, "random") != circle


def test_a_circle_is_drawn_without_a_look_at_friends_unless_told(folder: Path) -> None:
    strangers = data.read(folder)
    write_friends(folder)
    found = data.read(folder)
    everybody = sorted(found.listens)
    asked, unfriended = (protocol.questions("discover", who, everybody) for who in (found, strangers))
    assert found.friends and [case.circle for case in asked.cases] == [case.circle for case in unfriended.cases]
    assert arguments(["--data", str(folder), "--task", "discover"]).circles == "random"
    told = protocol.questions("discover", found, everybody, "friends")
    assert [case.circle for case in told.cases] != [case.circle for case in asked.cases]


@pytest.mark.parametrize(
    ("circles", "friends", "line"),
    [
        ("random", False, "circles at random"),
        ("random", True, "circles at random; circles of the set's friends: --circles friends"),
        ("friends", True, "circles of friends, filled up at random"),
        ("friends", False, "circles at random: the set knows no friends"),
    ],
)
def test_a_table_says_which_circles_it_is_of(circles: str, friends: bool, line: str) -> None:
    assert reporting.circles_line(circles, friends) == line


def test_in_dialogues_only_the_past_is_known_and_the_own_goal_is_never_seen(tmp_path: Path) -> None:
    write_dialogues(tmp_path)
    found = data.read(tmp_path)
    asked = protocol.questions("ask", found, [])
    first, second, _ = [case for case in asked.cases if case.group == "d0"]
    assert not first.known and len(first.hidden) == 10 and first.wish == ("some jazz please",)
    assert len(second.liked) == 3 and len(second.hidden) == 7 and len(second.wish) == 2
    assert second.logged == 3 < len(second.known), "what was only said to be disliked was never played"
    assert "d0" not in asked.crowd(second)
    assert asked.circle(second)["d0"] == second.liked


@pytest.mark.parametrize("task", ["discover", "new-artists", "likes", "ask"])
def test_a_set_without_what_a_task_needs_is_refused(tmp_path: Path, task: str) -> None:
    write_songs(tmp_path)
    with pytest.raises(data.DataProblem):
        protocol.questions(task, data.read(tmp_path), [])


def test_likes_need_ratings(tmp_path: Path) -> None:
    write_songs(tmp_path)
    write_listens(tmp_path, rated=False)
    found = data.read(tmp_path)
    assert protocol.questions("discover", found, sorted(found.listens)).cases
    with pytest.raises(data.DataProblem):
        protocol.questions("likes", found, sorted(found.listens))


def test_listeners_that_the_music_adapter_lists_are_never_measured(tmp_path: Path) -> None:
    histories = {f"user {i}": [f"s{i}"] for i in range(100)}
    without = listeners.measurable(histories, tmp_path)
    assert without and all(hashlib.sha256(u.encode()).digest()[0] < 52 for u in without)
    by_id, by_songs = listeners.marks("user 1", ["s1"])[0], listeners.marks("user 2", ["s2"])[1]
    (tmp_path / "card.json").write_text(f'{{"listeners": ["{by_id}0123", "{by_songs}"]}}')
    assert set(histories) - set(listeners.measurable(histories, tmp_path)) == {"user 1", "user 2"}
    assert len(listeners.measurable(histories, tmp_path, everyone=True)) == 100
