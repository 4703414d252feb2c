"""How many inputs the tests try that draw them: few in `make test`, many in `make test-faults`."""

from __future__ import annotations

import os

_USUAL = 12
A_ROUTE = int(os.environ.get("EARSHOT_TEST_INPUTS", str(_USUAL)))  # `make test-faults` sets 100


def times(usual: int) -> int:
    """A number of inputs, larger in the same measure as ``A_ROUTE`` is."""
    return usual * A_ROUTE // _USUAL
