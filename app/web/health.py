"""Is the process up? For containers and supervisors."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from sqlalchemy import text

from app.web.access import Shared

router = APIRouter()


@router.get("/healthz")
def healthz(state: Shared) -> dict[str, Any]:
    """200 while pages and database answer; ``base`` tells whether lists can be made yet."""
    with state.db.read() as db:
        db.execute(text("SELECT 1"))
    return {"status": "ok", "base": "loaded" if state.engine.ready else "loading"}
