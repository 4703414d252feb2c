"""Batches side by side: in order, each on one thread, and torch's own number of threads as it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from app.lm.side_by_side import SideBySide


@pytest.fixture
def three() -> Iterator[int]:
    """Torch on three threads, for this test."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def test_results_come_in_order_from_as_many_threads_as_torch_has_each_with_one(three: int) -> None:
    met = threading.Barrier(three, timeout=30)  # all three are at work at once, or it breaks

    def work(part: int) -> tuple[int, str, int]:
        met.wait()
        return part, threading.current_thread().name, torch.get_num_threads()

    side_by_side = SideBySide()
    for _ in range(2):
        done = list(side_by_side.map(work, range(6)))
        assert [part for part, _, _ in done] == list(range(6))
        assert len({name for _, name, _ in done}) == three and {threads for _, _, threads in done} == {1}


def test_another_number_of_threads_is_followed(three: int) -> None:
    side_by_side = SideBySide()
    for count in (3, 2):
        torch.set_num_threads(count)
        met = threading.Barrier(count, timeout=30)
        assert len(list(side_by_side.map(lambda _, met=met: met.wait(), range(count)))) == count


def test_other_threads_keep_their_number(three: int) -> None:
    assert list(SideBySide().map(abs, [-1])) == [1]
    seen: list[int] = []
    other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert [torch.get_num_threads(), *seen] == [three, three]


def test_what_one_raises_is_raised_and_the_rest_is_not_begun(three: int) -> None:
    begun: list[int] = []
    held = threading.Event()

    def work(part: int) -> int:
        begun.append(part)
        if part == 0:
            raise ZeroDivisionError(f"part {part}")
        held.wait(30)
        return part

    side_by_side = SideBySide()
    with pytest.raises(ZeroDivisionError, match="part 0"):
        list(side_by_side.map(work, range(50)))
    held.set()
    assert list(side_by_side.map(abs, [-7])) == [7]  # and it can be used again
    assert len(begun) <= 2 * three


def test_threads_that_cannot_begin_leave_nothing_half_done(three: int, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start
    count = iter(range(10))

    def second_fails(thread: threading.Thread) -> None:
        if next(count) == 1:
            raise RuntimeError("can't start new thread")
        start(thread)

    side_by_side = SideBySide()
    monkeypatch.setattr(threading.Thread, "start", second_fails)
    with pytest.raises(RuntimeError, match="new thread"):
        list(side_by_side.map(abs, [-1]))
    monkeypatch.undo()
    assert torch.get_num_threads() == three
    assert list(side_by_side.map(abs, [-1])) == [1]
