"""Questions that come at the same time are answered together.

There is no waiting for company: whoever finds nobody at work answers at once, and what arrives meanwhile is the next
batch. So a single listener loses nothing, and many share one forward pass.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


@dataclass(eq=False, slots=True)
class _Waiting(Generic[Question, Answer]):
    question: Question
    answer: Answer | None = None
    problem: BaseException | None = None
    done: bool = False


class Batcher(Generic[Question, Answer]):
    """Hands batches to ``answer_all``, which is never called twice at once; ``ask`` may be called from any thread."""

    def __init__(self, answer_all: Callable[[Sequence[Question]], Sequence[Answer]], most: int) -> None:
        """``most`` questions go into one batch."""
        self._answer_all, self._most = answer_all, most
        self._waiting: list[_Waiting[Question, Answer]] = []
        self._lock, self._turn = threading.Lock(), threading.Lock()

    def ask(self, question: Question) -> Answer:
        """The answer to one question. An error reaches only who asked what it comes from."""
        mine: _Waiting[Question, Answer] = _Waiting(question)
        with self._lock:
            self._waiting.append(mine)
        with self._turn:
            while not mine.done:
                self._answer_some()
        if mine.problem is not None:
            raise mine.problem
        assert mine.answer is not None
        return mine.answer

    def _answer_some(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        self._answer(batch)
        for each in batch:
            each.done = True

    def _answer(self, batch: Sequence[_Waiting[Question, Answer]]) -> None:
        try:
            answers = self._answer_all([each.question for each in batch])
            for each, answer in zip(batch, answers, strict=True):
                each.answer = answer
        except Exception as problem:
            if len(batch) == 1:
                batch[0].problem = problem
                return
            for each in batch:  # which of them it comes from shows when each is asked alone
                self._answer([each])
