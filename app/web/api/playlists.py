"""Playlists: make, fill, order, rename, hand out as files, delete."""

from __future__ import annotations

from starlette.responses import Response

from app.services import kept, playlist_files, playlists
from app.tables import Playlist
from app.web.access import Me, Shared
from app.web.api import shapes_lists as shapes
from app.web.api.routing import files, room
from app.web.api.shapes import song_out
from app.web.kept import UNWANTED, attachment
from app.web.rendering import State

router = room("/playlists", "playlists")


def _opened(state: State, listener: str, playlist_id: str) -> shapes.PlaylistOut:
    with state.db.read() as db:
        found = playlists.own(db, listener, playlist_id)
        songs = [song_out(song) for song in playlists.songs_of(db, found)]
    return shapes.PlaylistOut(id=found.id, name=found.name, created_at=found.created_at, songs=songs)


def _line(found: Playlist, songs: int) -> shapes.PlaylistLineOut:
    return shapes.PlaylistLineOut(id=found.id, name=found.name, created_at=found.created_at, songs=songs)


@router.get("")
def my_playlists(state: Shared, who: Me) -> shapes.PlaylistsOut:
    """Your playlists."""
    with state.db.read() as db:
        return shapes.PlaylistsOut(playlists=[_line(one, songs) for one, songs in playlists.of(db, who.id)])


@router.post("", status_code=201)
def make_playlist(state: Shared, who: Me, wanted: shapes.NewPlaylist) -> shapes.PlaylistOut:
    """A new playlist: the songs of a kept list first, then those that are named."""
    with state.db.write() as db:
        songs: list[int] = []
        if wanted.list_id is not None:
            came = kept.opened(db, kept.own(db, who.id, wanted.list_id))
            songs = [one.song.id for one in came if one.verdict not in UNWANTED]
        made = playlists.make(db, who.id, wanted.name, [*songs, *wanted.songs]).id
    return _opened(state, who.id, made)


@router.get("/{playlist_id}")
def one_playlist(state: Shared, who: Me, playlist_id: str) -> shapes.PlaylistOut:
    """One of your playlists with its songs."""
    return _opened(state, who.id, playlist_id)


@router.patch("/{playlist_id}")
def rename_playlist(state: Shared, who: Me, playlist_id: str, wanted: shapes.PlaylistName) -> shapes.PlaylistOut:
    """Give one of your playlists another name."""
    with state.db.write() as db:
        playlists.rename(db, playlists.own(db, who.id, playlist_id), wanted.name)
    return _opened(state, who.id, playlist_id)


@router.delete("/{playlist_id}", status_code=204)
def delete_playlist(state: Shared, who: Me, playlist_id: str) -> Response:
    """Delete one of your playlists; its songs stay in the catalogue."""
    with state.db.write() as db:
        playlists.remove(db, playlists.own(db, who.id, playlist_id))
    return Response(status_code=204)


@router.post("/{playlist_id}/songs", status_code=201)
def add_song(state: Shared, who: Me, playlist_id: str, wanted: shapes.SongOfPlaylist) -> shapes.PlaylistOut:
    """Put a song at the end."""
    with state.db.write() as db:
        playlists.add(db, playlists.own(db, who.id, playlist_id), [wanted.song_id])
    return _opened(state, who.id, playlist_id)


@router.put("/{playlist_id}/songs/{song_id}")
def move_song(state: Shared, who: Me, playlist_id: str, song_id: int, to: shapes.Place) -> shapes.PlaylistOut:
    """Put a song of the playlist at another place."""
    with state.db.write() as db:
        playlists.move(db, playlists.own(db, who.id, playlist_id), song_id, to.place)
    return _opened(state, who.id, playlist_id)


@router.delete("/{playlist_id}/songs/{song_id}", status_code=204)
def take_song_out(state: Shared, who: Me, playlist_id: str, song_id: int) -> Response:
    """Take a song out of the playlist."""
    with state.db.write() as db:
        playlists.take_out(db, playlists.own(db, who.id, playlist_id), song_id)
    return Response(status_code=204)


@router.get("/{playlist_id}/{kind}", response_class=Response, responses=files(*playlist_files.TYPES.values()))
def playlist_file(state: Shared, who: Me, playlist_id: str, kind: shapes.Kind) -> Response:
    """One of your playlists as a file."""
    with state.db.read() as db:
        found = playlists.own(db, who.id, playlist_id)
        return attachment(playlist_files.write(db, kind, found.name, found.created_at, playlists.songs_of(db, found)))
