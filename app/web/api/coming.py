"""Coming in: the first visit, signing in, and joining by a link. Each hands the browser its session as a cookie."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from app.services import accounts
from app.tables import Listener
from app.web.access import Shared, set_cookie
from app.web.accounts import again, checked, try_zone, under_new_session
from app.web.api import shapes_account as shapes
from app.web.api.routing import room
from app.web.limits import LOGIN
from app.web.rendering import State

router = room("", "coming in")


def _in(request: Request, response: Response, state: State, listener: Listener) -> shapes.MeOut:
    set_cookie(response, state.settings, under_new_session(request, state, listener.id))
    with state.db.read() as db:
        return shapes.MeOut.model_validate(db.get_one(Listener, listener.id))


@router.post("/setup", status_code=201)
def set_up(request: Request, response: Response, state: Shared, wanted: shapes.Newcomer) -> shapes.MeOut:
    """The first visit: its listener is the administrator. 409 once there is one."""
    hashed = accounts.hashed_for(state.db, wanted.name, wanted.password)
    with state.db.write() as db:
        listener = accounts.first_listener(db, wanted.name, hashed)
        try_zone(db, listener, wanted.time_zone)
    return _in(request, response, state, listener)


@router.post("/sessions", status_code=201)
def sign_in(request: Request, response: Response, state: Shared, wanted: shapes.SignIn) -> shapes.MeOut:
    """Sign in; 401 if name and password do not fit together."""
    state.limiter.count(LOGIN, account=again(wanted.name))
    return _in(request, response, state, checked(state, wanted.name, wanted.password))


@router.get("/join/{token}")
def look_at_link(state: Shared, token: str) -> shapes.LinkOut:
    """What a link is for. 404 if it was used, has ended, or never was."""
    with state.db.read() as db:
        link = accounts.open_invite(db, token)
        known = db.get_one(Listener, link.for_listener).name if link.for_listener else None
        host = db.get(Listener, link.made_by) if link.made_by else None
    return shapes.LinkOut(known=known, host=host.name if host else None, expires_at=link.expires_at)


@router.post("/join/{token}", status_code=201)
def join(request: Request, response: Response, state: Shared, token: str, wanted: shapes.Newcomer) -> shapes.MeOut:
    """Use a link. It works once."""
    hashed = accounts.hashed_for(state.db, wanted.name, wanted.password, token)
    with state.db.write() as db:
        listener = accounts.join(db, token, wanted.name, hashed)
        try_zone(db, listener, wanted.time_zone)
    return _in(request, response, state, listener)
