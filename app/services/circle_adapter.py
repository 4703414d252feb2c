"""The circle's adapter: opting in and out, what it learns from, and which version answers.

A version answers only while everybody whom it learnt from is still in the circle. That is read from the rows at every
list and not remembered, so that leaving, or an account's deletion however it is done, withdraws it in the same commit;
the worker then removes its files and, where enough members are left, trains anew without them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from app.db import alone
from app.errors import CircleTooSmall, Forbidden
from app.services import history, listens
from app.services.retraining import QUEUE
from app.tables import Job, Listener, now
from app.tables_circle import CircleMember, CircleVersion

if TYPE_CHECKING:
    from app.lm.asking import Own
    from app.lm.engine import Outcome
    from app.services.recommending import EngineTypes

LEAST = 2
_ACTIVE = ("queued", "running", "evaluated")


# -- opting in and out ------------------------------------------------------------------------------


def join(db: Session, listener_id: str, min_songs: int) -> None:
    """Let the circle's adapter learn from a listener, and answer for them; it is trained with them by itself."""
    alone(db, QUEUE)
    db.get_one(Listener, listener_id).in_circle = True
    _train_again(db, min_songs)


def leave(db: Session, listener_id: str, min_songs: int) -> None:
    """Take a listener out. What was learnt from them answers nobody from this commit on, and is trained without them.

    Call it before an account is deleted too, in the same transaction.
    """
    alone(db, QUEUE)
    db.get_one(Listener, listener_id).in_circle = False
    db.flush()
    job = active_job(db)
    if job is not None and job.state == "queued":
        db.delete(job)  # perhaps the leaver's own
        db.flush()
    elif job is not None:
        job.cancel_asked = True  # it may have read their songs already
    _train_again(db, min_songs)


def _train_again(db: Session, min_songs: int) -> None:
    """Queue a training if there are members enough; one that is under way has read other members than these."""
    db.flush()
    try:
        request(db, min_songs)
    except CircleTooSmall:
        return


def members(db: Session, min_songs: int) -> list[str]:
    """Ids of those from whom the adapter may learn: opted in, with songs enough for a retrain of their own."""
    opted = db.scalars(select(Listener.id).where(Listener.in_circle).order_by(Listener.id))
    return [one for one in opted if listens.songs_liked(db, one) >= min_songs]


# -- jobs -------------------------------------------------------------------------------------------


def active_job(db: Session) -> Job | None:
    """The training that is queued or runs, the queued one first."""
    wanted = select(Job).where(Job.kind == "circle", Job.state.in_(_ACTIVE))
    return db.scalar(wanted.order_by(Job.state != "queued").limit(1))


def request(db: Session, min_songs: int, seed: int = 0) -> Job:
    """Queue a training, or give the one that is queued already. Raises CircleTooSmall."""
    alone(db, QUEUE)
    there = members(db, min_songs)
    if len(there) < LEAST:
        raise CircleTooSmall(len(there), LEAST, min_songs)
    queued = db.scalar(select(Job).where(Job.kind == "circle", Job.state == "queued"))
    if queued is None:
        queued = Job(kind="circle", listener_id=there[0], seed=seed)
        db.add(queued)
        db.flush()
    return queued


def request_as(db: Session, listener_id: str, min_songs: int) -> Job:
    """A member's own word to train. Raises Forbidden for who is not in the circle, and CircleTooSmall."""
    if not db.get_one(Listener, listener_id).in_circle:
        raise Forbidden("Only those who take part may train the circle's adapter.")
    return request(db, min_songs)


def songs(db: Session, kinds: EngineTypes, min_songs: int) -> dict[str, list[Own]]:
    """What the adapter learns from: every member's own songs, no picks."""
    return {
        one: history.read(db, one, kinds.song_text).own(db, kinds.song_text, kinds.own, picks=False)
        for one in members(db, min_songs)
    }


