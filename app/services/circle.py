"""What the circle plays, as far as each lets it be seen."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.services.sharing import visible
from app.tables import Listen, Listener, Song, now

_DAYS = 30


@dataclass(frozen=True, slots=True)
class Heard:
    """A song that a friend played, and when last."""

    friend: str
    song: Song
    at: int


def lately(db: Session, listener: str, most: int = 6, each: int = 2) -> list[Heard]:
    """What others played within a month and let this listener see, newest first, ``each`` songs a friend."""
    last = func.max(Listen.listened_at).label("at")
    played = (
        select(Listen.listener_id, Listen.song_id, last)
        .where(
            Listen.listener_id.in_(visible(listener)), Listen.listener_id != listener, Listen.ended == "played",
            Listen.listened_at > now() - _DAYS * 86_400,
        )
        .group_by(Listen.listener_id, Listen.song_id)
        .subquery()
    )  # fmt: skip
    turn = func.row_number().over(partition_by=played.c.listener_id, order_by=played.c.at.desc()).label("turn")
    newest = select(played, turn).subquery()
    rows = db.execute(
        select(Listener.name, Song, newest.c.at)
        .join(Song, Song.id == newest.c.song_id)
        .join(Listener, Listener.id == newest.c.listener_id)
        .where(newest.c.turn <= each)
        .order_by(newest.c.at.desc(), Song.id)
        .limit(most)
    )
    return [Heard(name, song, at) for name, song, at in rows]
