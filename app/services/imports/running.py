"""An import's life: read for a preview, run, gone on with after a stop or a kill, done.

The database knows at each moment how many rows are done, in the same transaction that took them. Readers give the same
rows each time, so going on means passing over those.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db import Database
from app.errors import BadInput, Conflict
from app.services import importing
from app.services.imports import account, previewing
from app.services.imports.detecting import Source
from app.services.imports.members import opened
from app.services.imports.reporting import ImportReport, as_csv
from app.services.imports.rows import Item
from app.services.imports.staging import Staging
from app.services.imports.undoing import own_import
from app.services.listens import check_time
from app.services.plain_format import Dropped, Row
from app.tables import Song, now
from app.tables_imports import Import

LEASE_SECONDS = 60
MOST_SHIFT = 14 * 60
Paths = Sequence[tuple[str, Path]]


class Stopped(Exception):
    """The import was asked to stop, or another process has it."""


def begin(db: Session, listener: str, way: str, name: str = "") -> Import:
    """A new import whose files are still to come."""
    made = Import(listener_id=listener, way=way, name=name[:200], state="reading")
    db.add(made)
    db.flush()
    return made


def mine(db: Session, listener: str, most: int = 50) -> list[Import]:
    """A listener's imports, newest first."""
    wanted = select(Import).where(Import.listener_id == listener)
    return list(db.scalars(wanted.order_by(Import.created_at.desc(), Import.id).limit(most)))


def discard_staged(db: Session, staging: Staging, listener: str) -> None:
    """Forget previews that were never run: a listener has one at a time."""
    unused = select(Import).where(Import.listener_id == listener, Import.state.in_(("reading", "ready")))
    for made in db.scalars(unused):
        discard(db, staging, listener, made.id)


def discard(db: Session, staging: Staging, listener: str, import_id: str) -> None:
    """Remove an import that has brought nothing. Raises NotFound or Conflict."""
    made = own_import(db, listener, import_id)
    if made.state not in ("reading", "ready", "undone") and not (made.state == "failed" and not made.step):
        raise Conflict(f"This import is {made.state}; undo it first.")
    db.delete(made)
    staging.remove(listener, import_id)


def start(db: Session, listener: str, import_id: str, shift_minutes: int | None = None) -> Import:
    """Queue a previewed import to run, or one that stopped to go on. Raises NotFound, Conflict, BadInput."""
    made = own_import(db, listener, import_id)
    if made.state not in ("ready", "stopped"):
        raise Conflict(f"This import is {made.state}; only a previewed or stopped one can run.")
    if shift_minutes is not None and made.state == "ready":
        if abs(shift_minutes) > MOST_SHIFT:
            raise BadInput(f"Times can be shifted by 14 hours at most, not by {shift_minutes} minutes.")
        made.shift_minutes = shift_minutes
    made.state, made.error, made.stop_asked = "running", "", False
    made.lease_owner, made.lease_until = None, None
    return made


