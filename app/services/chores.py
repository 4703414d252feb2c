"""What is to be done now and then: tidy, back up, shred. The database knows what is due; the worker does it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db import Database, alone
from app.errors import EarshotError
from app.tables import Chore, now

log = logging.getLogger("earshot.chores")

_AGAIN_SECONDS = 60  # after which one that failed is tried again; doubled each time, to a day at most
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Doing:
    """How a chore is done, and how often (seconds); 0: only when asked. ``do`` gives words for the log and the page."""

    do: Callable[[], str]
    every: int = 0


def ask(db: Session, name: str) -> None:
    """Have a chore done as soon as the worker is free."""
    alone(db, "chores")  # on PostgreSQL two may find no row, and only one could add it
    chore = db.get(Chore, name) or Chore(name=name)
    chore.due_at = now()
    db.add(chore)


def schedule(db: Session, doings: Mapping[str, Doing]) -> None:
    """Note when each regular chore is due first: one whole period from now, so that a first start is left alone.

    One that would be due later than it ever may be, since the clock was set back, is due after one period too.
    """
    alone(db, "chores")
    for name, doing in doings.items():
        chore = db.get(Chore, name)
        if chore is None and doing.every:
            db.add(Chore(name=name, due_at=now() + doing.every))
        elif chore is not None and (chore.due_at or 0) > now() + max(doing.every, _DAY):
            chore.due_at = now() + doing.every


def run_due(database: Database, doings: Mapping[str, Doing]) -> int:
    """Do what is due, one after another; returns how many. A failure is noted and tried again later."""
    with database.read() as db:
        due = list(db.scalars(select(Chore.name).where(Chore.due_at <= now(), Chore.name.in_(doings))))
    for name in due:
        _run(database, name, doings[name])
    return len(due)


def _run(database: Database, name: str, doing: Doing) -> None:
    with database.write() as db:
        # Still due, so that a kill loses nothing, but at a time of its own: who asks from here on gets another turn.
        mine = db.get_one(Chore, name).due_at = now() - 1
    try:
        said, error = doing.do(), ""
    except (EarshotError, OSError) as problem:
        said, error = "", f"{type(problem).__name__}: {problem}"
        log.error("chore %s: %s", name, error)
    except Exception as problem:  # a bug, or a library's own: the other chores and jobs go on
        said, error = "", f"{type(problem).__name__}: {problem}"
        log.exception("chore %s failed", name)
    with database.write() as db:
        chore = db.get_one(Chore, name)
        if error:
            chore.failures += 1
            chore.error, due_at = error[:500], now() + min(_AGAIN_SECONDS * 2**chore.failures, _DAY)
        else:
            chore.failures, chore.error, chore.said, chore.done_at = 0, "", said, now()
            due_at = now() + doing.every if doing.every else None
            log.info("chore %s: %s", name, said)
        if chore.due_at == mine:  # else somebody has asked meanwhile
            chore.due_at = due_at
