"""The second process: leases retrain jobs and runs them, so that pages stay quick while somebody's taste is learnt."""

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

from sqlalchemy.exc import SQLAlchemyError

from app.db import Database
from app.errors import Cancelled, EarshotError, MusicBrainzProblem
from app.heaps import give_back
from app.lm.asking import CIRCLE, Own
from app.lm.circle import train_circle
from app.lm.engine import Engine
from app.lm.store import AdapterStore
from app.lm.trainer import Progress
from app.services import chores, circle_adapter, encoding, listens, musicbrainz, retraining
from app.services.chores import Doing
from app.services.recommending import EngineTypes
from app.tables import Job

log = logging.getLogger("earshot.worker")

_BEAT_SECONDS = 5.0
_SHOW_SECONDS = 0.25
AUTOGROUP = Path("/proc/self/autogroup")  # sched(7)
_NICE = 10  # beside a web process, training takes what the pages leave
_IDLE_SECONDS = 0.5
_LOOK_SECONDS = 0.05
_REST_SECONDS = 5.0  # after something that is likely to fail again at once
_MUSICBRAINZ_REST_SECONDS = 60.0
_CHORES_SECONDS = 2.0
_BASE_REST_SECONDS = 60.0  # before a base that could not be loaded is tried again


def _give_way() -> None:
    """Take what the pages leave. Where the kernel shares by session, niceness counts within one, so ours is set too."""
    os.nice(_NICE)
    with suppress(OSError):
        if AUTOGROUP.exists():
            AUTOGROUP.write_text(str(_NICE), encoding="ascii")


class _Run:
    """One job while it runs: hears progress, keeps the lease, knows whether to stop."""

    def __init__(self, db: Database, job: Job, owner: str) -> None:
        self.db, self.job, self.owner = db, job, owner
        self.progress: Progress | None = None
        self.losses: list[float] = []
        self.stopped = threading.Event()
        self._done = threading.Event()
        self._shown = 0.0
        self._thread = threading.Thread(target=self._beats, daemon=True)

    def __enter__(self) -> _Run:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _beats(self) -> None:
        while not self._done.wait(_BEAT_SECONDS):
            self._beat()

    def _beat(self) -> None:
        try:
            with self.db.write() as session:
                if not retraining.heartbeat(session, self.job.id, self.owner, self.progress, self.losses):
                    self.stopped.set()
        except (EarshotError, SQLAlchemyError) as problem:
            log.warning("heartbeat of job %s: %s", self.job.id, problem)

    def report(self, progress: Progress) -> None:
        """Called by the trainer at every step."""
        changed = self.progress is None or progress.phase != self.progress.phase
        self.progress = progress
        if progress.loss is not None:
            self.losses.append(round(progress.loss, 5))
        if changed or time.monotonic() - self._shown > _SHOW_SECONDS:
            self._shown = time.monotonic()
            self._beat()


