"""How a wish is read."""

from __future__ import annotations

import numpy as np

from app.lm import wishes
from app.lm.base import Base


def test_the_last_line_is_read_on_its_own_too() -> None:
    assert wishes.readings("a road trip\n\n now jazz ") == ["a road trip now jazz", "now jazz"]
    assert wishes.readings("rainy Sunday") == ["rainy Sunday", "rainy Sunday"]


def test_a_wish_of_blanks_is_read_as_it_is() -> None:
    assert wishes.readings("  ") == ["  "]


def test_the_middle_of_requests_is_not_that_of_one_of_them(tiny: Base) -> None:
    middle = wishes.middle(tiny)
    assert middle.shape == (tiny.dimension,)
    assert np.allclose(middle, tiny.encode(wishes.REQUESTS).numpy().mean(axis=0))
    assert np.linalg.norm(middle) < 1
