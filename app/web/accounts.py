"""Pages of coming and going: set up, sign in, join by invite, pick what one likes."""

from __future__ import annotations

import contextlib
from typing import Annotated

from fastapi import APIRouter, Form, Request
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.errors import BadInput, Conflict, NotSignedIn
from app.services import accounts, catalogue, listens
from app.services.passwords import hash_password
from app.services.text import clean, fold
from app.tables import Listener
from app.web.access import Me, Shared, Stranger, cookie_name, forget_cookie, set_cookie
from app.web.limits import LOGIN
from app.web.rendering import State, go, local_path, page

router = APIRouter()

Text = Annotated[str, Form()]
_MOST_PICKS = 30


def _signed_in(request: Request, state: State, listener_id: str, path: str) -> Response:
    response = go(path)
    set_cookie(response, state.settings, under_new_session(request, state, listener_id))
    return response


def under_new_session(request: Request, state: State, listener_id: str) -> str:
    """The token of a new session under a new id, whatever the browser sent before."""
    old = request.cookies.get(cookie_name(state.settings))
    with state.db.write() as db:
        if old:
            accounts.end_session(db, old)
        return accounts.start_session(
            db, listener_id, state.settings.session_days, request.headers.get("user-agent", "")
        )


@router.get("/setup")
def setup_form(request: Request, state: Shared) -> Response:
    with state.db.read() as db:
        if accounts.has_administrator(db):
            return go("/login")
    return page(request, "setup.html", error="", name="")


@router.post("/setup")
def setup(request: Request, state: Shared, name: Text = "", password: Text = "", time_zone: Text = "UTC") -> Response:
    try:
        listener = come_first(state, name, password, time_zone)
    except (BadInput, Conflict) as problem:
        return page(request, "setup.html", problem.status, error=str(problem), name=again(name))
    return _signed_in(request, state, listener.id, "/welcome")


def come_first(state: State, name: str, password: str, zone: str) -> Listener:
    """The first visit. The password is hashed with no lock held: that may take long. Raises BadInput or Conflict."""
    with state.db.read() as db:
        accounts.refuse_a_second_first(db)
    hashed = hash_password(password, [again(name)])
    with state.db.write() as db:
        listener = accounts.first_listener(db, name, hashed)
        try_zone(db, listener, zone)
    return listener


# Somebody added from the shell has never been here before their first link, which was made along with them.
_MADE_TOGETHER_SECONDS = 60


def come_by_link(state: State, token: str, name: str, password: str, zone: str) -> Listener:
    """Use an invite, likewise. Newcomers get their browser's zone; who sets a new password has chosen theirs already.

    Raises NotFound, BadInput or Conflict.
    """
    with state.db.read() as db:
        link = accounts.open_invite(db, token)
        known = db.get_one(Listener, link.for_listener) if link.for_listener else None
        is_new = known is None or link.created_at - known.created_at < _MADE_TOGETHER_SECONDS
    hashed = hash_password(password, [known.name if known else again(name)])
    with state.db.write() as db:
        listener = accounts.join(db, token, name, hashed)
        if is_new:
            try_zone(db, listener, zone)
    return listener


def try_zone(db: Session, listener: Listener, zone: str) -> None:
    """The browser's own zone is a convenience: one that is unknown here leaves UTC."""
    with contextlib.suppress(BadInput):
        accounts.set_time_zone(db, listener, zone or "UTC")


def again(name: str) -> str:
    """A name as it was sent, fit to be shown and looked up."""
    return name.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")[:100]  # PostgreSQL takes no NUL


@router.get("/login")
def login_form(request: Request, state: Shared, who: Stranger, next: str = "/") -> Response:
    if who is not None:
        return go("/")
    with state.db.read() as db:
        if not accounts.has_administrator(db):
            return go("/setup")
    return page(request, "login.html", error="", name="", next=local_path(next, "/"))


@router.post("/login")
def login(request: Request, state: Shared, name: Text = "", password: Text = "", next: Text = "/") -> Response:
    state.limiter.count(LOGIN, account=again(name))
    try:
        found = checked(state, name, password)
    except NotSignedIn as problem:
        return page(
            request, "login.html", problem.status, error=str(problem), name=again(name), next=local_path(next, "/")
        )
    return _signed_in(request, state, found.id, local_path(next, "/"))


def checked(state: State, name: str, password: str) -> Listener:
    """Who has that name and password. Raises NotSignedIn."""
    with state.db.read() as db:
        listener = db.scalar(select(Listener).where(Listener.name_key == fold(again(name))))
    return accounts.check_credentials(listener, password)


@router.post("/logout")
def logout(request: Request, state: Shared, who: Me) -> Response:
    with state.db.write() as db:
        accounts.end_session(db, request.cookies.get(cookie_name(state.settings), ""))
    response = go("/login")
    forget_cookie(response, state.settings)
    return response


@router.get("/join/{token}")
def join_form(request: Request, state: Shared, token: str) -> Response:
    with state.db.read() as db:
        link = accounts.open_invite(db, token)
        known = db.get_one(Listener, link.for_listener).name if link.for_listener else ""
        host = db.get(Listener, link.made_by) if link.made_by else None
    return page(request, "join.html", error="", name="", known=known, host=host.name if host else "", token=token)


@router.post("/join/{token}")
def join(
    request: Request, state: Shared, token: str, name: Text = "", password: Text = "", time_zone: Text = "UTC"
) -> Response:
    try:
        listener = come_by_link(state, token, name, password, time_zone)
    except (BadInput, Conflict) as problem:
        with state.db.read() as db:
            link = accounts.open_invite(db, token)
            known = db.get_one(Listener, link.for_listener).name if link.for_listener else ""
        return page(
            request, "join.html", problem.status, error=str(problem), name=again(name), known=known, host="",
            token=token,
        )  # fmt: skip
    return _signed_in(request, state, listener.id, "/welcome")


@router.get("/welcome")
def welcome_form(request: Request, state: Shared, who: Me) -> Response:
    with state.db.read() as db:
        genres, artists = listens.preferences(db, who.id)
        return page(
            request, "welcome.html", genres=catalogue.genres(db), chosen=set(genres), artists="\n".join(artists)
        )


@router.post("/welcome")
def welcome(
    state: Shared,
    who: Me,
    genre: Annotated[list[str] | None, Form()] = None,
    artists: Text = "",
) -> Response:
    genre, lines = genre or [], [line for line in artists.splitlines() if line.strip()]
    if len(genre) > _MOST_PICKS or len(lines) > _MOST_PICKS:
        raise BadInput(f"Pick {_MOST_PICKS} genres and artists at most.")
    names = [clean(line, "An artist") for line in lines]
    with state.db.write() as db:
        listens.set_preferences(db, who.id, [clean(g, "A genre", most=60) for g in genre], names)
    return go("/recommend")
