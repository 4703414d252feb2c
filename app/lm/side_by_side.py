"""Several batches at once, each on one thread of torch's, instead of one batch on all of them.

Threads that share every operation wait for each other some hundred times a batch; two cores read a catalogue a tenth
faster side by side (docs/decisions.md). For many batches only: one alone would leave the other cores idle.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")


class SideBySide:
    """Threads for batches, as many as torch has for an operation; begun when first needed. Safe to share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: tuple[int, ThreadPoolExecutor] | None = None

    def map(self, work: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[Result]:
        """``work`` of every part, in their order. What one raises is raised here, and what has not begun never will."""
        pool = self._threads()
        futures = [pool.submit(work, part) for part in parts]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()

    def _threads(self) -> ThreadPoolExecutor:
        count = torch.get_num_threads()
        with self._lock:
            if self._pool is None or self._pool[0] != count:
                self._pool = count, _begun(count)  # the threads of one before end when the last of its batches is done
            return self._pool[1]


def _begun(count: int) -> ThreadPoolExecutor:
    started = threading.Barrier(count + 1)

    def alone() -> None:
        torch.get_num_threads()  # a thread that never asked takes everybody's number with its first operation
        torch.set_num_threads(1)  # for this thread, but also for all that begin from here on
        started.wait()

    pool = ThreadPoolExecutor(count, thread_name_prefix="encoding", initializer=alone)
    try:
        for _ in range(count):
            pool.submit(int)
        started.wait()
    except BaseException:
        started.abort()
        raise
    finally:
        torch.set_num_threads(count)  # so that is taken back at once
    return pool
