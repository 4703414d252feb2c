"""Retrain my taste: jobs in the database, run by the worker, live or not by the gate's verdict."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from app.db import alone
from app.errors import NotFound, TooFewListens
from app.services import history, listens
from app.services.text import show
from app.tables import AdapterVersion, Job, Listener, now
from app.tables_circle import CircleVersion

if TYPE_CHECKING:
    from app.lm.asking import Own
    from app.lm.engine import Outcome
    from app.lm.trainer import Progress
    from app.services.recommending import EngineTypes

LEASE_SECONDS = 30
MOST_ATTEMPTS = 3
ACTIVE = ("queued", "running", "evaluated")
RUNNING = ("running", "evaluated")
QUEUE = "the queue"  # what whoever puts a job into it is alone with
Other = aliased(Job)


def _own(listener_id: str) -> Select[Job]:
    """Jobs that train a listener's own adapter; the circle's are services/circle_adapter.py's."""
    return select(Job).where(Job.listener_id == listener_id, Job.kind == "taste")


def request(db: Session, listener_id: str, min_songs: int, seed: int = 0) -> Job:
    """Queue a retrain. A second click gives the job that is queued already, unless it is being cancelled.

    Raises TooFewListens.
    """
    have = listens.songs_liked(db, listener_id)
    if have < min_songs:
        raise TooFewListens(have, min_songs)
    alone(db, QUEUE)  # on PostgreSQL two clicks may both find nothing queued
    queued = db.scalar(_own(listener_id).where(Job.state.in_(ACTIVE), ~Job.cancel_asked))
    if queued is not None:
        return queued
    job = Job(listener_id=listener_id, seed=seed)
    db.add(job)
    db.flush()
    return job


def latest(db: Session, listener_id: str) -> Job | None:
    """The job that is under way, whatever the clock said when it was asked for; else the newest that has ended."""
    mine = _own(listener_id)
    active = Job.state.in_(ACTIVE)
    newest = ((active & ~Job.cancel_asked).desc(), active.desc(), Job.created_at.desc(), Job.finished_at.desc())
    return db.scalar(mine.order_by(*newest).limit(1))


def cancel(db: Session, listener_id: str) -> Job:
    """Stop a queued job at once, and ask a running one to stop. Raises NotFound."""
    return cancel_job(db.scalar(_own(listener_id).where(Job.state.in_(ACTIVE)).order_by(Job.cancel_asked).limit(1)))


def cancel_job(job: Job | None) -> Job:
    """The same for a job at hand. Raises NotFound for none, and for one that has ended."""
    if job is None or job.state not in ACTIVE:
        raise NotFound("No retrain is running.")
    job.cancel_asked = True
    if job.state == "queued":
        job.state, job.finished_at = "cancelled", now()
    return job


# -- the worker's side ------------------------------------------------------------------------------


def owner_name() -> str:
    """This process as the holder of a lease."""
    return f"{socket.gethostname()}:{os.getpid()}"


def reclaim(db: Session, owner: str) -> int:
    """Queue again what a dead worker left: its lease has run out, or its process on this host is gone."""
    if not _lost(db, owner):
        return 0
    alone(db, QUEUE)
    lost = _lost(db, owner)  # another worker may have looked at the same moment
    for job in lost:
        if job.attempts >= MOST_ATTEMPTS and not job.cancel_asked:
            job.state, job.finished_at = "failed", now()
            job.error = f"The worker stopped in the middle {job.attempts} times."
        else:
            _queue_again(db, job)
        job.lease_owner = job.lease_until = None
        db.flush()  # before the next is looked at: it may be of the same listener
    return len(lost)


def _lost(db: Session, owner: str) -> list[Job]:
    host = owner.rsplit(":", 1)[0]
    wanted = select(Job).where(Job.state.in_(RUNNING)).execution_options(populate_existing=True)
    running = db.scalars(wanted).all()
    for job in running:
        if (job.lease_until or 0) > now() + LEASE_SECONDS:  # the clock was set back; who lives renews it in time
            job.lease_until = now() + LEASE_SECONDS
    return [job for job in running if (job.lease_until or 0) < now() or _is_dead(job.lease_owner, host)]


def _queue_again(db: Session, job: Job) -> None:
    """Put an interrupted job back; one that was to be cancelled, or after which one like it waits, ends instead."""
    alike = (
        Job.kind == "circle" if job.kind == "circle" else (Job.kind == job.kind) & (Job.listener_id == job.listener_id)
    )
    waits = db.scalar(select(Job.id).where(alike, Job.state == "queued", Job.id != job.id).limit(1))
    job.lease_owner = job.lease_until = None
    if job.cancel_asked or waits is not None:
        job.state, job.finished_at = "cancelled", now()
    else:
        job.state, job.phase, job.step, job.loss, job.eta, job.losses = "queued", "", 0, None, None, []


def give_back(db: Session, job_id: str, owner: str) -> None:
    """Put a job back in the queue because its worker was asked to stop; this try does not count."""
    alone(db, QUEUE)
    job = db.scalar(select(Job).where(Job.id == job_id, Job.lease_owner == owner, Job.state == "running"))
    if job is not None:
        _queue_again(db, job)
        job.attempts -= 1


