"""Take plays that players submit: each becomes a listen, is known already, or waits as a soft duplicate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from app.services import catalogue
from app.services.counting import how_it_ended, may_be_same, window
from app.tables import Listen, now
from app.tables_imports import SoftDuplicate
from app.tables_players import Recording


@dataclass(frozen=True, slots=True)
class Play:
    """One play as a player tells it; texts are cleaned and times checked already."""

    artist: str
    title: str
    at: int | None = None
    album: str | None = None
    duration_ms: int | None = None
    played_ms: int | None = None
    mbid: str | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one play. "known": told before at that second. "repeats": another source told it."""

    song_id: int
    became: Literal["listen", "known", "repeats"]
    new_song: bool


def submit(db: Session, listener_id: str, plays: Sequence[Play], source: str) -> list[Taken]:
    """Take plays of one listener from one source, in one transaction. Submitting them again adds nothing.

    A play that another source told already (counting.may_be_same) is kept as a soft duplicate that does not count.
    """
    songs: dict[tuple[str, str], tuple[int, bool]] = {}
    taken = []
    for play in sorted(plays, key=lambda play: play.at or 0):
        named = (play.artist, play.title)
        is_new = named not in songs
        if is_new:
            song, added = catalogue.find_or_add(db, play.artist, play.title, source="log")
            songs[named] = (song.id, added)
        song_id, added = songs[named]
        if play.mbid:
            note_recording(db, play.mbid, song_id)
        taken.append(Taken(song_id, _take(db, listener_id, song_id, play, source), added and is_new))
    return taken


def _take(
    db: Session, listener_id: str, song_id: int, play: Play, source: str
) -> Literal["listen", "known", "repeats"]:
    at = now() if play.at is None else play.at
    values: dict[str, Any] = {
        "listener_id": listener_id, "song_id": song_id, "listened_at": at, "source": source, "album": play.album,
        "ended": how_it_ended(play.played_ms, play.duration_ms), "duration_ms": play.duration_ms,
        "played_ms": play.played_ms,
    }  # fmt: skip
    near = _nearby(db, listener_id, song_id, at, play.duration_ms)
    if any(listen.listened_at == at for listen in near):
        return "known"
    for listen in near:
        length = play.duration_ms or listen.duration_ms
        if listen.source != source and listen.listened_at and may_be_same(at, listen.listened_at, length):
            _insert(db, SoftDuplicate, {**values, "repeats_id": listen.id})
            return "repeats"
    _insert(db, Listen, values)
    return "listen"


def _nearby(db: Session, listener_id: str, song_id: int, at: int, duration_ms: int | None) -> Sequence[Listen]:
    around = window(duration_ms if duration_ms else 3_600_000)
    wanted = select(Listen).where(
        Listen.listener_id == listener_id,
        Listen.song_id == song_id,
        Listen.listened_at.between(at - around, at + around),
    )
    return db.scalars(wanted).all()


def _insert(db: Session, table: type[Listen] | type[SoftDuplicate] | type[Recording], values: dict[str, Any]) -> None:
    """Two requests may bring the same play at once: the second changes nothing."""
    insert = sqlite_insert if db.get_bind().dialect.name == "sqlite" else postgresql_insert
    db.execute(insert(table).values(**values).on_conflict_do_nothing())


def note_recording(db: Session, mbid: str, song_id: int) -> None:
    """Remember that a MusicBrainz recording is that song; the first word on a recording stands."""
    _insert(db, Recording, {"mbid": mbid, "song_id": song_id})


def recording_ids(db: Session, song_ids: Iterable[int]) -> dict[int, str]:
    """A MusicBrainz recording of each song that has one."""
    rows = db.execute(select(Recording.song_id, Recording.mbid).where(Recording.song_id.in_(list(song_ids))))
    return {row.song_id: row.mbid for row in rows}


def song_of(db: Session, mbid: str) -> int | None:
    """The song that a MusicBrainz recording is known to be."""
    return db.scalar(select(Recording.song_id).where(Recording.mbid == mbid))
