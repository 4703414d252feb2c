"""One job of the worker, from the lease to a verdict. Imports torch; the worker imports this when a job has come."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from app.db import Database
from app.errors import Cancelled, EarshotError
from app.lm.asking import CIRCLE, Own
from app.lm.circle import train_circle
from app.lm.engine import Engine
from app.lm.trainer import Progress
from app.services import circle_adapter, encoding, retraining
from app.services.recommending import EngineTypes
from app.tables import Job

log = logging.getLogger("earshot.worker")

_BEAT_SECONDS = 5.0
_SHOW_SECONDS = 0.25


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
            with self.db.write(light=True) as session:  # what a power cut takes of it, the queue does without
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


class Training:
    """Trains what leased jobs ask for."""

    def __init__(
        self, db: Database, engine: Engine, kinds: EngineTypes, owner: str, min_songs: int,
        stopping: Callable[[], bool],
    ) -> None:  # fmt: skip
        """``owner`` holds the leases; ``stopping``: whether the worker is to end, asked at every step."""
        self.db, self.engine, self.kinds, self.owner, self.min_songs = db, engine, kinds, owner, min_songs
        self._stopping = stopping

    def run(self, job: Job) -> None:
        """Train it and record the version. Raises Cancelled, or any EarshotError that says why it failed."""
        self._train_circle(job) if job.kind == "circle" else self._train(job)

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
                cancelled=lambda: run.stopped.is_set() or self._stopping(),
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
                cancelled=lambda: run.stopped.is_set() or self._stopping(),
            )
        with self.db.write() as session:
            kept = circle_adapter.finish(session, job.id, self.owner, outcome, engine.fingerprint, list(members))
        if not kept:
            engine.store.remove(CIRCLE, job.version)
            raise Cancelled("Somebody has left the circle meanwhile.")
        log.info("job %s: %s", job.id, outcome.verdict.why)
