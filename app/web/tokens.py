"""API tokens: make one (it is shown once), see which there are, revoke."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app.errors import BadInput, Conflict
from app.services import tokens
from app.services.accounts import SignedIn
from app.web.access import Me, Shared
from app.web.players import addressed
from app.web.rendering import State, go, page

router = APIRouter(prefix="/settings/tokens")


def _page(
    request: Request, state: State, who: SignedIn, status: int = 200, token: str = "", name: str = "", error: str = ""
) -> Response:
    with state.db.read() as db:
        mine = tokens.mine(db, who.id)
    players = addressed(str(request.base_url))
    return page(request, "tokens.html", status, mine=mine, token=token, name=name, error=error, players=players)


@router.get("")
def overview(request: Request, state: Shared, who: Me) -> Response:
    return _page(request, state, who)


@router.post("")
def add(
    request: Request, state: Shared, who: Me, name: Annotated[str, Form()] = "",
    scopes: Annotated[list[str] | None, Form()] = None,
) -> Response:  # fmt: skip
    """A new token, shown in this answer and never again."""
    try:
        with state.db.write() as db:
            made, token = tokens.add(db, who.id, name, scopes or [])
    except (BadInput, Conflict) as problem:
        again = name.encode("utf-8", "replace").decode()[:60]
        return _page(request, state, who, problem.status, name=again, error=str(problem))
    return _page(request, state, who, token=token, name=made.name)


@router.post("/{token_id}/revoke")
def revoke(state: Shared, who: Me, token_id: str) -> Response:
    with state.db.write() as db:
        tokens.revoke(db, who.id, token_id)
    return go("/settings/tokens")