def _is_dead(owner: str | None, host: str) -> bool:
    there, _, pid = (owner or "").rpartition(":")
    if there != host or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def lease(db: Session, owner: str, only: str | None = None) -> Job | None:
    """Take the oldest queued job, if any; ``only`` takes that job or none."""
    alike = and_(Other.kind == Job.kind, or_(Job.kind == "circle", Other.listener_id == Job.listener_id))
    runs = exists().where(alike, Other.state.in_(RUNNING))  # one that is being cancelled ends before the next begins
    wanted = select(Job).where(Job.state == "queued", ~runs).order_by(Job.created_at, Job.id).limit(1)
    if only is not None:
        wanted = wanted.where(Job.id == only)
    if db.get_bind().dialect.name == "postgresql":
        wanted = wanted.with_for_update(skip_locked=True)
    job = db.scalar(wanted)
    if job is None:
        return None
    job.state, job.phase, job.started_at = "running", "reading", now()
    job.attempts += 1
    job.lease_owner, job.lease_until = owner, now() + LEASE_SECONDS
    return job


def heartbeat(db: Session, job_id: str, owner: str, progress: Progress | None, losses: list[float]) -> bool:
    """Keep the lease and show progress; false if the job is to stop: cancelled, taken away, or its listener gone."""
    values: dict[str, Any] = {"lease_until": now() + LEASE_SECONDS}
    if progress is not None:
        values |= {
            "phase": progress.phase, "step": progress.step, "of": progress.of, "loss": progress.loss,
            "eta": progress.eta, "losses": losses,
        }  # fmt: skip
    held = (Job.id == job_id, Job.lease_owner == owner, Job.state.in_(RUNNING))
    db.execute(update(Job).where(*held).values(**values))
    row = db.execute(select(Job.cancel_asked).where(*held)).first()
    return row is not None and not row.cancel_asked


def own_songs(db: Session, listener_id: str, kinds: EngineTypes) -> list[Own]:
    """What an adapter learns from: the listener's own songs, no one else's, no picks."""
    return history.read(db, listener_id, kinds.song_text).own(db, kinds.song_text, kinds.own, picks=False)


def finish(db: Session, job_id: str, owner: str, outcome: Outcome, fingerprint: str) -> bool:
    """Record a version and, if the gate says so, make it the live one: all in one transaction.

    False if the job is no longer this worker's; then nothing was recorded and the version's files are to be removed.
    """
    job = db.scalar(select(Job).where(Job.id == job_id, Job.lease_owner == owner, Job.state == "running"))
    if job is None:
        return False
    number = (
        db.scalar(select(func.max(AdapterVersion.number)).where(AdapterVersion.listener_id == job.listener_id)) or 0
    ) + 1
    verdict = outcome.verdict
    db.add(
        AdapterVersion(
            id=outcome.version, listener_id=job.listener_id, number=number, promoted=verdict.promoted, why=verdict.why,
            base_fingerprint=fingerprint, before=outcome.before.as_dict(), after=outcome.after.as_dict(),
            difference=verdict.difference, low=verdict.low, high=verdict.high, learnt_from=outcome.learnt_from,
            trainable_parameters=outcome.facts.trainable_parameters, base_parameters=outcome.facts.base_parameters,
            size=outcome.size, seconds=outcome.seconds,
        )
    )  # fmt: skip
    if verdict.promoted:
        db.get_one(Listener, job.listener_id).live_version = outcome.version
    job.state, job.phase = ("promoted" if verdict.promoted else "kept"), "done"
    job.losses, job.finished_at, job.lease_owner, job.lease_until = list(outcome.losses), now(), None, None
    return True


def stop(db: Session, job_id: str, owner: str, state: str, error: str = "") -> None:
    """End a job without a version: cancelled or failed."""
    db.execute(
        update(Job)
        .where(Job.id == job_id, Job.lease_owner == owner, Job.state.in_(ACTIVE))
        .values(state=state, error=error[:500], finished_at=now(), lease_owner=None, lease_until=None)
    )


# -- versions ---------------------------------------------------------------------------------------


def versions(db: Session, listener_id: str) -> list[AdapterVersion]:
    """A listener's versions, newest first."""
    mine = select(AdapterVersion).where(AdapterVersion.listener_id == listener_id)
    return list(db.scalars(mine.order_by(AdapterVersion.number.desc())))


def own_version(db: Session, listener_id: str, version: str) -> AdapterVersion:
    """A listener's own version. Raises NotFound, also for somebody else's."""
    found = db.get(AdapterVersion, version) if version.isascii() and version.isalnum() else None
    if found is None or found.listener_id != listener_id:
        raise NotFound(f"You have no version {show(version)}.")
    return found


def go_live(db: Session, listener_id: str, version: str | None) -> None:
    """Make one of the listener's versions answer, or the base (None). Raises NotFound."""
    listener = db.get_one(Listener, listener_id)
    if version is not None:
        own_version(db, listener_id, version)
    listener.live_version = version


def orphans(db: Session, on_disk: dict[str, list[str]]) -> list[tuple[str, str]]:
    """(listener, version) folders that no row speaks of and no active job will: a kill between disk and database."""
    rows = select(AdapterVersion.id), select(CircleVersion.id), select(Job.version).where(Job.state.in_(ACTIVE))
    known = {version for wanted in rows for version in db.scalars(wanted)}
    return [(who, version) for who, found in on_disk.items() for version in found if version not in known]