def ask_to_stop(db: Session, listener: str, import_id: str) -> Import:
    """Stop after the chunk that is under way. Raises NotFound."""
    made = own_import(db, listener, import_id)
    made.stop_asked = made.state == "running"
    return made


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """One process's hold on one import. ``asked_to_stop`` is asked between chunks."""

    db: Database
    staging: Staging
    import_id: str
    owner: str
    asked_to_stop: Callable[[], bool] = lambda: False

    def look(self, paths: Paths) -> dict[str, Any]:
        """Read everything without taking anything; the preview goes into the import's row. Raises Stopped."""
        made = self._lease("reading")
        seen = previewing.Preview(made.listener_id)
        with opened(paths) as members:
            plan = account.plan(members)
            for source in plan.sources:
                for chunk in importing.chunks_of(_shifted(source, made.shift_minutes)):
                    with self.db.read() as session:
                        seen.look(session, chunk, source)
                    self._beat(step=seen.report.rows)
        facts = seen.facts(plan)
        if not seen.report.rows and plan.account is None:
            raise BadInput(f"{paths[0][0] if paths else 'The upload'} holds no rows.")
        self._beat(state="ready", preview=facts, of=seen.report.rows, step=0, lease_owner=None, lease_until=None)
        return facts

    def take(self, paths: Paths, adopt: account.Adopt | None = None) -> ImportReport:
        """Take the rows that are not done yet. The import is ``encoding`` afterwards, or done if no song is new.

        ``adopt`` brings an adapter of an account zip in. Raises Stopped.
        """
        made = self._lease("running")
        again = ImportReport.again(made.report) if made.step else ImportReport()
        taker, at, seen = importing.Taker(made.listener_id, made.id, again), made.report_bytes, 0
        if not made.step:
            at = self.staging.write_report(made.listener_id, made.id, 0, as_csv((), header=True))
        with opened(paths) as members:
            plan = account.plan(members)
            for source in plan.sources:
                for chunk in importing.chunks_of(_shifted(source, made.shift_minutes)):
                    seen += len(chunk)
                    if seen <= made.step:
                        continue
                    fresh = chunk[max(0, len(chunk) - (seen - made.step)) :]
                    at = self._take_chunk(taker, fresh, source, seen, at)
            if plan.account is not None:
                self._take_account(plan.account, made, adopt)
        with self.db.read() as session:
            new_song = session.scalar(select(Song.id).where(Song.import_id == made.id).limit(1))
        state = "done" if new_song is None else "encoding"
        self._beat(state=state, finished_at=now(), of=seen, lease_owner=None, lease_until=None)
        return taker.report

    def _take_chunk(self, taker: importing.Taker, chunk: list[Item], source: Source, seen: int, at: int) -> int:
        with self.db.write(many=True) as db:
            self._hold(db)
            untaken = taker.take(db, chunk, source.format, source.name)
            if untaken:
                at = self.staging.write_report(taker.listener, taker.import_id, at, as_csv(untaken))
            importing.heartbeat(
                db, self.import_id, step=seen, report=taker.report.kept(), report_bytes=at,
                lease_until=now() + LEASE_SECONDS,
            )  # fmt: skip
        return at

    def _take_account(self, found: account.Account, made: Import, adopt: account.Adopt | None) -> None:
        with self.db.write() as db:
            self._hold(db)
            brought = account.take(db, made.listener_id, made.id, found, adopt)
            importing.heartbeat(db, self.import_id, brought=brought)

    def _lease(self, state: str) -> Import:
        with self.db.write() as db:
            made = db.get(Import, self.import_id)
            if made is None or made.state != state:
                raise Stopped
            if made.lease_owner not in (None, self.owner) and (made.lease_until or 0) >= now():
                raise Stopped
            made.lease_owner, made.lease_until = self.owner, now() + LEASE_SECONDS
            return made

    def _hold(self, db: Session) -> None:
        """Raises Stopped if the import is no longer this process's, or is to stop."""
        row = db.execute(
            select(Import.lease_owner, Import.stop_asked, Import.state).where(Import.id == self.import_id)
        ).first()
        if row is None or row.lease_owner != self.owner or row.stop_asked or self.asked_to_stop():
            raise Stopped

    def _beat(self, **values: Any) -> None:
        with self.db.write() as db:
            self._hold(db)
            importing.heartbeat(db, self.import_id, **({"lease_until": now() + LEASE_SECONDS} | values))


def _shifted(source: Source, minutes: int) -> Iterator[Item]:
    """Times of a format whose zone nobody documents, moved as the listener said."""
    if not minutes or not source.zone_unknown:
        return source.items()
    return (_moved(item, minutes * 60) for item in source.items())


def _moved(item: Item, seconds: int) -> Item:
    if not isinstance(item, Row) or item.at is None:
        return item
    try:
        return dataclasses.replace(item, at=check_time(item.at + seconds))
    except BadInput as problem:
        return Dropped(item.line, str(problem))
