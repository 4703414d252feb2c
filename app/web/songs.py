"""Songs as such: search while typing, and feedback."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from starlette.responses import JSONResponse, Response

from app.services import listens
from app.services.search import search
from app.web.access import Me, Shared
from app.web.rendering import go, local_path, wants_json, with_query

router = APIRouter()


@router.get("/api/songs")
def find(state: Shared, who: Me, q: str = "") -> dict[str, Any]:
    """Songs for what is typed, best first."""
    with state.db.read() as db:
        found = search(db, q, 10)
    return {"songs": [{"id": s.id, "artist": s.artist, "title": s.title, "year": s.year} for s in found]}


@router.post("/songs/{song_id}/feedback")
def feedback(
    request: Request, state: Shared, who: Me, song_id: int, verdict: Annotated[str, Form()] = "",
    back: Annotated[str, Form()] = "/recommend",
) -> Response:  # fmt: skip
    with state.db.write() as db:
        was = listens.say(db, who.id, song_id, verdict)
    if was == verdict:  # said twice, by a double click: Undo must take it back, not say it a third time
        was = "clear"
    if wants_json(request):
        return JSONResponse({"song": song_id, "verdict": verdict, "was": was})
    back = local_path(back, "/recommend")
    # The page of a list then shows what was said, with the way back.
    return go(with_query(back, said=song_id, was=was) if back.startswith("/recommend") else back)
