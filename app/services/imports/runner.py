"""Runs previews and imports beside the pages, one at a time, and goes on with what a killed process left."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import select, update

from app.db import Database
from app.errors import EarshotError
from app.services import encoding
from app.services.imports.account import Adopt
from app.services.imports.running import Run, Stopped
from app.services.imports.staging import Staging
from app.tables import Song, now
from app.tables_imports import Import

if TYPE_CHECKING:
    from app.lm.engine import Engine
    from app.lm.song_text import SongText

log = logging.getLogger("earshot.imports")

_PART = 2_000
_ENCODING_LEASE = 600  # a part takes a while on a slow machine
_NOT_ENCODED = "Your listens are in, but their new songs cannot be recommended before the next start:"
_KEPT_DAYS = 7  # staged files of a preview that nobody ran


class EngineSource(Protocol):
    """Gives the engine, which may wait for the base to load."""

    def get(self) -> Engine: ...


def own_name() -> str:
    """This process as the holder of an import."""
    return f"{socket.gethostname()}:{os.getpid()}"


def adopter(engine: Engine) -> Adopt:
    """The engine's way to take in a foreign adapter."""
    return engine.store.adopter(
        base=engine.base.files.name, fingerprint=engine.fingerprint, shapes=engine.bank.shapes,
        most_rank=engine.settings.rank,
    )  # fmt: skip


def encode_new_songs(
    db: Database, engine: Engine, write_text: SongText, import_id: str,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> int:  # fmt: skip
    """Encode the songs that an import added, part by part, and guess genres for those without; returns how many."""
    with db.read() as session:
        ids = list(session.scalars(select(Song.id).where(Song.import_id == import_id).order_by(Song.id)))
    encoded = 0
    for start in range(0, len(ids), _PART):
        part = ids[start : start + _PART]
        progress(start, len(ids))
        encoded += encoding.encode(db, engine, write_text, part)
    return encoded


class Runner:
    """One thread that works off imports. The database says what is to do, so a new process finds it again."""

    def __init__(self, db: Database, staging: Staging, write_text: SongText) -> None:
        self.db, self.staging, self.write_text = db, staging, write_text
        self.owner = own_name()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="imports")
        self._stopping = threading.Event()
        self._waiting: set[str] = set()
        self._lock = threading.Lock()

    def submit(self, import_id: str, engine: EngineSource) -> None:
        """Do what the import's state asks for: read it, run it, or encode its songs."""
        with self._lock:
            if import_id in self._waiting or self._stopping.is_set():
                return
            self._waiting.add(import_id)
        self._pool.submit(self._work, import_id, engine)

    def resume(self, engine: EngineSource) -> int:
        """Go on with what a process that is gone left in the middle; returns how many. Sweeps the staging folder."""
        with self.db.read() as session:
            rows = list(session.scalars(select(Import)))
        self.staging.sweep([(row.listener_id, row.id) for row in rows])
        for row in rows:
            if row.state in ("encoding", "done", "undone"):  # a kill came just before they were removed
                self.staging.forget_files(row.listener_id, row.id)
            if row.state == "ready" and row.created_at < now() - _KEPT_DAYS * 86_400:
                self._end(row.id, "failed", "It was not run within a week, so its files were removed.")
        left = [row for row in rows if row.state in ("reading", "running", "encoding") and self._is_free(row)]
        for row in left:
            self._release(row)
            self.submit(row.id, engine)
        return len(left)

    def _release(self, row: Import) -> None:
        """End a gone process's hold, which would else keep us off until its lease has run out."""
        held = (Import.id == row.id, Import.lease_owner == row.lease_owner)
        with self.db.write() as session:
            session.execute(update(Import).where(*held).values(lease_owner=None, lease_until=None))

    def _is_free(self, row: Import) -> bool:
        host, _, process = (row.lease_owner or "").rpartition(":")
        if row.lease_owner in (None, self.owner) or not now() <= (row.lease_until or 0) <= now() + _ENCODING_LEASE:
            return (
                True  # our name at our start: an earlier life of ours. An end beyond any lease: the clock was set back
            )
        if host != self.owner.rpartition(":")[0] or not process.isdigit():
            return False
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False

    def close(self) -> None:
        """Stop after the chunk that is under way; the next process goes on."""
        self._stopping.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def wait(self) -> None:
        """Until everything submitted so far is done."""
        self._pool.submit(lambda: None).result()

    # -- in the thread --------------------------------------------------------------------------

    def _work(self, import_id: str, engine: EngineSource) -> None:
        with self._lock:
            self._waiting.discard(import_id)
        try:
            self._step(import_id, engine)
        except Stopped:
            self._leave(import_id)
        except EarshotError as problem:
            self._end(import_id, "failed", str(problem))
        except Exception:
            log.exception("import %s failed", import_id)
            self._end(import_id, "failed", "Something went wrong on our side. It is written in the log.")

    def _step(self, import_id: str, engine: EngineSource) -> None:
        with self.db.read() as session:
            row = session.get(Import, import_id)
        if row is None:
            return
        run = Run(self.db, self.staging, import_id, self.owner, self._stopping.is_set)
        paths = self.staging.paths(row.listener_id, import_id, row.files)
        if row.state in ("reading", "running") and not paths:
            self._end(import_id, "stopped" if row.step else "failed", "Its files are gone; bring them again.")
            return
        if row.state == "reading":
            run.look(paths)
        elif row.state == "running":
            adopt = adopter(engine.get()) if row.preview.get("account") else None
            run.take(paths, adopt)
            self.staging.forget_files(row.listener_id, import_id)
            self._encode(import_id, engine)
        elif row.state == "encoding":
            self._encode(import_id, engine)

    def _encode(self, import_id: str, engine: EngineSource) -> None:
        with self.db.read() as session:
            row = session.get(Import, import_id)
        if row is None or row.state != "encoding":
            return
        encode_new_songs(self.db, engine.get(), self.write_text, import_id, partial(self._encoded, import_id))
        self._write(import_id, state="done", error="", lease_owner=None, lease_until=None)

    def _encoded(self, import_id: str, done: int, of: int) -> None:
        if self._stopping.is_set():
            raise Stopped
        self._write(import_id, step=done, of=of, error="", lease_owner=self.owner, lease_until=now() + _ENCODING_LEASE)

    def _leave(self, import_id: str) -> None:
        """Asked to stop: by the listener, or because this process ends."""
        with self.db.write() as session:
            row = session.get(Import, import_id)
            if row is None or row.lease_owner not in (None, self.owner):
                return
            row.lease_owner = row.lease_until = None
            if row.stop_asked and row.state == "running":
                row.state = "stopped"

    def _end(self, import_id: str, state: str, error: str) -> None:
        with self.db.write() as session:
            row = session.get(Import, import_id)
            if row is None:
                return
            if row.state == "encoding":  # every row is taken; the next start goes on with the songs
                row.error, row.lease_owner, row.lease_until = f"{_NOT_ENCODED} {error}"[:1000], None, None
                return
            row.state = "stopped" if state == "failed" and row.state == "running" and row.step else state
            row.error, row.finished_at, row.lease_owner, row.lease_until = error[:1000], now(), None, None
            if row.state == "failed":
                self.staging.remove(row.listener_id, import_id)

    def _write(self, import_id: str, **values: Any) -> None:
        """While songs are encoded; the import may be undone meanwhile."""
        still = (Import.id == import_id, Import.state == "encoding")
        with self.db.write() as session:
            session.execute(update(Import).where(*still).values(**values))
