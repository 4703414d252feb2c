"""Tell an open page that something was played, so that it shows it at once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.services import circle, listens, playing
from app.web.access import Me, Shared
from app.web.rendering import State
from app.web.streams import Streamed

router = APIRouter()

_LOOK_SECONDS = 0.5
_SHOWN = 20


class Watch:
    """What one listener would see change. Others' listens that they may not see change nothing."""

    def __init__(self, state: State, listener_id: str) -> None:
        self._state, self._listener = state, listener_id
        self._newest = -1
        self._lately = ""

    def look(self) -> str:
        """A digest of what is playing and was played lately; asks for the listens only if there are new ones."""
        with self._state.db.read() as db:
            newest = playing.newest_listen(db)
            if newest != self._newest:
                recent, total = listens.page(db, self._listener, 1, _SHOWN)
                heard = [(one.friend, one.song.id, one.at) for one in circle.lately(db, self._listener)]
                self._newest, self._lately = newest, repr((total, [(one.id, one.listened_at) for one in recent], heard))
            now = playing.in_circle(db, self._listener)
        return hashlib.sha256(f"{self._lately} {now!r}".encode()).hexdigest()[:16]


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
