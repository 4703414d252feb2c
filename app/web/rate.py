"""How many requests one token may make, told in ListenBrainz' headers. A process counts for itself."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

LIMIT = 300
WINDOW_SECONDS = 10
_MOST_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left in this window; ``allowed`` is false once nothing is."""

    allowed: bool
    remaining: int
    reset_in: int
    reset: int

    def headers(self) -> dict[str, str]:
        """As ListenBrainz names them."""
        return {
            "X-RateLimit-Limit": str(LIMIT), "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset-In": str(self.reset_in), "X-RateLimit-Reset": str(self.reset),
        }  # fmt: skip


class Rate:
    """Counts requests by key in windows of ten seconds."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._window = 0

    def take(self, key: str) -> Allowance:
        """Count one request."""
        clock = time.time()
        window = int(clock) // WINDOW_SECONDS
        end = (window + 1) * WINDOW_SECONDS
        with self._lock:
            if window != self._window or len(self._counts) > _MOST_KEPT:
                self._window, self._counts = window, {}
            count = self._counts[key] = self._counts.get(key, 0) + 1
        reset_in = max(1, min(WINDOW_SECONDS, end - int(clock)))
        return Allowance(count <= self._limit, max(0, self._limit - count), reset_in, int(clock) + reset_in)
