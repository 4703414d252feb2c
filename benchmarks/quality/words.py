"""BM25 over song texts: the row to beat where something is asked for in words."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from app.lm.vectors import Floats

_K1, _B = 1.2, 0.75  # the usual values (Robertson and Zaragoza 2009)
_WORD = re.compile(r"\w+")


class Bm25:
    """An index of texts; ``scores`` gives (N,) for a question."""

    def __init__(self, texts: Sequence[str]) -> None:
        words = [Counter(_WORD.findall(text.casefold())) for text in texts]
        lengths = np.array([sum(counts.values()) for counts in words], np.float64)
        self._norms = _K1 * (1 - _B + _B * lengths / max(float(lengths.mean()), 1.0))
        self._found: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for row, counts in enumerate(words):
            for word, count in counts.items():
                self._found[word].append((row, count))

    def scores(self, question: str) -> Floats:
        """(N,) BM25 of every text; a word said twice counts twice."""
        values = np.zeros(len(self._norms))
        for word, times in Counter(_WORD.findall(question.casefold())).items():
            for row, count in self._found.get(word, ()):
                rare = math.log(1 + (len(values) - len(self._found[word]) + 0.5) / (len(self._found[word]) + 0.5))
                values[row] += times * rare * count * (_K1 + 1) / (count + self._norms[row])
        return values.astype(np.float32)
