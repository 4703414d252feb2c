"""How often one address and one account may try what is worth guessing or costly. Kept in RAM: nothing of it is stored.

The counts are of this process; where several web processes share a database, each allows as many.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from fastapi import Request
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from app.errors import TooManyTries
from app.services.text import fold


@dataclass(frozen=True, slots=True)
class Limit:
    """Tries by one address, and for one account, in a moving window; written as in "20 per 15 minutes"."""

    what: str
    address: str
    account: str


LOGIN = Limit("sign-in", "60 per 15 minutes", "20 per 15 minutes")
SIGN_UP = Limit("sign-up", "20 per hour", "20 per hour")
INVITE = Limit("invite", "60 per hour", "30 per hour")
TOKEN = Limit("token", "60 per hour", "30 per hour")
PASSWORD = Limit("password", "30 per 15 minutes", "10 per 15 minutes")
RETRAIN = Limit("retrain", "60 per hour", "20 per hour")

# "METHOD path" as in rules.py's RULES. A sign-in counts for the account named in its form as well, in web/accounts.py.
LIMITS: dict[str, Limit] = {
    "POST /login": LOGIN,
    "POST /setup": SIGN_UP,
    "POST /join/{token}": SIGN_UP,
    "POST /friends/invite": INVITE,
    "POST /taste/retrain": RETRAIN,
    "POST /settings/tokens": TOKEN,
    "POST /api/v1/sessions": LOGIN,
    "POST /api/v1/setup": SIGN_UP,
    "POST /api/v1/join/{token}": SIGN_UP,
    "PUT /api/v1/me/password": PASSWORD,
    "POST /api/v1/me/leave": PASSWORD,
    "POST /api/v1/tokens": TOKEN,
    "POST /api/v1/invites": INVITE,
    "POST /api/v1/taste/retrain": RETRAIN,
    "POST /settings/password": PASSWORD,
    "POST /settings/delete": PASSWORD,
}


class Limiter:
    """Counts tries. One an app."""

    def __init__(self) -> None:
        self._window = MovingWindowRateLimiter(MemoryStorage())

    def count(self, limit: Limit, *, address: str = "", account: str = "") -> None:
        """Count a try by an address, or for an account, or both. Raises TooManyTries with the seconds to wait."""
        if address:
            self._hit(parse(limit.address), limit.what, "address", _network(address))
        if account:
            self._hit(parse(limit.account), limit.what, "account", fold(account))

    def _hit(self, item: RateLimitItem, *key: str) -> None:
        if not self._window.hit(item, *key):
            oldest, _ = self._window.get_window_stats(item, *key)
            raise TooManyTries(_wait(oldest))


def _wait(until: float) -> int:
    return max(1, int(until - time.time()) + 1)


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
