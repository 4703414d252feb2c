"""Event streams: as many for one listener as open tabs need, and each only while its browser is signed in.

A stream is looked at for as long as a tab is open; without a bound one listener could hold every thread that looks, and
without a look at the session whoever was signed out would go on reading.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from app.errors import TooBusy
from app.services import accounts
from app.web.access import Me, Shared, cookie_name
from app.web.rendering import State

MOST = 12  # of one listener at once

Seen = TypeVar("Seen")


class Stream:
    """One request's stream."""

    def __init__(self, request: Request, state: State) -> None:
        self._request, self._state = request, state

    async def looks(self, look: Callable[[], Seen]) -> AsyncIterator[Seen]:
        """What ``look`` sees, over and over, until the browser has gone or is signed out; the caller rests between."""
        while not await self._request.is_disconnected():
            seen = await run_in_threadpool(self._look, look)
            if seen is None:
                return
            yield seen[0]

    def _look(self, look: Callable[[], Seen]) -> tuple[Seen] | None:
        with self._state.db.read() as db:
            token = self._request.cookies.get(cookie_name(self._state.settings), "")
            if accounts.whose_session(db, token) is None:
                return None
        return (look(),)


async def _opened(request: Request, state: Shared, who: Me) -> AsyncIterator[Stream]:
    """A stream that counts as open until its answer has ended. Raises TooBusy for a listener with too many."""
    count = state.streams  # changed here alone, and here is the event loop
    if count[who.id] >= MOST:
        raise TooBusy(f"You have {MOST} pages open that show what happens as it happens; close one first.")
    count[who.id] += 1
    try:
        yield Stream(request, state)
    finally:
        count[who.id] -= 1
        if not count[who.id]:
            del count[who.id]


Streamed = Annotated[Stream, Depends(_opened)]
