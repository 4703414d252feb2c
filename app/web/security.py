"""Cross-site protection and response headers for every route."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import Forbidden
from app.settings import Settings
from app.web.rendering import answer_error

_SAFE = {"GET", "HEAD", "OPTIONS"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; manifest-src 'self'"
)

# Players' own addresses. No cookie counts there, so nothing can be done in a visitor's name from another site, and
# pages of other sites (browser extensions, web players) may call them.
TOKEN_PATHS = re.compile(r"(?:/apis/listenbrainz)?/1/.*|/2\.0/?", re.DOTALL)
_OPEN_TO_OTHER_SITES = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Expose-Headers": ", ".join(
        f"X-RateLimit-{name}" for name in ("Limit", "Remaining", "Reset-In", "Reset")
    ),
    "Access-Control-Max-Age": "86400",
}


def is_by_token(scope: Scope) -> bool:
    """Whether a request is one that no cookie can authorise: a player's, or the JSON API's with a token."""
    if TOKEN_PATHS.fullmatch(scope["path"]):
        return True
    return scope["path"].startswith("/api/v1/") and "authorization" in Headers(scope=scope)


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

        for_players = TOKEN_PATHS.fullmatch(scope["path"]) is not None

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
                # The answer's own word goes first: signing out, or a new session after a new password.
                renewed = scope.get("state", {}).get("renewed_cookie")
                if renewed is not None and "set-cookie" not in headers:
                    headers["Set-Cookie"] = renewed
                if for_players:
                    headers.update(_OPEN_TO_OTHER_SITES)
                if self.https:
                    headers["Strict-Transport-Security"] = "max-age=31536000"
            await send(message)

        if for_players and scope["method"] == "OPTIONS":  # a browser asks first; the answer is in the headers
            await Response(status_code=204)(scope, receive, send_guarded)
            return
        if scope["method"] not in _SAFE and not is_by_token(scope) and not same_site(Headers(scope=scope)):
            refusal = answer_error(Request(scope), Forbidden("This came from another site, so it was not done."))
            await refusal(scope, receive, send_guarded)
            return
        await self.app(scope, receive, send_guarded)
