"""Questions that come together are answered together, each with its own answer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.lm.batching import Batcher


def test_what_arrives_while_one_batch_runs_is_the_next_batch() -> None:
    started, go_on = threading.Event(), threading.Event()
    batches: list[list[int]] = []

    def double(questions: Sequence[int]) -> list[int]:
        batches.append(sorted(questions))
        started.set()
        assert go_on.wait(30)
        return [2 * question for question in questions]

    batcher = Batcher(double, most=3)
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(batcher.ask, 0)
        assert started.wait(30)
        others = [pool.submit(batcher.ask, number) for number in range(1, 6)]
        while len(batcher._waiting) < 5:
            threading.Event().wait(0.001)
        go_on.set()
        assert [each.result(30) for each in [first, *others]] == [0, 2, 4, 6, 8, 10]
    assert [len(batch) for batch in batches] == [1, 3, 2]


def test_an_error_reaches_those_who_asked_and_nobody_after_them() -> None:
    def divide(questions: Sequence[int]) -> list[float]:
        return [1 / question for question in questions]

    batcher = Batcher(divide, most=8)
    with pytest.raises(ZeroDivisionError):
        batcher.ask(0)
    assert batcher.ask(4) == 0.25


def test_one_question_that_cannot_be_answered_leaves_the_others_of_its_batch_their_answers() -> None:
    started, go_on = threading.Event(), threading.Event()

    def divide(questions: Sequence[int]) -> list[float]:
        started.set()
        assert go_on.wait(30)
        return [1 / question for question in questions]

    batcher = Batcher(divide, most=8)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(batcher.ask, 1)
        assert started.wait(30)
        bad, *good = [pool.submit(batcher.ask, number) for number in (0, 2, 4)]
        while len(batcher._waiting) < 3:
            threading.Event().wait(0.001)
        go_on.set()
        assert [each.result(30) for each in [first, *good]] == [1, 0.5, 0.25]
        with pytest.raises(ZeroDivisionError):
            bad.result(30)
