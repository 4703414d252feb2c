"""The circle: who is here, who may see whom, and links for more."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app.errors import BadInput
from app.services import accounts, circle_adapter, sharing
from app.services.accounts import SignedIn
from app.web.access import Me, Shared
from app.web.rendering import State, go, page

router = APIRouter(prefix="/friends")

_DAYS = (1, 7, 14, 30)


def invite_days(state: State) -> list[int]:
    """How many days a link may last."""
    return sorted({*_DAYS, state.settings.invite_days})


def _circle(request: Request, state: State, who: SignedIn, link: str = "") -> Response:
    with state.db.read() as db:
        visible = set(db.scalars(sharing.visible(who.id)))
        named = sharing.shared_with(db, who.id)
        people, invites = accounts.everyone(db), accounts.open_invites(db, who.id)
        shared = circle_adapter.status(db, who.id, state.settings.min_songs)
    return page(
        request, "friends.html", people=people, visible=visible, named=named, invites=invites, link=link,
        days=invite_days(state), usual=state.settings.invite_days, shared=shared,
    )  # fmt: skip


@router.get("")
def circle(request: Request, state: Shared, who: Me) -> Response:
    return _circle(request, state, who)


@router.post("/invite")
def invite(request: Request, state: Shared, who: Me, days: Annotated[str, Form()] = "") -> Response:
    """A new link, shown this once: only its hash is kept."""
    allowed = {str(d): d for d in invite_days(state)} | {"": state.settings.invite_days}
    if days not in allowed:
        raise BadInput(f"A link lasts {', '.join(map(str, _DAYS))} days.")
    with state.db.write() as db:
        token = accounts.invite(db, who.id, allowed[days])
    return _circle(request, state, who, str(request.url_for("join_form", token=token)))


@router.post("/invite/revoke")
def revoke(state: Shared, who: Me, link: Annotated[str, Form()] = "") -> Response:
    """End one of one's own unused links."""
    with state.db.write() as db:
        accounts.revoke_invite(db, who.id, link)
    return go("/friends")


@router.post("/sharing")
def share(
    state: Shared,
    who: Me,
    sharing_choice: Annotated[str, Form(alias="sharing")] = "off",
    friend: Annotated[list[str] | None, Form()] = None,
) -> Response:
    """Who may see what one played: nobody, everyone here, or the friends that are ticked."""
    named = friend or ([] if sharing_choice == sharing.FRIENDS else None)  # None keeps those ticked before
    with state.db.write() as db:
        sharing.share(db, who.id, sharing_choice, named)
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
