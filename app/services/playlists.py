"""A listener's playlists: make, fill, order, rename, delete."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.db import alone
from app.errors import BadInput, NotFound
from app.services import catalogue
from app.services.text import clean, is_id, show
from app.tables import Playlist, PlaylistSong, Song

MOST_SONGS = 1000
NAME_MOST = 100


def make(db: Session, listener: str, name: str, songs: Sequence[int] = ()) -> Playlist:
    """A new playlist with some songs in their order. Raises BadInput or NotFound."""
    made = Playlist(listener_id=listener, name=clean(name, "The name of a playlist", most=NAME_MOST))
    db.add(made)
    db.flush()
    add(db, made, songs)
    return made


def own(db: Session, listener: str, playlist_id: str) -> Playlist:
    """A listener's own playlist. Raises NotFound, also for somebody else's."""
    found = db.get(Playlist, playlist_id) if is_id(playlist_id) else None
    if found is None or found.listener_id != listener:
        raise NotFound(f"You have no playlist {show(playlist_id)}.")
    return found


def of(db: Session, listener: str) -> list[tuple[Playlist, int]]:
    """A listener's playlists, newest first, and how many songs each has."""
    rows = db.execute(
        select(Playlist, func.count(PlaylistSong.song_id))
        .outerjoin(PlaylistSong, PlaylistSong.playlist_id == Playlist.id)
        .where(Playlist.listener_id == listener)
        .group_by(Playlist.id)
        .order_by(Playlist.created_at.desc(), Playlist.id)
    )
    return [(playlist, count) for playlist, count in rows]


def songs_of(db: Session, playlist: Playlist) -> list[Song]:
    """The songs of a playlist in its order."""
    order = _order(db, playlist)
    found = catalogue.songs(db, order)
    return [found[song] for song in order if song in found]


def _order(db: Session, playlist: Playlist) -> list[int]:
    mine = select(PlaylistSong.song_id).where(PlaylistSong.playlist_id == playlist.id)
    return list(db.scalars(mine.order_by(PlaylistSong.place, PlaylistSong.song_id)))


def add(db: Session, playlist: Playlist, songs: Sequence[int]) -> int:
    """Put songs at the end; those that are in it stay where they are. Returns how many were new.

    Raises BadInput beyond 1,000 songs, NotFound for a song that is not there.
    """
    alone(db, playlist.id)
    there = _order(db, playlist)
    fresh = [song for song in dict.fromkeys(songs) if song not in set(there)]
    if len(there) + len(fresh) > MOST_SONGS:
        raise BadInput(f"A playlist has at most {MOST_SONGS:,} songs; this would be {len(there) + len(fresh):,}.")
    for song in set(fresh) - set(catalogue.songs(db, fresh)):
        raise NotFound(f"There is no song {song}.")
    _write(db, playlist, there + fresh)
    return len(fresh)


def take_out(db: Session, playlist: Playlist, song: int) -> None:
    """Remove a song from a playlist. Raises NotFound."""
    alone(db, playlist.id)
    _write(db, playlist, _without(db, playlist, song))


def move(db: Session, playlist: Playlist, song: int, to: int) -> None:
    """Put a song at a place, counted from 1; a place past the end is the end. Raises NotFound."""
    alone(db, playlist.id)
    others = _without(db, playlist, song)
    at = max(0, min(to - 1, len(others)))
    _write(db, playlist, [*others[:at], song, *others[at:]])


def _without(db: Session, playlist: Playlist, song: int) -> list[int]:
    order = _order(db, playlist)
    if song not in order:
        raise NotFound(f"The song {song} is not in this playlist.")
    return [other for other in order if other != song]


def _write(db: Session, playlist: Playlist, order: Sequence[int]) -> None:
    mine = db.scalars(select(PlaylistSong).where(PlaylistSong.playlist_id == playlist.id))
    rows = {row.song_id: row for row in mine}
    for song in set(rows) - set(order):
        db.delete(rows[song])
    for place, song in enumerate(order, start=1):
        if song in rows:
            rows[song].place = place
        else:
            db.add(_song_of(playlist, song, place))
    db.flush()


def _song_of(playlist: Playlist, song: int, place: int) -> PlaylistSong:
    return PlaylistSong(playlist_id=playlist.id, song_id=song, listener_id=playlist.listener_id, place=place)


def rename(db: Session, playlist: Playlist, name: str) -> None:
    """Raises BadInput."""
    playlist.name = clean(name, "The name of a playlist", most=NAME_MOST)


def remove(db: Session, playlist: Playlist) -> None:
    """Delete a playlist; its songs stay in the catalogue."""
    db.execute(delete(PlaylistSong).where(PlaylistSong.playlist_id == playlist.id))
    db.delete(playlist)
