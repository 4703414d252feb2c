"""Centred units without a copy are the units that a copy would be."""

from __future__ import annotations

import numpy as np
import pytest

from app.lm import centred
from app.lm.centred import Centred, RowOf, Stored
from app.lm.vectors import unit

from .making import random_units


@pytest.mark.parametrize("kept", [None, np.array([4, 0, 9, 30])])
def test_rows_and_products_are_those_of_plain_units(monkeypatch: pytest.MonkeyPatch, kept: np.ndarray | None) -> None:
    monkeypatch.setattr(centred, "ROWS_AT_ONCE", 7)
    rows = random_units(40, 8, seed=1)
    chosen = rows if kept is None else rows[kept]
    mean = chosen.mean(axis=0)
    plain, units = unit(chosen - mean), Centred(Stored(rows, kept), mean)
    assert units.shape == plain.shape
    np.testing.assert_allclose(np.asarray(units), plain, atol=1e-6)
    for part in (2, slice(1, 3), [3, 0, 3], np.arange(len(plain)) % 2 == 0):
        np.testing.assert_allclose(units[part], plain[part], atol=1e-6)
    for other in (plain[0], plain[:3].T):
        np.testing.assert_allclose(units @ other, plain @ other, atol=1e-6)


def test_a_row_that_is_the_mean_is_no_number_too_large() -> None:
    units = Centred(Stored(np.ones((2, 4), np.float32)), np.ones(4, np.float32))
    assert not np.asarray(units).any() and not (units @ np.ones(4, np.float32)).any()


def test_rows_are_found_by_id_in_any_order() -> None:
    rows = RowOf(np.array([7, 3, 9]))
    assert rows.find([9, 8, 7, 10, 3]).tolist() == [2, -1, 0, -1, 1]
    assert (rows.get(3), rows.get(4), 9 in rows, 2 in rows) == (1, None, True, False)
    assert RowOf(np.empty(0, np.int64)).find([1]).tolist() == [-1]
