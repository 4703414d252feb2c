"""The circle: who is here, and links for more."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app.services import accounts
from app.web.access import Me, Shared
from app.web.rendering import go, page

router = APIRouter(prefix="/friends")


@router.get("")
def circle(request: Request, state: Shared, who: Me) -> Response:
    with state.db.read() as db:
        return page(
            request, "friends.html", people=accounts.everyone(db), invites=accounts.open_invites(db, who.id), link=""
        )


@router.post("/invite")
def invite(request: Request, state: Shared, who: Me) -> Response:
    """A new link, shown this once: only its hash is kept."""
    with state.db.write() as db:
        token = accounts.invite(db, who.id, state.settings.invite_days)
    with state.db.read() as db:
        people, invites = accounts.everyone(db), accounts.open_invites(db, who.id)
    link = str(request.url_for("join_form", token=token))
    return page(request, "friends.html", people=people, invites=invites, link=link)


@router.post("/sharing")
def share(state: Shared, who: Me, sharing: Annotated[str, Form()] = "off") -> Response:
    """Let the circle see what one played, or stop it."""
    with state.db.write() as db:
        accounts.set_sharing(db, who.id, sharing)
    return go("/friends")
