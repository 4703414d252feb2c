"""Parts of pages that were drawn already, for as long as there is the very object that they show.

The songs of a list are some two thousand escaped values; a list that is remembered (services/remembering.py) shows the
same ones again, and what was drawn goes with it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

from markupsafe import Markup


class Drawn:
    """HTML by what it shows and an address that stands in it. From any thread: each step on the dictionary is whole."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, str], tuple[weakref.ref[object], Markup]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, shown: object, address: str, draw: Callable[[], str]) -> Markup:
        """What ``draw`` gave for this object, which must not change, and this address; drawn now if it was not."""
        key = (id(shown), address)
        kept = self._kept.get(key)
        if kept is not None and kept[0]() is shown:
            return kept[1]
        html = Markup(draw())
        self._kept[key] = (weakref.ref(shown, lambda _: self._kept.pop(key, None)), html)
        return html