class Worker:
    """Runs jobs one after another until told to stop."""

    def __init__(
        self, db: Database, store: AdapterStore, open_engine: Callable[[], Engine], kinds: EngineTypes,
        doings: Callable[[Callable[[], Engine]], Mapping[str, Doing]] = lambda engine: {},
        musicbrainz_url: str = "",
        min_songs: int = 12,
    ) -> None:  # fmt: skip
        self.db, self.store, self.kinds, self.min_songs = db, store, kinds, min_songs
        self.doings = doings(lambda: self.engine)
        self._chores_at = self._prepares_at = 0.0
        self.owner = retraining.owner_name()
        self.stopping = threading.Event()
        self._open = open_engine
        self._engine: Engine | None = None
        self._musicbrainz = musicbrainz.MusicBrainz(musicbrainz_url) if musicbrainz_url else None
        self._rests_until = 0.0

    @property
    def engine(self) -> Engine:
        """The base is loaded when the first job needs it."""
        if self._engine is None:
            self._engine = self._open()
            give_back()
        return self._engine

    def run(self, parent: int | None = None) -> None:
        """Serve jobs until ``stopping`` is set, or until ``parent`` has gone, as when it was killed."""
        log.info("worker %s is ready", self.owner)
        if parent is not None:
            _give_way()
        swept = False
        while not self.stopping.is_set() and (parent is None or os.getppid() == parent):
            try:
                with self.db.write() as session:
                    retraining.reclaim(session, self.owner)
                if not swept:
                    self.sweep()
                    swept = True
                self.withdraw()
                if not self.once() and not self.chores() and not self.complete() and not self.prepare():
                    self._rest()
            except EarshotError as problem:
                log.warning("%s", problem)
                self.stopping.wait(_IDLE_SECONDS)
            except (SQLAlchemyError, OSError):  # a lost connection, a full disk: it may be fine again in a while
                log.exception("the worker tries again in %s seconds", _REST_SECONDS)
                self.stopping.wait(_REST_SECONDS)

    def _rest(self) -> None:
        """For a while, or until anybody commits anything, such as a click on retrain, where the database tells."""
        seen, until = self.db.changes(), time.monotonic() + _IDLE_SECONDS
        while not self.stopping.wait(_LOOK_SECONDS) and time.monotonic() < until:
            if self.db.changes() != seen:
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
            self._train_circle(job) if job.kind == "circle" else self._train(job)
        except Cancelled:
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
        give_back()
        return True

    def _train_those_left(self, job: Job) -> None:
        """Somebody has left, perhaps with their account and the job; but who cancelled it wants no other."""
        with self.db.write() as session:
            row = session.get(Job, job.id)
            if row is None or not row.cancel_asked:
                circle_adapter.drop(session, (), self.min_songs)

    def complete(self) -> bool:
        """Between jobs: ask MusicBrainz for one song, where that is switched on; false if there was nothing to ask."""
        if self._musicbrainz is None or time.monotonic() < self._rests_until:
            return False
        try:
            done = musicbrainz.complete_one(self.db, self._musicbrainz)
        except MusicBrainzProblem as problem:
            log.warning("%s", problem)
            done = None
        if done is None:
            self._rests_until = time.monotonic() + _MUSICBRAINZ_REST_SECONDS
            return False
        song_id, changed = done
        if changed:
            encoding.encode(self.db, self.engine, self.kinds.song_text, [song_id], guess=False)
        return True

    def prepare(self) -> bool:
        """Load the base once somebody has songs enough to train on: their first retrain then need not wait for it."""
        if self._engine is not None or time.monotonic() < self._prepares_at:
            return False
        self._prepares_at = time.monotonic() + _CHORES_SECONDS
        with self.db.read() as session:
            if not listens.anybody_with(session, self.min_songs):
                return False
        self._prepares_at = time.monotonic() + _BASE_REST_SECONDS
        return self.engine is not None

    def _stop(self, job: Job, state: str, error: str = "") -> None:
        with self.db.write() as session:
            retraining.stop(session, job.id, self.owner, state, error)

    def _train(self, job: Job) -> None:
        engine = self.engine
        with _Run(self.db, job, self.owner) as run:
            run.report(Progress("reading", 0, 0, None, None))
            with self.db.read() as session:
                songs: list[Own] = retraining.own_songs(session, job.listener_id, self.kinds)
            encoding.encode(self.db, engine, self.kinds.song_text, [song.id for song in songs], guess=False)
            engine.store.remove(job.listener_id, job.version)  # an earlier try of this job may have got that far
            outcome = engine.train(
                job.listener_id,
                job.version,
                songs,
                seed=job.seed,
                report=run.report,
                cancelled=lambda: run.stopped.is_set() or self.stopping.is_set(),
            )
        with self.db.write() as session:
            kept = retraining.finish(session, job.id, self.owner, outcome, engine.fingerprint)
        if not kept:
            engine.store.remove(job.listener_id, job.version)
        log.info("job %s: %s", job.id, outcome.verdict.why)

    def _train_circle(self, job: Job) -> None:
        engine = self.engine
        with _Run(self.db, job, self.owner) as run:
            run.report(Progress("reading", 0, 0, None, None))
            with self.db.read() as session:
                members: dict[str, list[Own]] = circle_adapter.songs(session, self.kinds, self.min_songs)
            ids = sorted({song.id for songs in members.values() for song in songs})
            encoding.encode(self.db, engine, self.kinds.song_text, ids, guess=False)
            engine.store.remove(CIRCLE, job.version)
            outcome = train_circle(
                engine,
                job.version,
                members,
                seed=job.seed,
                report=run.report,
                cancelled=lambda: run.stopped.is_set() or self.stopping.is_set(),
            )
        with self.db.write() as session:
            kept = circle_adapter.finish(session, job.id, self.owner, outcome, engine.fingerprint, list(members))
        if not kept:
            engine.store.remove(CIRCLE, job.version)
            raise Cancelled("Somebody has left the circle meanwhile.")
        log.info("job %s: %s", job.id, outcome.verdict.why)

    def stop_on_signals(self) -> None:
        """SIGINT and SIGTERM end the worker after the step it is in; a job under way is queued again."""

        def stop(_: int, __: FrameType | None) -> None:
            self.stopping.set()

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
