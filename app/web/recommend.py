"""Ask for a list."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.services.recommending import WISH_MOST, recommend
from app.web.access import Me, Shared
from app.web.rendering import page

router = APIRouter()


@router.get("/recommend")
def ask(request: Request, state: Shared, who: Me, mode: str = "discover", wish: str = "", part: str = "") -> Response:
    """The page, or with ``part`` only the list, for scripts that replace it after feedback."""
    engine = state.engine.get()
    with state.db.read() as db:
        made = recommend(db, engine, state.kinds, who.id, mode=mode, wish=wish)
    template = "suggestions.html" if part else "recommend.html"
    return page(request, template, made=made, mode=mode, wish=wish.strip(), wish_most=WISH_MOST)
