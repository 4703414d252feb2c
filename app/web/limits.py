"""How often one address and one account may try what is worth guessing or costly. Kept in RAM: nothing of it is stored.

The counts are of this process; where several web processes share a database, each allows as many. They go by the
monotonic clock: somebody who sets the machine's clock back or forward neither frees a guesser nor shuts anybody out.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from fastapi import Request

from app.errors import TooManyTries
from app.services.text import fold

_MINUTE, _HOUR = 60, 3600
_SWEEP_EVERY = 1_000  # tries, after which keys with none left in their window are forgotten


@dataclass(frozen=True, slots=True)
class Limit:
    """How many tries by one address, and for one account, a moving window of so many seconds allows."""

    what: str
    seconds: int
    address: int
    account: int


LOGIN = Limit("sign-in", 15 * _MINUTE, address=60, account=20)
SIGN_UP = Limit("sign-up", _HOUR, address=20, account=20)
INVITE = Limit("invite", _HOUR, address=60, account=30)
PLAYER = Limit("player sign-in", 15 * _MINUTE, address=60, account=20)  # Audioscrobbler's getMobileSession
TOKEN = Limit("token", _HOUR, address=60, account=30)
PASSWORD = Limit("password", 15 * _MINUTE, address=30, account=10)
RETRAIN = Limit("retrain", _HOUR, address=60, account=20)

# "METHOD path" as in rules.py's RULES. A sign-in counts for the account named in its form as well, in web/accounts.py.
LIMITS: dict[str, Limit] = {
    "POST /login": LOGIN,
    "POST /setup": SIGN_UP,
    "POST /join/{token}": SIGN_UP,
    "POST /friends/invite": INVITE,
    "POST /api/v1/invites": INVITE,
    "POST /taste/retrain": RETRAIN,
    "POST /api/v1/taste/retrain": RETRAIN,
    "POST /friends/circle/retrain": RETRAIN,
    "POST /api/v1/circle/retrain": RETRAIN,
    "POST /settings/tokens": TOKEN,
    "POST /api/v1/sessions": LOGIN,
    "POST /api/v1/setup": SIGN_UP,
    "POST /api/v1/join/{token}": SIGN_UP,
    "PUT /api/v1/me/password": PASSWORD,
    "POST /api/v1/me/leave": PASSWORD,
    "POST /api/v1/tokens": TOKEN,
    "POST /api/auth/": TOKEN,
    "POST /settings/password": PASSWORD,
    "POST /settings/delete": PASSWORD,
}


@dataclass(slots=True)
class Limiter:
    """Counts tries. One an app."""

    _tries: dict[tuple[str, str, str], tuple[int, deque[float]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _counted: int = 0

    def count(self, limit: Limit, *, address: str = "", account: str = "") -> None:
        """Count a try by an address, or for an account, or both. Raises TooManyTries with the seconds to wait."""
        if address:
            self._hit(limit.address, limit.seconds, (limit.what, "address", _network(address)))
        if account:
            self._hit(limit.account, limit.seconds, (limit.what, "account", fold(account)))

    def _hit(self, most: int, seconds: int, key: tuple[str, str, str]) -> None:
        clock = time.monotonic()
        with self._lock:
            self._sweep(clock)
            _, times = self._tries.setdefault(key, (seconds, deque()))
            while times and times[0] <= clock - seconds:
                times.popleft()
            if len(times) >= most:  # a refused try is not counted: who waits as long as told may try again
                raise TooManyTries(int((times[0] if times else clock) + seconds - clock) + 1)
            times.append(clock)

    def _sweep(self, clock: float) -> None:
        self._counted += 1
        if self._counted % _SWEEP_EVERY == 0:
            old = [key for key, (seconds, times) in self._tries.items() if not times or times[-1] <= clock - seconds]
            for key in old:
                del self._tries[key]


def _network(address: str) -> str:
    """The address, or for IPv6 the /64 that one household has whole; what is no address counts as it is."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(found) if found.version == 4 else str(ip_network((found, 64), strict=False))


def address_of(request: Request) -> str:
    """Who connects. X-Forwarded-For is read by the server, and only from EARSHOT_TRUSTED_PROXIES."""
    return request.client.host if request.client else "nowhere"
