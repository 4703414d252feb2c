"""What an administrator sees of a place: people, links, jobs, chores and storage. No titles of songs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db import alone
from app.errors import Conflict, NotFound
from app.services import retraining
from app.services.text import is_id, show
from app.tables import BrowserSession, Chore, Invite, Job, Listen, Listener, now


@dataclass(frozen=True, slots=True)
class Person:
    """One listener as the administrator sees them."""

    id: str
    name: str
    is_admin: bool
    can_sign_in: bool
    created_at: int
    seen_at: int | None
    listens: int


def people(db: Session) -> list[Person]:
    """Everybody by name, with when they were last seen and how much they logged."""
    last = select(BrowserSession.listener_id, func.max(BrowserSession.seen_at)).group_by(BrowserSession.listener_id)
    seen: dict[str, int] = dict(db.execute(last).all())
    count = select(Listen.listener_id, func.count()).group_by(Listen.listener_id)
    logged: dict[str, int] = dict(db.execute(count).all())
    return [
        Person(who.id, who.name, who.is_admin, who.password_hash is not None, who.created_at, seen.get(who.id),
               logged.get(who.id, 0))
        for who in db.scalars(select(Listener).order_by(Listener.name_key))
    ]  # fmt: skip


def person(db: Session, listener_id: str) -> Listener:
    """Raises NotFound."""
    found = db.get(Listener, listener_id) if is_id(listener_id) else None
    if found is None:
        raise NotFound(f"There is no listener {show(listener_id)}.")
    return found


def set_administrator(db: Session, listener_id: str, is_admin: bool) -> None:
    """Make somebody an administrator, or take it from them. Raises NotFound, or Conflict for the last one."""
    alone(db, "administrators")  # else two could take it from each other at once, and none would be left
    found = person(db, listener_id)
    others = select(func.count()).where(Listener.is_admin, Listener.id != found.id)
    if not is_admin and not db.scalar(others):
        raise Conflict("Somebody must be administrator; make another one first.")
    found.is_admin = is_admin


def invites(db: Session) -> list[tuple[Invite, str]]:
    """Links that can still be used, with the name of who made each."""
    wanted = select(Invite, Listener.name).outerjoin(Listener, Listener.id == Invite.made_by)
    rows = db.execute(wanted.where(Invite.used_at.is_(None), Invite.expires_at >= now()).order_by(Invite.created_at))
    return [(invite, name or "the shell") for invite, name in rows]


def end_invite(db: Session, key: str) -> None:
    """End a link by the first digits of its hash. Raises NotFound."""
    found = [invite for invite, _ in invites(db) if invite.token_hash[:16] == key]
    if not found:
        raise NotFound(f"There is no open link {show(key)}.")
    db.delete(found[0])


def jobs(db: Session, most: int = 50) -> list[tuple[Job, str]]:
    """The newest retrains, with whose they are."""
    wanted = select(Job, Listener.name).join(Listener, Listener.id == Job.listener_id)
    return [(job, name) for job, name in db.execute(wanted.order_by(Job.created_at.desc()).limit(most))]


def cancel(db: Session, job_id: str) -> None:
    """Stop a job, or (by a person's id) somebody's own retrain. Raises NotFound."""
    job = db.get(Job, job_id) if is_id(job_id) else None
    if job is not None:
        retraining.cancel_job(job)
    else:
        retraining.cancel(db, person(db, job_id).id)


def chores(db: Session) -> Sequence[Chore]:
    """What the worker does now and then, and how it went."""
    return db.scalars(select(Chore).order_by(Chore.name)).all()


def storage(places: Sequence[tuple[str, Path]]) -> list[tuple[str, int]]:
    """Bytes below each place, and what is free on the first one's disk."""
    sizes = [(name, sum(_size(f) for f in path.rglob("*")) if path.is_dir() else _size(path)) for name, path in places]
    return [*sizes, ("free on the disk", shutil.disk_usage(places[0][1]).free)]


def _size(file: Path) -> int:
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:  # gone in this moment
        return 0
