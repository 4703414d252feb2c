"""A compressed index over the catalogue: the best songs of a million without reading all of them. Needs faiss.

Inverted lists of 8-bit rows (IVF-SQ8; Jégou et al. 2011). What it finds is ranked anew by the rows as they are stored,
so that scores are exact and only a song that lies in none of the lists looked into can be missed. How many lists that
are follows from a measurement when the index is built.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import BadInput
from app.lm.centred import ROWS_AT_ONCE, Centred, Floats

RECALL = 0.99  # of the best 50 on rows left out of the measurement's own list; benchmarks/speed.md has fresh queries
_TRAIN_ON = 40  # rows a list
_TRIED = 100
_COUNT = 50


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise BadInput("The index needs faiss: pip install 'earshot[index]'.") from None
    return faiss


class SongIndex:
    """Built from one catalogue's units, of which it keeps nothing but 8 bits a number."""

    def __init__(self, index: Any, lists: int) -> None:
        self._index, self.lists = index, lists

    @classmethod
    def build(cls, units: Centred, seed: int = 0, recall: float = RECALL) -> SongIndex:
        """Index all units (N, D), read in parts, and look into as many lists as ``recall`` asks for."""
        faiss = _faiss()
        count, dimension = units.shape
        draw = np.random.default_rng(seed)
        lists = max(1, min(int(4 * count**0.5), count // _TRAIN_ON))
        sample = np.sort(draw.permutation(count)[: _TRAIN_ON * lists])
        index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(dimension), dimension, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        index.cp.seed, index.cp.niter = seed + 1, 10
        index.train(units[sample])
        for start in range(0, count, ROWS_AT_ONCE):
            index.add(units[start : start + ROWS_AT_ONCE])
        made = cls(index, lists)
        made._choose_lists(units, draw, recall)
        return made

    def _choose_lists(self, units: Centred, draw: np.random.Generator, recall: float) -> None:
        """Double the lists looked into until enough of the exact best are found for tastes between songs."""
        pairs = draw.integers(0, len(units), (_TRIED, 3))
        queries = [units[pair].mean(axis=0) for pair in pairs]
        exact = [set(units.top(query, _COUNT)[0].tolist()) for query in queries]
        self.lists = 1
        while True:
            found = [set(self.top(units, query, _COUNT)[0].tolist()) for query in queries]
            share = float(np.mean([len(e & f) / len(e) for e, f in zip(exact, found, strict=True)]))
            if share >= recall or self.lists >= self._index.nlist:
                return
            self.lists = min(max(self.lists + 1, self.lists * 5 // 4), int(self._index.nlist))

    def top(self, units: Centred, query: Floats, count: int) -> tuple[NDArray[np.int64], Floats]:
        """Row numbers and exact values of about the ``count`` best rows for (D,), best first."""
        self._index.nprobe = self.lists
        _, near = self._index.search(np.ascontiguousarray(query[None], np.float32), 2 * count)
        rows = np.sort(near[0][near[0] >= 0]).astype(np.int64)
        values = units[rows] @ query
        order = np.lexsort((rows, -values))[:count]
        return rows[order], values[order]

    def save(self, path: Path) -> None:
        """One file, replaced whole."""
        half = path.with_suffix(".writing")
        _faiss().write_index(self._index, str(half))
        half.replace(path)
        path.with_suffix(".lists").write_text(str(self.lists), encoding="ascii")

    @classmethod
    def load(cls, path: Path) -> SongIndex:
        """What ``save`` wrote, its lists memory-mapped."""
        faiss = _faiss()
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
        return cls(index, int(path.with_suffix(".lists").read_text(encoding="ascii")))
