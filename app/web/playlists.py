"""Playlists: save a list, fill, order, hand out as a file."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app.errors import BadInput
from app.services import kept, playlist_files, playlists
from app.web.access import Me, Shared
from app.web.kept import UNWANTED, attachment
from app.web.rendering import go, local_path, page

router = APIRouter(prefix="/playlists")

Text = Annotated[str, Form()]
Number = Annotated[int, Form()]
_WHATEVER = 2**63 - 1  # the largest id a database can be asked for


@router.get("")
def mine(request: Request, state: Shared, who: Me) -> Response:
    with state.db.read() as db:
        return page(request, "playlists.html", playlists=playlists.of(db, who.id))


@router.post("")
def make(state: Shared, who: Me, name: Text = "", list_id: Text = "", song: Number = 0) -> Response:
    """A new playlist: empty, with one song, or with the songs of a kept list."""
    with state.db.write() as db:
        songs = [_song(song)] if song else []
        if list_id:
            came = kept.opened(db, kept.own(db, who.id, list_id))
            songs = [one.song.id for one in came if one.verdict not in UNWANTED]
        made = playlists.make(db, who.id, name, songs).id
    return go(f"/playlists/{made}")


@router.post("/add")
def add_to(state: Shared, who: Me, playlist: Text = "", song: Number = 0, back: Text = "") -> Response:
    """Put a song into the playlist that was chosen from a list."""
    with state.db.write() as db:
        playlists.add(db, playlists.own(db, who.id, playlist), [_song(song)])
    return go(local_path(back, f"/playlists/{playlist}"))


def _song(number: int) -> int:
    if not 0 < number <= _WHATEVER:
        raise BadInput(f"{number} is no song.")
    return number


@router.get("/{playlist_id}")
def one(request: Request, state: Shared, who: Me, playlist_id: str) -> Response:
    with state.db.read() as db:
        shown = playlists.own(db, who.id, playlist_id)
        return page(request, "playlist.html", playlist=shown, songs=playlists.songs_of(db, shown))


@router.post("/{playlist_id}/move")
def move(state: Shared, who: Me, playlist_id: str, song: Number = 0, to: Number = 1) -> Response:
    with state.db.write() as db:
        playlists.move(db, playlists.own(db, who.id, playlist_id), song, to)
    return go(f"/playlists/{playlist_id}#song-{song}")


@router.post("/{playlist_id}/take-out")
def take_out(state: Shared, who: Me, playlist_id: str, song: Number = 0) -> Response:
    with state.db.write() as db:
        playlists.take_out(db, playlists.own(db, who.id, playlist_id), song)
    return go(f"/playlists/{playlist_id}")


@router.post("/{playlist_id}/rename")
def rename(state: Shared, who: Me, playlist_id: str, name: Text = "") -> Response:
    with state.db.write() as db:
        playlists.rename(db, playlists.own(db, who.id, playlist_id), name)
    return go(f"/playlists/{playlist_id}")


@router.post("/{playlist_id}/delete")
def remove(state: Shared, who: Me, playlist_id: str) -> Response:
    with state.db.write() as db:
        playlists.remove(db, playlists.own(db, who.id, playlist_id))
    return go("/playlists")


@router.get("/{playlist_id}/{kind}")
def export(state: Shared, who: Me, playlist_id: str, kind: str) -> Response:
    """The playlist as jspf, xspf or m3u."""
    with state.db.read() as db:
        shown = playlists.own(db, who.id, playlist_id)
        return attachment(playlist_files.write(db, kind, shown.name, shown.created_at, playlists.songs_of(db, shown)))
