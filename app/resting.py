"""When the worker beside a web process holds torch and the base: while somebody may retrain, and some minutes longer.

A page with the retrain button on it wakes the worker. What torch takes, a process gives back only by ending, so a
worker that has had nothing to do for those minutes ends, and the next one begins without torch.
"""

from __future__ import annotations

import os
import select
import time

RESTED = 10  # the exit code of a worker that ended to rest; whoever keeps it starts the next one at once
_AT_ONCE = 4096


class Rest:
    """What a worker that may rest knows: whether it was woken, and since when the engine has not been needed."""

    def __init__(self, minutes: float, wakes: int) -> None:
        """``minutes`` 0 never rests. ``wakes``: a descriptor from which any byte is a wake.

        A pipe and no signal: a byte kills nobody who is not ready for it yet, and one that this process did not read
        before it ended is there for the next one.
        """
        self._seconds = 60 * minutes
        self._wakes: int | None = wakes
        self._needed_at: float | None = None
        self.woken = False

    def needed(self) -> None:
        """The engine was needed just now."""
        self._needed_at = time.monotonic()

    def look(self) -> bool:
        """Whether somebody has woken this worker since the last look; never waits."""
        if self._wakes is None or not select.select([self._wakes], [], [], 0)[0]:
            return False
        if not os.read(self._wakes, _AT_ONCE):  # whoever wakes has gone, and run() sees that by itself
            self._wakes = None
            return False
        self.woken = True
        if self._needed_at is not None:
            self.needed()
        return True

    def due(self) -> bool:
        """Whether to end now: the engine was needed once, and for so many minutes it was not."""
        if not self._seconds or self._needed_at is None:
            return False
        self.look()
        return time.monotonic() - self._needed_at >= self._seconds
