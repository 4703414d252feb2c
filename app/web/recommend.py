"""Ask for a list, hide an artist; every list that is shown is kept."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse, Response

from app.errors import CannotWrite, NotFound, TooBusy
from app.services import catalogue, hiding, kept, listens
from app.services.accounts import SignedIn
from app.services.recommending import WISH_MOST, Recommended, checked, recommend
from app.tables import HiddenArtist, Listen, Song
from app.web.access import Me, Shared
from app.web.rendering import State, go, local_path, page, templates, wants_json, with_query

log = logging.getLogger("earshot")
router = APIRouter()

Text = Annotated[str, Form()]
WISHES = (
    "rainy Sunday, slow and warm",
    "dancing in the kitchen",
    "old soul for a long drive",
    "quiet piano to read to",
)


@dataclass(frozen=True, slots=True)
class Question:
    """What a list answers, as it stands in the address of the page."""

    mode: str
    wish: str
    adventure: int

    @property
    def address(self) -> str:
        """The page that asks it."""
        asked = {"mode": self.mode, "wish": self.wish, "adventure": self.adventure}
        query = {name: value for name, value in asked.items() if value and value != "discover"}
        return "/recommend" + (f"?{urlencode(query)}" if query else "")


@dataclass(frozen=True, slots=True)
class Said:
    """What was just said of a song or an artist, to be shown with the way back."""

    song: Song | None = None
    verdict: str = ""
    was: str = ""
    artist: HiddenArtist | None = None
    listen: Listen | None = None


@router.get("/recommend")
def ask(
    request: Request, state: Shared, who: Me, mode: str = "discover", wish: str = "", adventure: int = 0,
    part: str = "", said: int = 0, was: str = "clear", hid: str = "", logged: int = 0,
) -> Response:  # fmt: skip
    """The page, or with ``part`` only the list, for scripts that replace it after feedback."""
    question = Question(mode, checked(mode, wish, adventure), adventure)
    if not state.engine.ready and not part:
        return _while_loading(request, state, who, question)
    engine = state.engine.get()

    def shown(db: Session, list_id: str) -> Response:
        return page(
            request, "suggestions.html" if part else "recommend.html", made=made, question=question,
            said=_said(db, who, said, was, hid, logged), wish_most=WISH_MOST, wishes=WISHES, list_id=list_id,
            songs=state.drawn.of(made, question.address, lambda: _songs(made, question)),
        )  # fmt: skip

    with state.db.read() as db:
        made = recommend(
            db, engine, state.kinds, who.id, mode=mode, wish=wish, adventure=adventure, remembered=state.lists,
            friends=state.friends,
        )  # fmt: skip
        if not made.suggestions:
            return shown(db, "")
        there = kept.as_it_stands(db, who.id, **_to_keep(question, made))
        if there is not None:  # asked again: nobody waits for the lock, or for the disk
            return shown(db, there.id)
    list_id = _keep(state, who, question, made)
    with state.db.read() as db:
        return shown(db, list_id)


def _songs(made: Recommended, question: Question) -> str:
    return templates.get_template("suggested.html").render(made=made, here=question.address)


def _to_keep(question: Question, made: Recommended) -> dict[str, Any]:
    return {
        "mode": question.mode, "wish": question.wish, "adventure": question.adventure, "version": made.version,
        "songs": [entry.song.id for entry in made.suggestions],
    }  # fmt: skip


def _keep(state: State, who: SignedIn, question: Question, made: Recommended) -> str:
    """The kept list's id; "" for one that is shown though it cannot be kept just now."""
    try:
        with state.db.write(light=True) as db:
            return kept.keep(db, who.id, **_to_keep(question, made)).id
    except (TooBusy, CannotWrite) as problem:
        log.warning("a list was shown and not kept: %s", problem)
        return ""


def _while_loading(request: Request, state: State, who: SignedIn, question: Question) -> Response:
    """After a start the base takes some seconds: the last list for the same question stands in meanwhile."""
    with state.db.read() as db:
        last = kept.latest(db, who.id, question.mode, question.wish, question.adventure)
        songs = [came for came in kept.opened(db, last) if came.verdict not in ("dislike", "not_now")] if last else []
        return page(request, "loading.html", question=question, songs=songs[:20], made_at=last and last.created_at)


def _said(db: Session, who: SignedIn, song_id: int, was: str, hid: str, logged: int) -> Said | None:
    if logged:
        with suppress(NotFound):  # deleted since: the address outlives it in the history of the browser
            return Said(listen=listens.own_listen(db, who.id, logged))
    if song_id:
        return Said(catalogue.song(db, song_id), listens.verdicts(db, who.id).get(song_id, "clear"), was)
    return next((Said(artist=one) for one in hiding.hidden(db, who.id) if one.artist_key == hid), None)


@router.post("/artists/hide")
def hide(request: Request, state: Shared, who: Me, artist: Text = "", back: Text = "/recommend") -> Response:
    with state.db.write() as db:
        hidden = hiding.hide(db, who.id, artist)
        key = hidden.artist_key
    if wants_json(request):
        return JSONResponse({"artist": key, "hidden": True})
    return go(with_query(local_path(back, "/recommend"), hid=key))


@router.post("/artists/show")
def show_again(request: Request, state: Shared, who: Me, artist: Text = "", back: Text = "/recommend") -> Response:
    with state.db.write() as db:
        hiding.show_again(db, who.id, artist)
    if wants_json(request):
        return JSONResponse({"artist": artist, "hidden": False})
    return go(local_path(back, "/recommend"))
