"""How many requests one token may make, told in ListenBrainz' headers. Kept in RAM; a process counts for itself."""

from __future__ import annotations

import time
from dataclasses import dataclass

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

LIMIT = 300
WINDOW_SECONDS = 10


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
        self._item = RateLimitItemPerSecond(limit, WINDOW_SECONDS)
        self._windows = FixedWindowRateLimiter(MemoryStorage())

    def take(self, key: str) -> Allowance:
        """Count one request."""
        allowed = self._windows.hit(self._item, key)
        stats = self._windows.get_window_stats(self._item, key)
        clock = int(time.time())
        reset_in = min(WINDOW_SECONDS, max(1, int(stats.reset_time) + 1 - clock))
        return Allowance(allowed, max(0, stats.remaining), reset_in, clock + reset_in)
