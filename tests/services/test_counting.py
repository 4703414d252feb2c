"""What counts as a listen, and which two reports are one play."""

from __future__ import annotations

import pytest

from app.services.counting import how_it_ended, may_be_same, window

MINUTE = 60_000
AT = 1_700_000_000


@pytest.mark.parametrize(
    ("played", "duration", "ended"),
    [
        (90_000, 3 * MINUTE, "played"),
        (89_999, 3 * MINUTE, "skipped"),
        (4 * MINUTE, 20 * MINUTE, "played"),
        (4 * MINUTE - 1, 20 * MINUTE, "skipped"),
        (5_000, 10_000, "played"),
        (30_000, None, "played"),
        (29_999, None, "skipped"),
        (30_000, 0, "played"),
        (0, 3 * MINUTE, "skipped"),
        (0, None, "skipped"),
    ],
)
def test_half_of_the_song_or_four_minutes_count(played: int, duration: int | None, ended: str) -> None:
    assert how_it_ended(played, duration) == ended


def test_what_was_heard_outweighs_the_word_of_the_player() -> None:
    assert how_it_ended(100_000, 3 * MINUTE, skipped=True) == "played"
    assert how_it_ended(1_000, 3 * MINUTE, skipped=False) == "skipped"


def test_without_a_length_heard_the_player_has_decided() -> None:
    assert how_it_ended(None, 3 * MINUTE) == "played"
    assert how_it_ended(None, None, skipped=True) == "skipped"


@pytest.mark.parametrize("apart", [0, 1, 90, -90])
def test_two_reports_within_ninety_seconds_may_be_one_play(apart: int) -> None:
    assert may_be_same(AT, AT + apart, None)


def test_start_and_end_of_one_play_may_be_one_play() -> None:
    assert may_be_same(AT, AT + 300, 5 * MINUTE) and may_be_same(AT + 310, AT, 5 * MINUTE)
    assert not may_be_same(AT, AT + 311, 5 * MINUTE) and not may_be_same(AT, AT + 289, 5 * MINUTE)
    assert not may_be_same(AT, AT + 300, None) and not may_be_same(AT, AT + 91, 0)


@pytest.mark.parametrize("duration", [None, 0, 20_000, 5 * MINUTE, 3_599_999])
def test_no_soft_duplicate_lies_outside_the_window(duration: int | None) -> None:
    beyond = window(duration) + 1
    assert not any(may_be_same(AT, AT + seconds, duration) for seconds in range(beyond, beyond + 400))
