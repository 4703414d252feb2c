"""What the rooms of the JSON API share: the address, and the errors that each route may answer."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

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
    429: "Too many tries of this kind; try again later.",
    503: "Busy, or the base is still loading or cannot be used; try again later.",
}


def room(prefix: str, tag: str) -> APIRouter:
    """A router of the API whose every route documents the errors that it may answer."""
    errors: dict[int | str, dict[str, Any]] = {
        code: {"model": Problem, "description": why} for code, why in _WHEN.items()
    }
    return APIRouter(prefix=ROOT + prefix, tags=[tag], responses=errors)
