"""What is playing now: told by players, shown to those with whom the listener shares."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from app.services import catalogue
from app.services.sharing import visible
from app.services.submitting import Play
from app.tables import Listener, now
from app.tables_players import NowPlaying

_UNKNOWN_LENGTH_SECONDS = 600
_GRACE_SECONDS = 30
_CLOCK_SECONDS = 60  # by which a clock may be set back without ending what plays


@dataclass(frozen=True, slots=True)
class Playing:
    """What somebody plays at the moment; ``song_id`` if the catalogue has it."""

    listener: str
    is_me: bool
    artist: str
    title: str
    album: str | None
    duration_ms: int | None
    source: str
    since: int
    song_id: int | None


def play_now(db: Session, listener_id: str, play: Play, source: str) -> None:
    """Note what a listener's player says is playing; it is over after the song's length, or ten minutes."""
    length = play.duration_ms // 1000 + _GRACE_SECONDS if play.duration_ms else _UNKNOWN_LENGTH_SECONDS
    values = {
        "artist": play.artist, "title": play.title, "album": play.album, "duration_ms": play.duration_ms,
        "source": source, "since": now(), "until": now() + length,
    }  # fmt: skip
    insert = sqlite_insert if db.get_bind().dialect.name == "sqlite" else postgresql_insert
    statement = insert(NowPlaying).values(listener_id=listener_id, **values)
    db.execute(statement.on_conflict_do_update(index_elements=["listener_id"], set_=values))


def stop(db: Session, listener_id: str) -> None:
    """Nothing is playing any more."""
    db.execute(delete(NowPlaying).where(NowPlaying.listener_id == listener_id))


def in_circle(db: Session, viewer: str) -> list[Playing]:
    """What those play whose plays the viewer may see (sharing.py): oneself first, then by name."""
    return _playing(db, viewer, Listener.id.in_(visible(viewer)))


def of(db: Session, listener_id: str) -> Playing | None:
    """What one listener plays. The caller has asked sharing.py whether it may be seen."""
    found = _playing(db, listener_id, Listener.id == listener_id)
    return found[0] if found else None


def _playing(db: Session, viewer: str, whose: ColumnElement[bool]) -> list[Playing]:
    rows = db.execute(
        select(NowPlaying, Listener).join(Listener, Listener.id == NowPlaying.listener_id)
        .where(NowPlaying.until > now(), NowPlaying.since <= now() + _CLOCK_SECONDS, whose)
        .order_by((Listener.id == viewer).desc(), Listener.name_key)
    ).all()  # fmt: skip
    found = []
    for row, listener in rows:
        song = catalogue.find(db, row.artist, row.title)
        found.append(
            Playing(
                listener.name, listener.id == viewer, row.artist, row.title, row.album, row.duration_ms, row.source,
                row.since, song.id if song else None,
            )
        )  # fmt: skip
    return found
