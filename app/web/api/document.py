"""The API's own description, as OpenAPI."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi

from app.web.api import catalogue, circle, importing, learning, listening
from app.web.api.routing import ROOT

router = APIRouter()

ROOMS = (catalogue.router, listening.router, learning.router, circle.router, importing.router, importing.uploads)
_ABOUT = """Everything that Earshot's pages do, for programs.

Send `Authorization: Token …` with a token of scope *read* for GET, *submit* for what a player does (listens, feedback,
retrains). What changes the account or the circle is for a signed-in browser only, from our own pages.
Times are whole seconds since 1970, UTC."""


def document() -> dict[str, Any]:
    """The document, without the pages and the players' protocols."""
    routes = [route for room in ROOMS for route in room.routes]
    made = get_openapi(title="Earshot", version="1", description=_ABOUT, routes=routes)
    made.setdefault("components", {})["securitySchemes"] = {
        "token": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "Token …"}
    }
    made["security"] = [{"token": []}]
    return made


@router.get(f"{ROOT}/openapi.json", include_in_schema=False)
def openapi() -> dict[str, Any]:
    return document()
