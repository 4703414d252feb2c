"""What is wrong with a place, and how to mend it: the checks of `earshot doctor`."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import make_url, select, text
from sqlalchemy.exc import SQLAlchemyError

from app.db import Database
from app.errors import AdapterProblem, CannotWrite, DatabaseDamaged
from app.services import preparing
from app.tables import AdapterVersion, Chore, Job, Listener, now

if TYPE_CHECKING:
    from app.lm.engine import Engine

_LOW_BYTES = 500 << 20
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, whether it is well, what was found, and how to mend it if it is not."""

    what: str
    is_well: bool
    said: str
    mend: str = ""


def folder(path: Path) -> Finding:
    """Whether we may write in a folder, and whether its disk has room."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as stream:
            stream.write(b"x")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as problem:
        return Finding(
            f"folder {path}", False, f"cannot be written: {problem.strerror}", "Give its owner the right to."
        )
    free = shutil.disk_usage(path).free
    mend = "" if free > _LOW_BYTES else "Make room: backups, imports and retrains need some."
    return Finding(f"folder {path}", free > _LOW_BYTES, f"writable, {free / (1 << 30):.1f} GiB free", mend)


_RESTORE = "Stop Earshot, move the file away, and run `earshot restore` with your newest backup (data/backups/)."


def check_file(url: str) -> None:
    """SQLite's quick check of the file behind a URL, before anything else opens it. Raises DatabaseDamaged."""
    location = make_url(url)
    file = Path(location.database or "")
    if location.get_backend_name() != "sqlite" or not file.is_file() or not file.stat().st_size:
        return
    try:
        with closing(sqlite3.connect(file, timeout=15)) as db:
            said = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as problem:
        if "readonly" in str(problem) or "unable to open" in str(problem) or "locked" in str(problem):
            return  # a matter of rights or of patience, not of damage
        said = str(problem)
    except sqlite3.DatabaseError as problem:
        said = str(problem)
    if said != "ok":
        raise DatabaseDamaged(f"The database {file} is damaged ({said}). Nothing of it was changed. {_RESTORE}")


def database(url: str) -> Iterator[Finding]:
    """The file, its schema, and what its rows say of jobs, chores and people."""
    try:
        check_file(url)
        opened = Database(url)
        with opened.read() as db:
            found = db.scalar(text("SELECT version_num FROM alembic_version"))
        opened.close()
    except DatabaseDamaged as problem:
        yield Finding("database", False, str(problem), _RESTORE)
        return
    except CannotWrite as problem:
        yield Finding("database", False, str(problem), "Give the owner of its folder the right to write, and room.")
        return
    except SQLAlchemyError as problem:
        yield Finding("database", False, f"cannot be read: {problem.__cause__ or problem}", "Run `earshot setup`.")
        return
    newest = preparing.revisions()[-1]
    yield Finding("database", True, "opens and passes its own check")
    yield Finding("schema", found == newest, f"revision {found} of {newest}", "" if found == newest else _OLD)
    if found == newest:
        opened = Database(url)
        yield from (_administrator(opened), _jobs(opened), *_chores(opened))
        opened.close()


_OLD = "Run `earshot setup`; if the revision is newer than this Earshot, install the newer one."


def _administrator(opened: Database) -> Finding:
    with opened.read() as db:
        there = db.scalar(select(Listener.id).where(Listener.is_admin).limit(1)) is not None
    return Finding(
        "administrator", there, "there is one" if there else "there is none yet", "" if there else "Open it."
    )


def _jobs(opened: Database) -> Finding:
    with opened.read() as db:
        lost = db.scalars(select(Job.id).where(Job.state.in_(("running", "evaluated")), Job.lease_until < now())).all()
        waiting = db.scalars(select(Job.id).where(Job.state == "queued", Job.created_at < now() - 3600)).all()
    said = f"{len(lost)} left by a worker that died, {len(waiting)} queued for over an hour"
    return Finding("jobs", not lost and not waiting, said, "Is a worker running? `earshot serve` starts one.")


def _chores(opened: Database) -> Iterator[Finding]:
    with opened.read() as db:
        for chore in db.scalars(select(Chore).order_by(Chore.name)):
            late = chore.due_at is not None and chore.due_at < now() - _DAY
            said = chore.error or ("is late by more than a day" if late else chore.said or "not due yet")
            yield Finding(f"chore {chore.name}", not chore.error and not late, said, "See the worker's log.")


def vectors(engine: Engine) -> Finding:
    """Whether the catalogue's vectors are as they were written."""
    damaged = engine.vectors.check()
    again = "Run `earshot catalogue encode --again`. Until then lists are wrong or cannot be made; the rest works."
    said = f"{len(damaged)} of {engine.encoded() if not damaged else 'the'} songs are damaged"
    return Finding("catalogue vectors", not damaged, said, again)


def adapters(opened: Database, engine: Engine) -> Iterator[Finding]:
    """Whether each live adapter is whole and of this base."""
    for listener, version, fingerprint in versions(opened):
        try:
            engine.store.read(listener, version, engine.fingerprint, engine.bank.shapes)
            yield Finding(f"adapter {listener}/{version}", True, "whole, and of this base")
        except AdapterProblem as problem:
            other = "" if fingerprint == engine.fingerprint else " It was trained on another base."
            mend = "The base answers for them until they retrain, or restore it from a backup."
            yield Finding(f"adapter {listener}/{version}", False, f"{problem}{other}", mend)


def versions(opened: Database) -> list[tuple[str, str, str]]:
    """(listener id, version, base fingerprint) of every live version."""
    with opened.read() as db:
        wanted = select(Listener.id, AdapterVersion.id, AdapterVersion.base_fingerprint)
        live = wanted.join(AdapterVersion, AdapterVersion.id == Listener.live_version)
        return [(listener, version, base) for listener, version, base in db.execute(live)]
