"""Lists for several people, and how alike two tastes are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app.errors import BadInput
from app.services import accounts, blends, compatibility
from app.services.text import show
from app.web.access import Me, Seen, Shared
from app.web.rendering import go, page

router = APIRouter()

Texts = Annotated[list[str] | None, Form()]


@router.get("/friends/{person}")
def friend(request: Request, state: Shared, who: Me, other: Seen) -> Response:
    engine = state.engine.get()
    with state.db.read() as db:
        found = compatibility.compare(db, engine, state.kinds, who.id, other.id)
    return page(request, "friend.html", friend=other, found=found)


@router.get("/blends")
def mine(request: Request, state: Shared, who: Me) -> Response:
    with state.db.read() as db:
        people = [person for person in accounts.everyone(db) if person.id != who.id]
        return page(request, "blends.html", people=people, blends=blends.all_of(db, who.id), most=blends.MOST_PEOPLE)


@router.post("/blends")
def start(state: Shared, who: Me, friend: Texts = None, name: Annotated[str, Form()] = "") -> Response:
    with state.db.write() as db:
        made = blends.start(db, who.id, friend or [], name)
    return go(f"/blends/{made.id}")


@router.get("/blends/{blend}")
def one(request: Request, state: Shared, who: Me, blend: str) -> Response:
    with state.db.read() as db:
        shown = blends.of(db, who.id, blend)
    songs = []
    if shown.ready:
        engine = state.engine.get()
        with state.db.read() as db:
            songs = blends.songs(db, engine, state.kinds, who.id, shown.id)
    return page(request, "blend.html", blend=shown, songs=songs)


@router.post("/blends/{blend}/agree")
def agree(state: Shared, who: Me, blend: str) -> Response:
    with state.db.write() as db:
        blends.agree(db, who.id, blend)
    return go(f"/blends/{blend}")


@router.post("/blends/{blend}/leave")
def leave(state: Shared, who: Me, blend: str) -> Response:
    """Say no, or take one's consent back."""
    with state.db.write() as db:
        blends.leave(db, who.id, blend)
    return go("/blends")


@router.post("/blends/{blend}/weights")
def weigh(state: Shared, who: Me, blend: str, person: Texts = None, weight: Texts = None) -> Response:
    """How much each counts: two lists of one length, people and their weights."""
    people, weights = person or [], weight or []
    if len(people) != len(weights):
        raise BadInput(f"{len(people)} people, but {len(weights)} weights.")
    if odd := [w for w in weights if not (w.isascii() and w.isdigit() and len(w) == 1)]:
        raise BadInput(f"Somebody counts 1 to 9, not {show(odd[0])}.")
    with state.db.write() as db:
        blends.weigh(db, who.id, blend, dict(zip(people, map(int, weights), strict=True)))
    return go(f"/blends/{blend}")
