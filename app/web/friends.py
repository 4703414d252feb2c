"""The circle: who is here, and links for more."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app.services import accounts, circle_adapter
from app.web.access import Me, Shared
from app.web.rendering import go, page

router = APIRouter(prefix="/friends")


@router.get("")
def circle(request: Request, state: Shared, who: Me) -> Response:
    with state.db.read() as db:
        return page(
            request, "friends.html", people=accounts.everyone(db), invites=accounts.open_invites(db, who.id), link="",
            shared=circle_adapter.status(db, who.id, state.settings.min_songs),
        )  # fmt: skip


@router.post("/invite")
def invite(request: Request, state: Shared, who: Me) -> Response:
    """A new link, shown this once: only its hash is kept."""
    with state.db.write() as db:
        token = accounts.invite(db, who.id, state.settings.invite_days)
    with state.db.read() as db:
        people, invites = accounts.everyone(db), accounts.open_invites(db, who.id)
        shared = circle_adapter.status(db, who.id, state.settings.min_songs)
    link = str(request.url_for("join_form", token=token))
    return page(request, "friends.html", people=people, invites=invites, link=link, shared=shared)


@router.post("/sharing")
def share(state: Shared, who: Me, sharing: Annotated[str, Form()] = "off") -> Response:
    """Let the circle see what one played, or stop it."""
    with state.db.write() as db:
        accounts.set_sharing(db, who.id, sharing)
    return go("/friends")


@router.post("/circle")
def take_part(state: Shared, who: Me, join: Annotated[str, Form()] = "off") -> Response:
    """Let the circle's adapter learn from oneself, or take that back."""
    with state.db.write() as db:
        if join == "on":
            circle_adapter.join(db, who.id, state.settings.min_songs)
        else:
            circle_adapter.leave(db, who.id, state.settings.min_songs)
    if join != "on" and state.engine.ready:
        state.engine.get().forget(state.engine.get().circle)
    return go("/friends#circle")


@router.post("/circle/retrain")
def retrain_circle(state: Shared, who: Me) -> Response:
    """Train the circle's adapter anew; for those who are in it."""
    with state.db.write() as db:
        circle_adapter.request_as(db, who.id, state.settings.min_songs)
    return go("/friends#circle")
