"""Is the process up, and can it do its work? For containers and supervisors."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, Response

from app.services import preparing
from app.web.access import Shared
from app.web.rendering import State

router = APIRouter()


@router.get("/healthz")
def healthz(state: Shared) -> dict[str, Any]:
    """200 while pages and database answer; ``base`` tells whether lists can be made yet."""
    with state.db.read() as db:
        db.execute(text("SELECT 1"))
    return {"status": "ok", "base": "loaded" if state.engine.ready else "loading"}


@router.get("/readyz")
def readyz(state: Shared) -> Response:
    """200 once everything is there that a listener may ask for; else 503 with what is missing."""
    lacks = missing(state)
    headers = {"Retry-After": "5"} if lacks else {}
    return JSONResponse({"ready": not lacks, "missing": lacks}, 503 if lacks else 200, headers)


def missing(state: State) -> list[str]:
    """What is not there yet of base, database and newest schema."""
    lacks = [] if state.engine.ready else ["base"]
    try:
        with state.db.read() as db:
            found = db.scalar(text("SELECT version_num FROM alembic_version"))
    except SQLAlchemyError:
        return [*lacks, "database"]
    return lacks if found == preparing.revisions()[-1] else [*lacks, "migration"]
