"""Tell an open page that something was played, so that it shows it at once."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy.orm import Session

from app.services import circle, listens, playing
from app.web.access import Me, Shared
from app.web.rendering import State
from app.web.streams import Streamed

router = APIRouter()

_LOOK_SECONDS = 0.5
_REST = 9  # times as long as reading the listens took, they rest: no open tab takes more than a tenth of a core
SHOWN = 6  # of one's own listens on the page


class Watch:
    """What one listener would see change on the first page. Others' listens that they may not see change nothing."""

    def __init__(self, state: State, listener_id: str) -> None:
        self._state, self._listener = state, listener_id
        self._changes: int | None = None
        self._lately = ""
        self._rests_until = 0.0

    def look(self) -> str:
        """A digest of what is playing and was played lately.

        The listens are asked for only if anybody changed anything since, where the database tells (SQLite): a play can
        be corrected, deleted, or hidden from this listener as well as added.
        """
        changes = self._state.db.changes()  # before the listens: what comes in between is found by the next look
        with self._state.db.read() as db:
            began = time.monotonic()
            if (changes is None or changes != self._changes) and began >= self._rests_until:
                self._changes, self._lately = changes, repr(self._listens(db))
                ended = time.monotonic()
                self._rests_until = ended + _REST * (ended - began)  # retrains and imports write all the time
            now = playing.in_circle(db, self._listener)  # which also ends by the clock alone
        return hashlib.sha256(f"{self._lately} {now!r}".encode()).hexdigest()[:16]

    def _listens(self, db: Session) -> tuple[object, ...]:
        recent, total = listens.page(db, self._listener, 1, SHOWN)
        mine = [(one.id, one.song_id, one.listened_at, one.ended, one.learn, one.plays) for one in recent]
        return total, mine, [(one.friend, one.song.id, one.at) for one in circle.lately(db, self._listener)]


@router.get("/live/events", response_class=EventSourceResponse)
async def events(request: Request, state: Shared, who: Me, stream: Streamed) -> AsyncIterator[ServerSentEvent]:
    """A digest at once, and to who listens for events again whenever something was played or began to play."""
    watch, seen = Watch(state, who.id), ""
    stays = "text/event-stream" in request.headers.get("accept", "")
    async for digest in stream.looks(watch.look):
        if digest != seen:
            seen = digest
            yield ServerSentEvent(raw_data=digest)  # data would be quoted: the page compares it as it is
        if not stays:
            return
        await asyncio.sleep(_LOOK_SECONDS)
