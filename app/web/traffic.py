"""Every request: an id, a place among those answered at once, time for its body, a line in the log, a count.

The log has the route as it is written ("/join/{token}"), never the path as it was asked: no token, no title, no name
and no address of a person gets into it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import TooBusy
from app.web.marks import request_id
from app.web.rendering import answer_error

log = logging.getLogger("earshot.requests")

ANSWERED = Counter("earshot_requests", "Requests answered.", ["method", "route", "status"])
SECONDS = Histogram("earshot_request_seconds", "Time until an answer began.", ["route"])
UNDER_WAY = Gauge("earshot_requests_under_way", "Requests being answered now, without open event streams.")
TURNED_AWAY = Counter("earshot_requests_turned_away", "Requests asked to come again, because too many were under way.")

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_UPLOADS = ("/import", "/api/v1/imports")  # these take files of hundreds of megabytes
_PATIENCE, _SLOWEST = 20, 16 << 10  # bytes a second
_ALWAYS = ("/healthz", "/readyz", "/static/")  # cheap, and needed most when everything else is busy


class Traffic:
    """ASGI middleware, inside the one that adds headers."""

    def __init__(self, app: ASGIApp, most: int, body_seconds: float) -> None:
        self.app, self.most, self.body_seconds = app, most, body_seconds
        self.under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        mark = request_id.set(secrets.token_hex(6))
        started, status = time.monotonic(), 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.get().encode())]
                _note(scope, status, time.monotonic() - started)
            await send(message)

        try:
            await self._in_turn(scope, receive, send_marked)
        finally:
            if not status:
                _note(scope, 499, time.monotonic() - started)  # the other side went away before there was an answer
            request_id.reset(mark)

    async def _in_turn(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.under_way >= self.most and not scope["path"].startswith(_ALWAYS):
            TURNED_AWAY.inc()
            refusal = answer_error(Request(scope), TooBusy("Too many ask at this moment; please try again shortly."))
            await refusal(scope, receive, send)
            return
        held = 1

        def count(change: int) -> None:
            self.under_way += change
            UNDER_WAY.set(self.under_way)

        async def send_freeing(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _is_stream(message):  # open as long as somebody's tab is
                count(-held)
                held = 0
            await send(message)

        count(held)
        try:
            in_parts = scope["path"] in _UPLOADS and scope["method"] == "POST"
            await self.app(scope, _in_time(receive, self.body_seconds, in_parts), send_freeing)
        finally:
            count(-held)


def _is_stream(start: Message) -> bool:
    return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in start["headers"])


def _in_time(receive: Receive, seconds: float, in_parts: bool) -> Receive:
    """``receive`` that gives a body so many seconds; waiting for the other side to go away is not limited.

    in_parts: a large file over a slow line is no mischief, so the seconds are for each part. In all it then has
    ``_PATIENCE`` times as many, and more for what has arrived, so that nobody holds a place by a byte now and then.
    """
    clock = asyncio.get_running_loop().time
    started, arrived = clock(), 0
    until, arriving = started + seconds, True

    async def limited() -> Message:
        nonlocal arriving, arrived, until
        if not arriving:
            return await receive()
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, "The request took too long to arrive.") from None
        arriving = message["type"] == "http.request" and bool(message.get("more_body"))
        if in_parts:
            arrived += len(message.get("body", b""))
            until = min(clock() + seconds, started + _PATIENCE * seconds + arrived / _SLOWEST)
        return message

    return limited


def route_of(scope: Scope) -> str:
    """The route that answers, as it is written; "(none)" where no route did."""
    path = getattr(scope.get("route"), "path", None)
    return str(path) if path else ("/static" if scope["path"].startswith("/static/") else "(none)")


def _note(scope: Scope, status: int, seconds: float) -> None:
    method, route = scope["method"] if scope["method"] in _METHODS else "(other)", route_of(scope)
    ANSWERED.labels(method, route, str(status)).inc()
    SECONDS.labels(route).observe(seconds)
    level = logging.DEBUG if route in _QUIET else logging.WARNING if status >= 500 else logging.INFO
    log.log(level, "%s %s %d in %d ms", method, route, status, 1000 * seconds)


_QUIET = {"/static", "/healthz", "/readyz"}

Count = Callable[[], float]


def watch(name: str, what: str, count: Count) -> None:
    """Serve a number that is asked for when metrics are read."""
    gauge = Gauge(f"earshot_{name}", what)
    gauge.set_function(count)
