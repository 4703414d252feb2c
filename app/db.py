"""Engine and pragmas, and the two ways to talk to the database: ``read`` and ``write``."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DatabaseError, IntegrityError, NoResultFound, OperationalError
from sqlalchemy.orm import Session

from app.errors import CannotWrite, Conflict, DatabaseDamaged, NotFound, TooBusy

_BUSY_SECONDS = 15
# Two counts that only grow: what triggers saw, and how many songs and listens there ever were (SQLite's own count).
_LIST_CHANGES = (
    "SELECT (SELECT coalesce(max(number), 0) FROM list_changes)"
    " + (SELECT coalesce(sum(seq), 0) FROM sqlite_sequence WHERE name IN ('listens', 'songs'))"
)


class Database:
    """One database. A write takes SQLite's write lock at BEGIN, so that it never fails half-way for being late."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite and self.url.database and self.url.database != ":memory:":
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        arguments: dict[str, Any] = {"timeout": _BUSY_SECONDS} if self.is_sqlite else {}
        self.engine: Engine = create_engine(
            self.url, connect_args=arguments, pool_size=20, max_overflow=20,
            pool_use_lifo=True,  # one after another, all find the connection whose cache is warm
            hide_parameters=True,  # an error's text goes to the log, where no song and no name may stand
        )  # fmt: skip
        if self.is_sqlite:
            event.listen(self.engine, "connect", _on_connect)
            event.listen(self.engine, "begin", _on_begin)
        self._writing = self.engine.execution_options(immediate=True)
        self._light = self.engine.execution_options(immediate=True, light=True)
        self._many = self.engine.execution_options(immediate=True, many=True)
        self._watching: Any = None  # a connection of its own, on which nothing is ever written
        self._watched = 0  # connections so far: each counts from the start
        self._watch_lock = threading.Lock()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one moment of the database and changes nothing. Raises as ``write`` does."""
        with _named(), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self, *, light: bool = False, many: bool = False) -> Iterator[Session]:
        """One transaction: committed at the end, rolled back on any exception.

        light: nobody waits for the disk, and a power cut, though no kill, may undo it as a whole. many: one of many
        that write many rows, with more pages in RAM and fewer copied from the log meanwhile. Raises TooBusy
        without the lock, CannotWrite on a full or read-only disk, DatabaseDamaged for a broken file, Conflict if
        another has just written what contradicts it.
        """
        engine = self._light if light else self._many if many else self._writing
        with _named(), Session(engine, expire_on_commit=False) as session, session.begin():
            yield session

    def changes(self) -> int | None:
        """A number that differs from an earlier one if any process committed anything in between; None if unknown."""
        with self._watch_lock:
            found = self._glance("PRAGMA data_version")
            return None if found is None else (self._watched << 32) + found

    def list_changes(self) -> int | None:
        """The same for what lists are made of, and nothing else; see ``tables_lists.ListChanges``."""
        with self._watch_lock:
            return self._glance(_LIST_CHANGES)

    def _glance(self, statement: str) -> int | None:
        """One number as of this moment; None where it cannot be had, which on PostgreSQL is always."""
        if not self.is_sqlite or self.url.database in (None, "", ":memory:"):
            return None
        try:
            if self._watching is None:
                self._watching = self.engine.raw_connection()
                self._watching.detach()
                self._watched += 1
            found: int = self._watching.cursor().execute(statement).fetchall()[0][0]
        except (sqlite3.Error, DatabaseError):
            self._stop_watching()
            return None
        return found

    def _stop_watching(self) -> None:
        watching, self._watching = self._watching, None
        if watching is not None:
            with suppress(sqlite3.Error, DatabaseError):
                watching.close()

    def outside_transaction(self, statement: str) -> list[tuple[Any, ...]]:
        """Run what SQLite refuses inside a transaction; gives its rows. Raises TooBusy."""
        connection = self.engine.raw_connection()
        try:
            return list(connection.cursor().execute(statement).fetchall())
        except sqlite3.OperationalError as problem:
            kind = TooBusy if "locked" in str(problem) or "busy" in str(problem) else CannotWrite
            raise kind(f"The database cannot be rewritten now: {problem}.") from problem
        finally:
            connection.close()

    def close(self) -> None:
        """Give all connections back."""
        with self._watch_lock:
            self._stop_watching()
        self.engine.dispose()


def alone(session: Session, what: str) -> None:
    """Until the transaction ends, whoever else asks for the same waits: for what is read first and written then.

    SQLite's writes are alone anyway; on PostgreSQL it is an advisory lock.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(hashtext(:what))"), {"what": what})


_BUSY = ("locked", "busy", "deadlock")
_CANNOT = ("disk is full", "readonly", "disk I/O error", "unable to open")
_GONE = "This, or whom it belongs to, is not there any more; nothing was done."
_TAKEN = "Something else was changed in this very moment; please look and try again."
_DAMAGED = ("malformed", "not a database")


@contextmanager
def _named() -> Iterator[None]:
    """The database's complaints of lock, disk, file, and of what went meanwhile, as our own errors."""
    try:
        yield
    except NoResultFound as problem:  # get_one: an account that was deleted while its own request was under way
        raise NotFound(_GONE) from problem
    except IntegrityError as problem:
        said = str(problem.orig).lower()
        if "foreign key constraint" in said:
            raise NotFound(_GONE) from problem
        if "unique constraint" in said:
            raise Conflict(_TAKEN) from problem
        raise  # a row that never may be: a bug
    except DatabaseError as problem:
        said = str(problem.orig)
        if isinstance(problem, OperationalError) and any(word in said for word in _BUSY):
            raise TooBusy("The database is busy; please try again in a moment.") from problem
        if any(words in said for words in _CANNOT):
            raise CannotWrite(f"The database cannot be written ({said}); nothing was changed.") from problem
        if any(words in said for words in _DAMAGED):
            raise DatabaseDamaged(f"The database is damaged ({said}). `earshot doctor` says how to go on.") from problem
        raise


# KiB of pages in RAM, and pages in the log after which they are copied to the file. Of the first there may be forty;
# the system keeps the file's pages once. With many rows to write a page is met again before it would be written.
_USUAL = ("cache_size=-4000", "wal_autocheckpoint=1000")
_MANY = ("cache_size=-32000", "wal_autocheckpoint=16000")


def _on_connect(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy says BEGIN itself, below
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "secure_delete=ON",
        f"busy_timeout={_BUSY_SECONDS * 1000}",
        "temp_store=MEMORY",
        *_USUAL,
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    pragmas = _MANY if options.get("many", False) else _USUAL
    if connection.info.setdefault("pragmas", _USUAL) is not pragmas:
        for pragma in pragmas:
            connection.exec_driver_sql(f"PRAGMA {pragma}")
        connection.info["pragmas"] = pragmas
    if options.get("immediate", False):
        connection.exec_driver_sql(f"PRAGMA synchronous={'NORMAL' if options.get('light', False) else 'FULL'}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("BEGIN")
