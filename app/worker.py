"""The second process: leases retrain jobs and runs them, so that pages stay quick while somebody's taste is learnt.

Nothing here imports torch before the engine is needed; app/training.py, which does, is imported with the first job.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from app.db import Database
from app.errors import Cancelled, EarshotError, MusicBrainzProblem
from app.heaps import give_back
from app.lm.asking import CIRCLE
from app.resting import Rest
from app.services import chores, circle_adapter, encoding, listens, musicbrainz, retraining
from app.services.chores import Doing
from app.services.recommending import EngineTypes
from app.tables import Job

if TYPE_CHECKING:
    from app.lm.engine import Engine
    from app.lm.store import AdapterStore

log = logging.getLogger("earshot.worker")

AUTOGROUP = Path("/proc/self/autogroup")  # sched(7)
_NICE = 10  # beside a web process, training takes what the pages leave
_IDLE_SECONDS = 0.5
_LOOK_SECONDS = 0.05
_AGAIN_SECONDS = 5.0  # after something that is likely to fail again at once
_MUSICBRAINZ_AGAIN_SECONDS = 60.0
_CHORES_SECONDS = 2.0
_BASE_AGAIN_SECONDS = 60.0  # before a base that could not be loaded is tried again


def _give_way() -> None:
    """Take what the pages leave. Where the kernel shares by session, niceness counts within one, so ours is set too."""
    os.nice(_NICE)
    with suppress(OSError):
        if AUTOGROUP.exists():
            AUTOGROUP.write_text(str(_NICE), encoding="ascii")


class _Ended(BaseException):
    """The worker was told to stop while it loads the base, which takes seconds and would be for nothing.

    No Exception: libraries catch those while they are imported, and go on.
    """


class Worker:
    """Runs jobs one after another until told to stop."""

    def __init__(
        self, db: Database, store: AdapterStore, open_engine: Callable[[], Engine], kinds: EngineTypes,
        doings: Callable[[Callable[[], Engine]], Mapping[str, Doing]] = lambda engine: {},
        musicbrainz_url: str = "",
        min_songs: int = 12,
        rest: Rest | None = None,
    ) -> None:  # fmt: skip
        """``rest``: of a worker that somebody wakes, and starts anew once it has ended; one without stays as it is."""
        self.db, self.store, self.kinds, self.min_songs = db, store, kinds, min_songs
        self.doings = doings(lambda: self.engine)
        self._chores_at = self._prepares_at = 0.0
        self.owner = retraining.owner_name()
        self.stopping = threading.Event()
        self._open = open_engine
        self._engine: Engine | None = None
        self._loading = False
        self._musicbrainz = musicbrainz.MusicBrainz(musicbrainz_url) if musicbrainz_url else None
        self._rest, self._asks_at = rest, 0.0

    @property
    def engine(self) -> Engine:
        """The base is loaded when it is needed first."""
        if self._rest is not None:
            self._rest.needed()  # also when it cannot be loaded: torch is there by then
        if self._engine is None:
            self._loading = True
            try:
                self._engine = self._open()
            finally:
                self._loading = False
            give_back()
        return self._engine

    def run(self, parent: int | None = None) -> bool:
        """Serve jobs until ``stopping`` is set, or until ``parent`` has gone, as when it was killed.

        True if it ended to rest: there was nothing to do for long, and the next worker is to begin without torch.
        """
        log.info("worker %s is ready", self.owner)
        if parent is not None:
            _give_way()
        swept = False
        while not self.stopping.is_set() and (parent is None or os.getppid() == parent):
            try:
                seen = self.db.changes()  # before the round looks: what comes while it does, wakes it
                with self.db.write() as session:
                    retraining.reclaim(session, self.owner)
                if not swept:
                    self.sweep()
                    swept = True
                self.withdraw()
                if not self.once() and not self.chores() and not self.complete() and not self.prepare():
                    # This round has leased nothing; who clicks from here on is in the queue, for the next worker.
                    if self._rest is not None and self._rest.due():
                        log.info("worker %s had nothing to do; it ends to give memory back", self.owner)
                        return True
                    self._idle(seen)
            except _Ended:
                break
            except EarshotError as problem:
                log.warning("%s", problem)
                self.stopping.wait(_IDLE_SECONDS)
            except (SQLAlchemyError, OSError):  # a lost connection, a full disk: it may be fine again in a while
                log.exception("the worker tries again in %s seconds", _AGAIN_SECONDS)
                self.stopping.wait(_AGAIN_SECONDS)
        return False

    def _idle(self, seen: int | None) -> None:
        """For a while, or until this worker is woken or anybody has committed anything since, such as a click."""
        until = time.monotonic() + _IDLE_SECONDS
        while not self.stopping.wait(_LOOK_SECONDS) and time.monotonic() < until:
            if self.db.changes() != seen or (self._rest is not None and self._rest.look()):
                return

    def sweep(self) -> None:
        """Remove what a kill left on disk that no row speaks of."""
        store = self.store
        store.sweep()
        on_disk = {listener: store.versions(listener) for listener in store.listeners()}
        with self.db.read() as session:
            lost = retraining.orphans(session, on_disk)
        for listener, version in lost:
            log.warning("removing adapter %s/%s, which no row speaks of", listener, version)
            store.remove(listener, version)
        with self.db.write() as session:
            if gone := circle_adapter.without_files(session, store.versions(CIRCLE)):
                log.warning("circle: %s has no files, as after a restored backup; it is trained again", ", ".join(gone))
                circle_adapter.drop(session, gone, self.min_songs)

    def withdraw(self) -> None:
        """Remove versions of the circle's adapter that learnt from somebody who has left, and train it without them."""
        with self.db.read() as session:
            gone = circle_adapter.withdrawn(session)
        if not gone:
            return
        for version in gone:
            self.store.remove(CIRCLE, version)
        with self.db.write() as session:
            circle_adapter.drop(session, gone, self.min_songs)
        log.info("circle: %s withdrawn, somebody has left", ", ".join(gone))

    def chores(self) -> int:
        """Do what is due beside jobs, looking now and then only; returns how many chores were done."""
        if not self.doings or time.monotonic() < self._chores_at:
            return 0
        self._chores_at = time.monotonic() + _CHORES_SECONDS
        with self.db.write() as session:
            chores.schedule(session, self.doings)
        return chores.run_due(self.db, self.doings)

    def once(self, only: str | None = None) -> bool:
        """Run the oldest queued job, or only that one; false if there is none."""
        with self.db.write() as session:
            job = retraining.lease(session, self.owner, only)
        if job is None:
            return False
        log.info("job %s: %s of %s", job.id, job.kind, job.listener_id)
        try:
            self._train(job)
        except (Cancelled, _Ended):
            if self.stopping.is_set():
                with self.db.write() as session:
                    retraining.give_back(session, job.id, self.owner)
            else:
                self._stop(job, "cancelled")
                if job.kind == "circle":
                    self._train_those_left(job)
        except EarshotError as problem:
            self._stop(job, "failed", str(problem))
        except Exception as problem:  # a bug must not take the worker down with it
            log.exception("job %s failed", job.id)
            self._stop(job, "failed", f"{type(problem).__name__}: {problem}")
        if self._rest is not None:
            self._rest.needed()
        give_back()
        return True

    def _train(self, job: Job) -> None:
        engine = self.engine
        from app.training import Training

        Training(self.db, engine, self.kinds, self.owner, self.min_songs, self.stopping.is_set).run(job)

    def _train_those_left(self, job: Job) -> None:
        """Somebody has left, perhaps with their account and the job; but who cancelled it wants no other."""
        with self.db.write() as session:
            row = session.get(Job, job.id)
            if row is None or not row.cancel_asked:
                circle_adapter.drop(session, (), self.min_songs)

    def complete(self) -> bool:
        """Between jobs: ask MusicBrainz for one song, where that is switched on; false if there was nothing to ask."""
        if self._musicbrainz is None or time.monotonic() < self._asks_at:
            return False
        try:
            done = musicbrainz.complete_one(self.db, self._musicbrainz)
        except MusicBrainzProblem as problem:
            log.warning("%s", problem)
            done = None
        if done is None:
            self._asks_at = time.monotonic() + _MUSICBRAINZ_AGAIN_SECONDS
            return False
        song_id, changed = done
        if changed:
            encoding.encode(self.db, self.engine, self.kinds.song_text, [song_id], guess=False)
        return True

    def prepare(self) -> bool:
        """Load the base if somebody may retrain soon: their first retrain then need not wait for it."""
        if self._engine is not None or time.monotonic() < self._prepares_at or not self._may_be_needed():
            return False
        self._prepares_at = time.monotonic() + _BASE_AGAIN_SECONDS
        return self.engine is not None

    def _may_be_needed(self) -> bool:
        """Whether this worker was woken; where nobody wakes it, whether anybody has songs enough to train on."""
        if self._rest is not None:
            woken, self._rest.woken = self._rest.look() or self._rest.woken, False
            return woken
        self._prepares_at = time.monotonic() + _CHORES_SECONDS
        with self.db.read() as session:
            return listens.anybody_with(session, self.min_songs)

    def _stop(self, job: Job, state: str, error: str = "") -> None:
        with self.db.write() as session:
            retraining.stop(session, job.id, self.owner, state, error)

    def stop_on_signals(self) -> None:
        """SIGINT and SIGTERM end the worker after the step it is in, or in the middle of loading the base; a job under
        way is queued again."""

        def stop(_: int, __: FrameType | None) -> None:
            self.stopping.set()
            if self._loading:
                raise _Ended

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
