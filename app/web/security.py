"""Cross-site protection and response headers for every route."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import Forbidden
from app.settings import Settings
from app.web.rendering import answer_error

_SAFE = {"GET", "HEAD", "OPTIONS"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; manifest-src 'self'"
)


def same_site(headers: Headers) -> bool:
    """Whether an unsafe request comes from our own pages.

    Sec-Fetch-Site decides where the browser sends it (not on plain HTTP in a LAN); else Origin must name our host.
    A request with neither is refused: every browser sends one of them with a form.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    host = headers.get("host")
    try:
        return bool(host) and urlsplit(headers.get("origin", "")).netloc == host
    except ValueError:  # no URL at all
        return False


class Guard:
    """ASGI middleware: refuses cross-site writes, adds headers to every answer."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.https = settings.https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = _POLICY
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "same-origin"
                headers["X-Frame-Options"] = "DENY"
                headers["Cross-Origin-Opener-Policy"] = "same-origin"
                if not scope["path"].startswith("/static/"):
                    headers.setdefault("Cache-Control", "no-store")
                if self.https:
                    headers["Strict-Transport-Security"] = "max-age=31536000"
            await send(message)

        if scope["method"] not in _SAFE and not same_site(Headers(scope=scope)):
            refusal = answer_error(Request(scope), Forbidden("This came from another site, so it was not done."))
            await refusal(scope, receive, send_guarded)
            return
        await self.app(scope, receive, send_guarded)
