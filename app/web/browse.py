"""Look around the catalogue: genres, decades, artists, and a page for each song."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app.errors import BadInput
from app.services import browsing, catalogue, genres, hiding, listens, playlists
from app.services.accounts import SignedIn
from app.tables import Song
from app.web.access import Me, Shared
from app.web.encoding_later import encode_soon
from app.web.rendering import State, go, page

router = APIRouter()

_FIRST_ARTISTS = 24
_NEAREST = 8


@router.get("/browse")
def browse(request: Request, state: Shared, who: Me) -> Response:
    with state.db.read() as db:
        return page(
            request, "browse.html", genres=browsing.genres(db), decades=browsing.decades(db), letters=_letters(),
            artists=browsing.artists(db, who.id, size=_FIRST_ARTISTS), songs=catalogue.count(db),
        )  # fmt: skip


def _letters() -> Sequence[str]:
    return (*browsing.LETTERS, browsing.DIGITS, browsing.OTHERS)


@router.get("/artists")
def artists(request: Request, state: Shared, who: Me, letter: str = "", p: int = 1) -> Response:
    with state.db.read() as db:
        found = browsing.artists(db, who.id, letter, p)
    return page(request, "artists.html", found=found, letter=letter, letters=_letters())


@router.get("/genres/{name}")
def genre(request: Request, state: Shared, who: Me, name: str, p: int = 1) -> Response:
    with state.db.read() as db:
        found = browsing.by_genre(db, name, p)
    return page(request, "songs.html", heading=name, found=found)


@router.get("/decades/{decade}")
def decade(request: Request, state: Shared, who: Me, decade: str, p: int = 1) -> Response:
    with state.db.read() as db:
        found = browsing.by_decade(db, decade, p)
    return page(request, "songs.html", heading=f"The {decade.removesuffix('s')}s", found=found)


@router.get("/artists/{key:path}")
def artist(request: Request, state: Shared, who: Me, key: str, p: int = 1) -> Response:
    with state.db.read() as db:
        facts = browsing.artist(db, key)
        found = browsing.songs_of(db, facts.key, p)
        is_hidden = any(one.artist_key == facts.key for one in hiding.hidden(db, who.id))
    return page(request, "artist.html", artist=facts, found=found, hidden=is_hidden)


@router.get("/songs/{song_id}")
def song(request: Request, state: Shared, who: Me, song_id: int) -> Response:
    return _song_page(request, state, who, song_id)


def _song_page(
    request: Request, state: State, who: SignedIn, song_id: int, status: int = 200, error: str = "", written: str = ""
) -> Response:
    with state.db.read() as db:
        shown = catalogue.song(db, song_id)
        near: Sequence[Song] | None = None
        text, pieces = "", list[str]()
        if state.engine.ready:  # facts need not wait for the base
            near = catalogue.nearest(db, state.engine.get(), shown, _NEAREST)
            text = catalogue.texts(db, state.kinds.song_text, [song_id])[0][1]
            pieces = state.engine.get().pieces(text)
        return page(
            request, "song.html", status, song=shown, near=near, error=error, text=text, pieces=pieces,
            written=written if error else ", ".join(shown.genres), players=browsing.who_played(db, who.id, song_id),
            verdict=listens.verdicts(db, who.id).get(song_id, ""), playlists=playlists.of(db, who.id),
        )  # fmt: skip


@router.post("/songs/{song_id}/genres")
def edit_genres(
    request: Request, state: Shared, who: Me, song_id: int, genres_written: Annotated[str, Form(alias="genres")] = ""
) -> Response:
    """Any listener may correct a song's genres; the song is encoded again, since its text has changed."""
    try:
        with state.db.write() as db:
            genres.edit(db, song_id, genres_written)
    except BadInput as problem:
        written = genres_written.encode("utf-8", "replace").decode()[:500]
        return _song_page(request, state, who, song_id, problem.status, str(problem), written)
    encode_soon(state, [song_id])
    return go(f"/songs/{song_id}")
