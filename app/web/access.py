"""Who may see and touch what. Routes name a rule from here; none decides for itself."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from starlette.responses import Response

from app.errors import Forbidden, NotSignedIn
from app.services import accounts, sharing
from app.services.accounts import SignedIn
from app.settings import Settings
from app.tables import Listener
from app.web.rendering import State, state_of

Shared = Annotated[State, Depends(state_of)]


def cookie_name(settings: Settings) -> str:
    """``__Host-`` binds the cookie to this host over HTTPS; browsers refuse it on plain HTTP."""
    return "__Host-earshot" if settings.https else "earshot"


def set_cookie(response: Response, settings: Settings, token: str) -> None:
    """Hand the browser its session."""
    response.set_cookie(
        cookie_name(settings), token, max_age=settings.session_days * 86_400, path="/", secure=settings.https,
        httponly=True, samesite="lax",
    )  # fmt: skip


def anyone(request: Request, state: Shared) -> SignedIn | None:
    """Rule: open to strangers; gives who it is if they are signed in."""
    token = request.cookies.get(cookie_name(state.settings))
    if not token:
        return None
    with state.db.read() as db:
        found = accounts.whose_session(db, token)
    if found is None:
        return None
    who, stale = found
    if stale:
        with state.db.write() as db:
            accounts.touch_session(db, token, state.settings.session_days)
    request.state.who = who
    return who


def signed_in(who: Annotated[SignedIn | None, Depends(anyone)]) -> SignedIn:
    """Rule: listeners only, each for their own things."""
    if who is None:
        raise NotSignedIn("Please sign in first.")
    return who


def administrator(who: Annotated[SignedIn, Depends(signed_in)]) -> SignedIn:
    """Rule: the administrator only."""
    if not who.is_admin:
        raise Forbidden("Only the administrator may do this.")
    return who


Stranger = Annotated[SignedIn | None, Depends(anyone)]
Me = Annotated[SignedIn, Depends(signed_in)]
Administrator = Annotated[SignedIn, Depends(administrator)]


def friend_seen(person: str, state: Shared, who: Me) -> Listener:
    """Rule: ``{person}`` of the path, if they share their listens with who asks. Raises NotFound."""
    with state.db.read() as db:
        return sharing.seen(db, who.id, person)


Seen = Annotated[Listener, Depends(friend_seen)]
