"""Give listens and feedback back to players and programs: windows of time, counts, loved songs."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from app.errors import NotFound
from app.tables import Feedback, Listen, Song

SCORES = {"love": 1, "dislike": -1}


def window(
    db: Session, listener_id: str, *, count: int, before: int | None = None, after: int | None = None
) -> list[Listen]:
    """Dated listens that count, newest first, their songs loaded; times are exclusive.

    With ``after`` those nearest to it are given, so that a reader can go on from the newest that it has.
    """
    wanted = select(Listen).where(
        Listen.listener_id == listener_id, Listen.ended == "played", Listen.listened_at.is_not(None)
    )
    if before is not None:
        wanted = wanted.where(Listen.listened_at < before)
    if after is not None:
        wanted = wanted.where(Listen.listened_at > after)
    order = (Listen.listened_at, Listen.id) if after is not None else (Listen.listened_at.desc(), Listen.id.desc())
    found = list(db.scalars(wanted.order_by(*order).options(joinedload(Listen.song)).limit(count)))
    return found[::-1] if after is not None else found


def ends(db: Session, listener_id: str) -> tuple[int, int]:
    """Times of the newest and the oldest listen; zeros if there is none."""
    mine = (Listen.listener_id == listener_id, Listen.listened_at.is_not(None))
    newest, oldest = db.execute(select(func.max(Listen.listened_at), func.min(Listen.listened_at)).where(*mine)).one()
    return newest or 0, oldest or 0


def total(db: Session, listener_id: str) -> int:
    """How many plays count, undated ones with their number."""
    counted = select(func.sum(Listen.plays)).where(Listen.listener_id == listener_id, Listen.ended == "played")
    return int(db.scalar(counted) or 0)


def scored(
    db: Session, listener_id: str, score: int | None, count: int, offset: int
) -> tuple[Sequence[tuple[Feedback, Song]], int]:
    """Loved (1) or disliked (-1) songs, or both, newest first, and how many there are."""
    verdicts = [verdict for verdict, value in SCORES.items() if score in (None, value)]
    condition = (Feedback.listener_id == listener_id, Feedback.verdict.in_(verdicts))
    number = db.scalar(select(func.count()).select_from(Feedback).where(*condition)) or 0
    wanted = select(Feedback, Song).join(Song, Song.id == Feedback.song_id).where(*condition)
    newest = wanted.order_by(Feedback.created_at.desc(), Feedback.song_id)
    return [(said, song) for said, song in db.execute(newest.offset(offset).limit(count))], number


def scores_of(db: Session, listener_id: str, song_ids: Sequence[int]) -> dict[int, int]:
    """Scores of some songs: 1, -1, or 0."""
    rows = db.execute(
        select(Feedback.song_id, Feedback.verdict).where(
            Feedback.listener_id == listener_id, Feedback.song_id.in_(list(song_ids))
        )
    )
    said = {song_id: SCORES.get(verdict, 0) for song_id, verdict in rows}
    return {song_id: said.get(song_id, 0) for song_id in song_ids}


def remove_at(db: Session, listener_id: str, song_id: int, at: int) -> None:
    """Delete a listener's listen of a song at a time. Raises NotFound."""
    found = db.scalar(
        select(Listen).where(Listen.listener_id == listener_id, Listen.song_id == song_id, Listen.listened_at == at)
    )
    if found is None:
        raise NotFound("There is no such listen.")
    db.delete(found)
