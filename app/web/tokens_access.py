"""Who asks by an API token, and whether it may. rules.py says which routes ask this way."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress

from fastapi import Request

from app.errors import CannotWrite, Forbidden, NotSignedIn, TooBusy
from app.services import tokens
from app.services.tokens import Holder
from app.web.rendering import State, state_of

_HEADER = re.compile(r"(?:token|bearer)\s+(\S{1,200})\s*", re.IGNORECASE)


def sent_token(request: Request) -> str | None:
    """The token of the Authorization header; "" if the header holds none, None if there is no header."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    found = _HEADER.fullmatch(header.strip())
    return found[1] if found else ""


def seen(state: State, holder: Holder | None) -> Holder | None:
    """The holder, with a note now and then that the token is in use."""
    if holder is not None and holder.is_stale:
        with suppress(TooBusy, CannotWrite), state.db.write() as db:  # who only reads needs no disk to write on
            tokens.touch(db, holder.token_id)
    return holder


def holder_of(request: Request) -> Holder:
    """Whose token is sent. Raises NotSignedIn without one, or with one that was revoked or never was."""
    state, token = state_of(request), sent_token(request)
    if token is None:
        raise NotSignedIn("You need to provide an Authorization header.")
    with state.db.read() as db:
        found = tokens.whose(db, token) if token else None
    holder = seen(state, found)
    if holder is None:
        raise NotSignedIn("Invalid authorization token.")
    return holder


def require(holder: Holder, scope: str) -> Holder:
    """Raises Forbidden for a token without that scope."""
    if scope not in holder.scopes:
        raise Forbidden(f"The token {holder.name!r} may not {scope}: it was made for {' and '.join(holder.scopes)}.")
    return holder


def may(scope: str) -> Callable[[Request], Holder]:
    """A dependency: the holder of a token with that scope."""

    def dependency(request: Request) -> Holder:
        return require(holder_of(request), scope)

    return dependency
