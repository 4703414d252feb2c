"""One's listens: log, look back, correct, delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import JSONResponse, Response

from app.errors import BadInput, Conflict
from app.services import listens
from app.services.search import search
from app.services.text import show
from app.web.access import Me, Shared
from app.web.encoding_later import encode_soon
from app.web.rendering import go, local_path, page, wants_json, with_query

router = APIRouter(prefix="/listens")

Text = Annotated[str, Form()]
_PAGE = 50


@router.get("")
def mine(request: Request, state: Shared, who: Me, p: int = 1) -> Response:
    number = max(1, min(p, 10**6))
    with state.db.read() as db:
        rows, total = listens.page(db, who.id, number, _PAGE)
        pages = max(1, -(-total // _PAGE))
        if number > pages:  # its last row was deleted, say
            number = pages
            rows, total = listens.page(db, who.id, number, _PAGE)
        verdicts = listens.verdicts(db, who.id)
    return page(request, "listens.html", rows=rows, total=total, number=number, pages=pages, verdicts=verdicts)


def _song_id(text: str) -> int | None:
    if not text.strip():
        return None
    if not text.strip().isascii() or not text.strip().isdigit() or len(text) > 18:
        raise BadInput(f"{show(text)} is no song.")
    return int(text)


@router.get("/new")
def choose(request: Request, state: Shared, who: Me, q: str = "") -> Response:
    """The way to log without scripts: search, then press a song, or log it as free text."""
    with state.db.read() as db:
        found = search(db, q, 12)
    return page(request, "log.html", q=q.encode("utf-8", "replace").decode(), found=found)


@router.post("")
def log(
    request: Request, state: Shared, who: Me, song_id: Text = "", artist: Text = "", title: Text = "", when: Text = "",
    ended: Text = "played", learn: Text = "yes", back: Text = "/",
) -> Response:  # fmt: skip
    at = listens.parse_when(when, who.time_zone)
    try:
        with state.db.write() as db:
            listen, added = listens.log(
                db, who.id, song_id=_song_id(song_id), artist=artist, title=title, at=at, ended=ended,
                learn=learn != "no",
            )  # fmt: skip
        logged = listen.id
    except Conflict:
        if when.strip() or wants_json(request):
            raise
        with state.db.read() as db:  # without scripts a second click is a second form; what is shown is its answer
            logged, added = listens.newest_at(db, who.id, at), False
    if added:
        encode_soon(state, [listen.song_id])
    if wants_json(request):
        return JSONResponse({"listen": logged, "song": listen.song_id, "new_song": added}, 201)
    back = local_path(back, "/")
    return go(with_query(back, logged=logged) if back == "/" or back.startswith("/recommend") else back)


@router.get("/{listen_id}/edit")
def edit_form(request: Request, state: Shared, who: Me, listen_id: int) -> Response:
    with state.db.read() as db:
        listen = listens.own_listen(db, who.id, listen_id)
    return page(request, "listen.html", listen=listen)


@router.post("/{listen_id}/edit")
def edit(
    state: Shared, who: Me, listen_id: int, when: Text = "", ended: Text = "played", learn: Text = "yes"
) -> Response:
    with state.db.write() as db:
        was = listens.own_listen(db, who.id, listen_id).listened_at
        at = listens.parse_when(when, who.time_zone, was) if when.strip() else None
        listens.edit(db, who.id, listen_id, at=at, ended=ended, learn=learn != "no")
    return go("/listens")


@router.post("/{listen_id}/learn")
def learn(state: Shared, who: Me, listen_id: int, learn: Text = "yes", back: Text = "/listens") -> Response:
    """Learn, or do not learn, from this listen."""
    with state.db.write() as db:
        listens.set_learn(db, who.id, listen_id, learn != "no")
    return go(local_path(back, "/listens"))


@router.post("/{listen_id}/delete")
def remove(request: Request, state: Shared, who: Me, listen_id: int, back: Text = "/listens") -> Response:
    with state.db.write() as db:
        listens.remove(db, who.id, listen_id)
    if wants_json(request):
        return JSONResponse({"removed": listen_id})
    return go(local_path(back, "/listens"))