def finish(
    db: Session, job_id: str, owner: str, outcome: Outcome, fingerprint: str, learnt_from: Collection[str]
) -> bool:
    """Record a version with its members, and end its job.

    False if the job is no longer this worker's or somebody has left meanwhile: then nothing was recorded, and the files
    are to be removed.
    """
    job = db.scalar(select(Job).where(Job.id == job_id, Job.lease_owner == owner, Job.state == "running"))
    still = set(db.scalars(select(Listener.id).where(Listener.in_circle, Listener.id.in_(learnt_from))))
    if job is None or still != set(learnt_from):
        return False
    verdict = outcome.verdict
    db.add(
        CircleVersion(
            id=outcome.version, members=len(learnt_from), promoted=verdict.promoted, why=verdict.why,
            base_fingerprint=fingerprint, before=outcome.before.as_dict(), after=outcome.after.as_dict(),
            difference=verdict.difference, low=verdict.low, high=verdict.high, learnt_from=outcome.learnt_from,
            size=outcome.size, seconds=outcome.seconds,
        )
    )  # fmt: skip
    db.flush()
    db.add_all(CircleMember(version_id=outcome.version, listener_id=one) for one in learnt_from)
    job.state, job.phase = ("promoted" if verdict.promoted else "kept"), "done"
    job.losses, job.finished_at, job.lease_owner, job.lease_until = list(outcome.losses), now(), None, None
    return True


# -- versions ---------------------------------------------------------------------------------------


def _complete() -> ColumnElement[bool]:
    """Whether everybody whom a version learnt from is still here and still opted in."""
    still = (
        select(func.count())
        .select_from(CircleMember)
        .join(Listener, Listener.id == CircleMember.listener_id)
        .where(CircleMember.version_id == CircleVersion.id, Listener.in_circle)
    )
    return still.scalar_subquery() == CircleVersion.members


def latest(db: Session) -> CircleVersion | None:
    """The newest version that has learnt from nobody who left, promoted or not."""
    newest = select(CircleVersion).where(_complete()).order_by(CircleVersion.created_at.desc(), CircleVersion.id)
    return db.scalar(newest.limit(1))


def live_version(db: Session, fingerprint: str) -> str | None:
    """The version that answers for members without an own one: the newest promoted one of this base."""
    wanted = select(CircleVersion.id).where(
        _complete(), CircleVersion.promoted, CircleVersion.base_fingerprint == fingerprint
    )
    return db.scalar(wanted.order_by(CircleVersion.created_at.desc(), CircleVersion.id).limit(1))


def withdrawn(db: Session) -> list[str]:
    """Versions that learnt from somebody who has left: their files are to be removed."""
    return list(db.scalars(select(CircleVersion.id).where(~_complete())))


def without_files(db: Session, on_disk: Collection[str]) -> list[str]:
    """Versions whose files are not there, as after a backup was restored."""
    return [version for version in db.scalars(select(CircleVersion.id)) if version not in on_disk]


def drop(db: Session, versions: Collection[str], min_songs: int) -> None:
    """Forget versions whose files are gone, and how they were learnt; train again with those who are in now."""
    db.execute(delete(CircleVersion).where(CircleVersion.id.in_(versions)))
    db.execute(delete(Job).where(Job.kind == "circle", Job.version.in_(versions), Job.state.not_in(_ACTIVE)))
    if active_job(db) is None:
        _train_again(db, min_songs)


# -- for pages --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Status:
    """What the Friends page shows: whether one is in, how many are and how many have songs enough, version and job."""

    mine: bool
    opted: int
    ready: int
    least: int
    version: CircleVersion | None
    job: Job | None


def status(db: Session, listener_id: str, min_songs: int) -> Status:
    """The circle's adapter as one listener sees it."""
    opted = db.scalar(select(func.count()).select_from(Listener).where(Listener.in_circle)) or 0
    mine = db.get_one(Listener, listener_id).in_circle
    return Status(mine, opted, len(members(db, min_songs)), LEAST, latest(db), active_job(db))
