"""How many requests one token may make, told in ListenBrainz' headers. Kept in RAM; a process counts for itself."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

LIMIT = 300
WINDOW_SECONDS = 10
_MOST_KEYS = 10_000  # whose windows are remembered before those that are over are forgotten


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
    """Counts requests by key in windows of ten seconds of the monotonic clock, which nobody sets back."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._windows: dict[str, tuple[float, int]] = {}  # when it is over, requests in it
        self._lock = threading.Lock()

    def take(self, key: str) -> Allowance:
        """Count one request."""
        clock = time.monotonic()
        with self._lock:
            if len(self._windows) > _MOST_KEYS:
                self._windows = {key: window for key, window in self._windows.items() if window[0] > clock}
            until, used = self._windows.get(key, (0.0, 0))
            if until <= clock:
                until, used = clock + WINDOW_SECONDS, 0
            self._windows[key] = until, used + 1
        reset_in = min(WINDOW_SECONDS, max(1, int(until - clock) + 1))
        return Allowance(used < self._limit, max(0, self._limit - used - 1), reset_in, int(time.time()) + reset_in)
