"""The catalogue as it is ranked: rows less their mean, scaled to length 1, without a second copy of them.

Stored rows v stay where they are, as a rule memory-mapped. A product with centred units needs only a number a row more,
since u · q = (v · q − mean · q) / |v − mean|.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

ROWS_AT_ONCE = 8192


class Stored:
    """Rows (N, D) float32 of a larger array, read when asked for: ``keep`` names which, None is all of them."""

    def __init__(self, rows: Floats, keep: NDArray[np.int64] | None = None) -> None:
        self._rows, self._keep = rows, keep
        self.shape = (len(rows) if keep is None else len(keep), rows.shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice | Sequence[int] | NDArray[Any]) -> Floats:
        """Some rows; a slice of neighbours is a view on what is stored."""
        found: Floats = self._rows[rows] if self._keep is None else self._rows[self._keep[rows]]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self[:], dtype=dtype or np.float32)

    def parts(self) -> Iterator[tuple[slice, Floats]]:
        """All rows in order, some thousand at a time."""
        for start in range(0, len(self), ROWS_AT_ONCE):
            part = slice(start, min(start + ROWS_AT_ONCE, len(self)))
            yield part, self[part]


class Centred:
    """Units (N, D): stored rows less ``mean`` (D,), scaled to length 1. What numpy takes it for, it becomes."""

    def __init__(self, stored: Stored, mean: Floats) -> None:
        self.stored, self.mean = stored, mean
        self.shape, self.dtype, self.ndim = stored.shape, np.dtype(np.float32), 2
        self._scale = np.empty(len(stored), np.float32)
        for part, rows in stored.parts():
            self._scale[part] = 1 / np.maximum(np.linalg.norm(rows - mean, axis=1), 1e-9)

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, rows: int | slice | Sequence[int] | NDArray[Any]) -> Floats:
        """Units of some rows, made now: (n, D), or (D,) for one."""
        found: Floats = (self.stored[rows] - self.mean) * self._scale[rows][..., None]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)

    def __matmul__(self, other: Floats) -> Floats:
        """(N,) or (N, k) for (D,) or (D, k)."""
        result = np.empty((len(self), *other.shape[1:]), np.float32)
        for part, product in self.products(other):
            result[part] = product
        return result

    def products(self, other: Floats) -> Iterator[tuple[slice, Floats]]:
        """The product with (D,) or (D, k), some thousand rows at a time."""
        less = self.mean @ other
        for part, rows in self.stored.parts():
            product = rows @ other
            product -= less
            product *= self._scale[part].reshape(-1, *[1] * (product.ndim - 1))
            yield part, product

    def top(self, query: Floats, count: int) -> tuple[NDArray[np.int64], Floats]:
        """Row numbers and values of the ``count`` largest products with (D,), best first; ties by row number.

        Exact, and reads each stored row once: most of a part falls below what is already found and is never sorted.
        """
        rows, values, floor = np.empty(0, np.int64), np.empty(0, np.float32), -np.inf
        for part, product in self.products(query):
            above = np.flatnonzero(product > floor)
            if not len(above):
                continue
            rows = np.concatenate([rows, above + part.start])
            values = np.concatenate([values, product[above]])
            if len(rows) >= count:
                order = np.lexsort((rows, -values))[:count]
                rows, values = rows[order], values[order]
                floor = values[-1]
        order = np.lexsort((rows, -values))
        return rows[order], values[order]


class RowOf:
    """Row numbers of songs by id, as two arrays: a dictionary of a million songs takes 100 MB."""

    def __init__(self, ids: NDArray[np.int64]) -> None:
        self._order = np.argsort(ids, kind="stable")
        self._sorted = ids[self._order]

    def find(self, songs: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) row numbers, -1 for a song that is not there."""
        wanted = np.asarray(songs, dtype=np.int64)
        if not len(self._sorted) or not len(wanted):
            return np.full(len(wanted), -1, dtype=np.int64)
        place = np.minimum(np.searchsorted(self._sorted, wanted), len(self._sorted) - 1)
        return np.where(self._sorted[place] == wanted, self._order[place], -1)

    def get(self, song: int) -> int | None:
        """One row number, or None."""
        row = int(self.find([song])[0])
        return None if row < 0 else row

    def __contains__(self, song: int) -> bool:
        return self.get(song) is not None

    def __getitem__(self, song: int) -> int:
        row = self.get(song)
        if row is None:
            raise KeyError(song)
        return row
