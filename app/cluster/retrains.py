"""Retrains as Ray tasks. The database stays the truth: a task takes its job by the same lease as a worker does."""

from __future__ import annotations

import functools
import logging
import time
from typing import Any

from sqlalchemy import select

from app import logs, upkeep
from app.cluster.encoder import same_base
from app.db import Database
from app.opening import KINDS, open_engine, open_store
from app.services import retraining
from app.settings import Settings
from app.tables import Job
from app.worker import Worker

log = logging.getLogger("earshot.cluster")

_WAIT_SECONDS = 1.0
_AT_ONCE = 1000  # jobs handed to Ray and not done


@functools.cache
def _worker(settings: str, fingerprint: str) -> Worker:
    """One a process: Ray uses a process for many tasks, so the base is loaded once."""
    given = Settings.model_validate_json(settings)
    logs.configure(given)
    threads = given.numeric_threads(given.train_threads)
    return Worker(
        Database(given.url), open_store(given), lambda: same_base(open_engine(given, threads), fingerprint), KINDS,
        min_songs=given.min_songs,
    )  # fmt: skip


def run_job(settings: str, fingerprint: str, job_id: str) -> str:
    """Run one job to its end and give its state. ``settings``: JSON; fingerprint: of the base to train on.

    When Ray runs this again because a machine was lost, the job is leased to that machine until the lease has run out;
    it is waited for. A job that another worker has is waited for too.
    """
    worker = _worker(settings, fingerprint)
    while True:
        with worker.db.read() as db:
            job = db.get(Job, job_id)
        if job is None or job.state not in retraining.ACTIVE:
            return job.state if job is not None else "gone"
        if not worker.once(only=job_id):
            time.sleep(_WAIT_SECONDS)
            with worker.db.write() as db:
                retraining.reclaim(db, worker.owner)


class Dispatcher(Worker):
    """Does what the worker does beside jobs, and hands queued jobs to Ray."""

    def __init__(self, settings: str, fingerprint: str, cpus: float, gpus: float, resources: dict[str, float]) -> None:
        """``settings``: JSON; fingerprint: of the base; cpus, gpus, resources: what each retrain reserves."""
        import ray

        given = Settings.model_validate_json(settings)
        logs.configure(given)
        db = Database(given.url)
        super().__init__(
            db, open_store(given), lambda: same_base(open_engine(given, 1), fingerprint), KINDS,
            lambda engine: upkeep.doings(db, given, engine, KINDS), given.musicbrainz_url, given.min_songs,
        )  # fmt: skip
        # A lost machine's tasks run again elsewhere; what the job itself raises is in its row and no reason to.
        self._task = ray.remote(run_job).options(
            num_cpus=cpus, num_gpus=gpus, resources=resources, max_retries=-1, name="retrain"
        )
        self._given = settings, fingerprint
        self._sent: dict[str, Any] = {}

    def once(self, only: str | None = None) -> bool:
        """Hand every queued job to Ray that it does not have yet; never any work here."""
        import ray

        done = ray.wait(list(self._sent.values()), num_returns=len(self._sent), timeout=0)[0] if self._sent else []
        for job_id in [job_id for job_id, task in self._sent.items() if task in done]:
            try:
                log.info("job %s: %s", job_id, ray.get(self._sent.pop(job_id)))
            except ray.exceptions.RayError as problem:
                log.warning("job %s: %s; it is handed out again while it is queued", job_id, problem)
        wanted = select(Job.id).where(Job.state == "queued").order_by(Job.created_at, Job.id)
        with self.db.read() as db:
            queued = list(db.scalars(wanted.limit(_AT_ONCE)))
        for job_id in queued:
            if job_id not in self._sent and len(self._sent) < _AT_ONCE:
                self._sent[job_id] = self._task.remote(*self._given, job_id)
        return False

    def stop(self) -> None:
        """End ``run``; tasks under way go on."""
        self.stopping.set()
