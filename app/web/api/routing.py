"""What the rooms of the JSON API share: the address, and the errors that each route may answer."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from app.web.api.shapes import Problem

ROOT = "/api/v1"

_WHEN = {
    400: ("The body cannot be read at all.", "BadInput", "The body is no JSON."),
    401: ("Neither a session nor a good token.", "NotSignedIn", "Please sign in first."),
    403: (
        "The token's scope or your role does not allow this, or a write came from another site.", "Forbidden",
        "The token 'Phone' may not read: it was made for submit.",
    ),
    404: ("There is no such thing, or it is not yours.", "NotFound", "There is no song 7."),
    409: ("It contradicts what is there.", "Conflict", "That song is logged at that very second already."),
    413: ("The body is too large.", "EarshotError", "Content Too Large"),
    422: ("A value cannot be taken; the message names it.", "BadInput", "There is no time zone 'Mars'."),
    429: (
        "Too many tries of this kind; try again later.", "TooManyTries",
        "That was tried too often. Please wait 3 minutes.",
    ),
    503: (
        "Busy, or the base is still loading or cannot be used; try again later.", "TooBusy",
        "Too much is asked at this moment; please try again.",
    ),
    507: ("The disk is full, or may not be written.", "CannotWrite", "The disk is full; nothing was changed."),
}  # fmt: skip


def _error(why: str, name: str, message: str) -> dict[str, Any]:
    example = {"error": name, "message": message}
    return {"model": Problem, "description": why, "content": {"application/json": {"example": example}}}


def room(prefix: str, tag: str) -> APIRouter:
    """A router of the API whose every route documents the errors that it may answer."""
    errors: dict[int | str, dict[str, Any]] = {code: _error(*words) for code, words in _WHEN.items()}
    return APIRouter(prefix=ROOT + prefix, tags=[tag], responses=errors)


def files(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """How an answer that is a file is described."""
    schema = {"type": "string", "format": "binary"}
    return {200: {"description": "A file.", "content": {kind: {"schema": schema} for kind in media_types}}}
