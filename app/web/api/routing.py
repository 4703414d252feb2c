"""What the rooms of the JSON API share: the errors that each route may answer, and the document."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi

from app.web.api.shapes import Problem

ROOT = "/api/v1"

_WHEN = {
    400: "The body cannot be read at all.",
    401: "Neither a session nor a good token.",
    403: "The token's scope or your role does not allow this, or a write came from another site.",
    404: "There is no such thing, or it is not yours.",
    409: "It contradicts what is there.",
    413: "The body is too large.",
    422: "A value cannot be taken; the message names it.",
    503: "Busy, or the base is still loading or cannot be used; try again later.",
}
_ABOUT = """Everything that Earshot's pages do, for programs.

Send `Authorization: Token …` with a token of scope *read* for GET, *submit* for what a player does (listens, feedback,
retrains). What changes the account or the circle is for a signed-in browser only, from our own pages.
Times are whole seconds since 1970, UTC."""


def room(prefix: str, tag: str) -> APIRouter:
    """A router of the API whose every route documents the errors that it may answer."""
    errors: dict[int | str, dict[str, Any]] = {
        code: {"model": Problem, "description": why} for code, why in _WHEN.items()
    }
    return APIRouter(prefix=ROOT + prefix, tags=[tag], responses=errors)


def document(app: FastAPI) -> dict[str, Any]:
    """The API's OpenAPI document, without the pages."""
    routes = [route for route in app.routes if getattr(route, "path", ROOT).startswith(ROOT)]
    made = get_openapi(title="Earshot", version="1", description=_ABOUT, routes=routes)
    made["paths"] = {path: found for path, found in made["paths"].items() if path.startswith(ROOT)}
    made.setdefault("components", {})["securitySchemes"] = {
        "token": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "Token …"}
    }
    made["security"] = [{"token": []}]
    return made
