"""The API's own description, as OpenAPI."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi

from app.web.api import (
    account,
    admin,
    blends,
    catalogue,
    circle,
    coming,
    importing,
    learning,
    listening,
    lists,
    playlists,
)
from app.web.api.routing import ROOT
from app.web.rules import ADMIN, LINK, OPEN, RULES, SUBMITS

router = APIRouter()

# One a line, so that two changes that add a room do not meet.
ROOMS = (
    catalogue.router,
    listening.router,
    lists.router,
    playlists.router,
    learning.router,
    circle.router,
    blends.router,
    account.router,
    coming.router,
    importing.router,
    importing.uploads,
    admin.router,
)
_ABOUT = """Everything that Earshot's pages do, for programs.

Send `Authorization: Token …` with a token of scope *read* for GET, *submit* for what a player or a list maker does
(listens, feedback, lists, playlists, retrains, imports). What changes the account or the circle, and what is for an
administrator, is for a signed-in browser only, from our own pages.
Times are whole seconds since 1970, UTC."""


def document() -> dict[str, Any]:
    """The document, without the pages and the players' protocols."""
    routes = [route for room in ROOMS for route in room.routes]
    made = get_openapi(title="Earshot", version="1", description=_ABOUT, routes=routes)
    components = made.setdefault("components", {})
    components["securitySchemes"] = {
        "token": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "Token …"},
        "session": {
            "type": "apiKey", "in": "cookie", "name": "earshot",
            "description": "What POST /api/v1/sessions hands out; over HTTPS it is named __Host-earshot.",
        },
    }  # fmt: skip
    keys = {key.replace(":path}", "}"): key for key in RULES}
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            operation["security"] = _ways_in(keys[f"{method.upper()} {path}"])
    for shape in components["schemas"].values():
        shape.setdefault("examples", [_example(shape, components["schemas"])])
    return made


def _ways_in(key: str) -> list[dict[str, list[str]]]:
    """What lets one in to a route: nothing is asked for, a session, or also a token (access.py holds it)."""
    if RULES[key] in (OPEN, LINK):
        return []
    by_token = RULES[key] is not ADMIN and (key.startswith("GET ") or key in SUBMITS)
    return [{"session": []}, {"token": []}] if by_token else [{"session": []}]


def _example(shape: dict[str, Any], shapes: dict[str, Any]) -> Any:
    """An example of a shape: its own, or one made of those of its parts."""
    if "$ref" in shape:
        return _example(shapes[shape["$ref"].rsplit("/", 1)[1]], shapes)
    if shape.get("examples"):
        return shape["examples"][0]
    for name in ("const", "default"):
        if name in shape:
            return shape[name]
    if "enum" in shape:
        return shape["enum"][0]
    if "anyOf" in shape:
        return _example(shape["anyOf"][0], shapes)
    if "prefixItems" in shape:
        return [_example(one, shapes) for one in shape["prefixItems"]]
    kind = shape.get("type")
    if kind == "object":
        return {name: _example(one, shapes) for name, one in shape.get("properties", {}).items()}
    if kind == "array":
        return [_example(shape["items"], shapes)]
    return _PLAIN.get(str(kind))


_PLAIN: dict[str, Any] = {"string": "…", "integer": 1, "number": 0.5, "boolean": True}


@router.get(f"{ROOT}/openapi.json", include_in_schema=False)
def openapi() -> dict[str, Any]:
    return document()
