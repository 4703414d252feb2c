"""Who asks, and whether they may: the dependencies that hold the rules of rules.py for every route."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import Depends, Request
from starlette.responses import Response

from app.errors import CannotWrite, Forbidden, NotSignedIn, TooBusy
from app.services import accounts, sharing
from app.services.accounts import SignedIn
from app.settings import Settings
from app.tables import Listener
from app.web.limits import LIMITS, address_of
from app.web.rendering import State, state_of
from app.web.rules import ADMIN, MEMBER, OWN, RULES, SHARED, SUBMITS
from app.web.security import is_by_token
from app.web.tokens_access import holder_of, require


async def _state(request: Request) -> State:
    return state_of(request)


# What asks nobody and waits for nothing is async: each other dependency costs a change of thread.
Shared = Annotated[State, Depends(_state)]


def cookie_name(settings: Settings) -> str:
    """``__Host-`` binds the cookie to this host over HTTPS; browsers refuse it on plain HTTP."""
    return "__Host-earshot" if settings.https else "earshot"


def set_cookie(response: Response, settings: Settings, token: str) -> None:
    """Hand the browser its session."""
    response.set_cookie(
        cookie_name(settings), token, max_age=settings.session_days * 86_400, path="/", secure=settings.https,
        httponly=True, samesite="lax",
    )  # fmt: skip


def forget_cookie(response: Response, settings: Settings) -> None:
    """Have the browser drop its session."""
    response.delete_cookie(cookie_name(settings), path="/", secure=settings.https, httponly=True)


def _renew_cookie(request: Request, settings: Settings, token: str) -> None:
    """Have the browser keep its cookie as long as the session, whose end was just moved.

    A header that security.py adds to whatever the route answers: most routes make their answer themselves.
    """
    renewed = Response()
    set_cookie(renewed, settings, token)
    request.state.renewed_cookie = renewed.headers["set-cookie"]


def _by_token(request: Request) -> SignedIn:
    """Who asks by a token on the JSON API. Raises NotSignedIn or Forbidden."""
    key = key_of(request)
    holder = holder_of(request)
    if RULES.get(key) is ADMIN:  # whoever finds an administrator's phone is not one
        raise Forbidden("A token may not do this; it is for a signed-in browser.")
    if request.method == "GET":
        return require(holder, "read").who
    if key in SUBMITS:
        return require(holder, "submit").who
    raise Forbidden("A token may not do this; it is for a signed-in browser.")


def anyone(request: Request, state: Shared) -> SignedIn | None:
    """Who asks, by their browser's session, or on the JSON API by the token that is sent; None for a stranger."""
    if is_by_token(request.scope) and request.url.path.startswith("/api/"):
        return _by_token(request)
    token = request.cookies.get(cookie_name(state.settings))
    if not token:
        return None
    with state.db.read() as db:
        found = accounts.whose_session(db, token)
    if found is None:
        return None
    who, stale = found
    if stale:
        with suppress(TooBusy, CannotWrite):  # who only reads needs no disk to write on
            with state.db.write() as db:
                accounts.touch_session(db, token, state.settings.session_days)
            _renew_cookie(request, state.settings, token)
    request.state.who = who
    return who


def _known(who: SignedIn | None) -> SignedIn:
    if who is None:
        raise NotSignedIn("Please sign in first.")
    return who


async def signed_in(who: Annotated[SignedIn | None, Depends(anyone)]) -> SignedIn:
    """Who asks. Raises NotSignedIn for a stranger."""
    return _known(who)


def key_of(request: Request) -> str:
    """The route that answers, as ``RULES`` names it."""
    return f"{request.method} {request.scope['route'].path}"


async def enforce(request: Request, who: Annotated[SignedIn | None, Depends(anyone)]) -> None:
    """Every route's first dependency: holds its rule and its limit. Raises NotSignedIn, Forbidden, TooManyTries."""
    key = key_of(request)
    rule = RULES.get(key)
    if rule is None:
        raise Forbidden("Nobody may do this: it has no rule.")
    if rule in (MEMBER, OWN, SHARED, ADMIN):
        who = _known(who)
    if rule is ADMIN and (who is None or not who.is_admin):
        raise Forbidden("Only the administrator may do this.")
    if key in LIMITS:
        state_of(request).limiter.count(LIMITS[key], address=address_of(request), account=who.id if who else "")


Stranger = Annotated[SignedIn | None, Depends(anyone)]
Me = Annotated[SignedIn, Depends(signed_in)]


def friend_seen(person: str, state: Shared, who: Me) -> Listener:
    """Rule: ``{person}`` of the path, if they share their listens with who asks. Raises NotFound."""
    with state.db.read() as db:
        return sharing.seen(db, who.id, person)


Seen = Annotated[Listener, Depends(friend_seen)]
