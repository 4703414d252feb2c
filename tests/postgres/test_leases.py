"""Jobs on PostgreSQL: workers that lease at once never wait for each other and never get the same job."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select, text

from app.db import Database
from app.errors import Conflict
from app.lm.store import AdapterStore
from app.services import accounts, retraining
from app.tables import Job
from app.worker import Worker

pytestmark = pytest.mark.postgres


@pytest.fixture
def jobs(db: Database) -> list[str]:
    """Eight queued jobs of eight listeners, oldest first."""
    made = []
    with db.write() as session:
        for number in range(8):
            who = accounts.add_listener(session, f"Listener {number}", None)
            job = Job(listener_id=who.id, seed=number, created_at=1_700_000_000 + number)
            session.add(job)
            session.flush()
            made.append(job.id)
    return made


def test_a_job_that_another_worker_is_just_taking_is_passed_over(db: Database, jobs: list[str]) -> None:
    with db.write() as one, db.write() as other:
        first, second = retraining.lease(one, "a:1"), retraining.lease(other, "b:1")
        assert first is not None and second is not None
        assert [first.id, second.id] == jobs[:2]
        assert retraining.lease(other, "b:1", only=jobs[0]) is None


def test_workers_that_lease_at_once_share_the_jobs_out(db: Database, jobs: list[str]) -> None:
    start = threading.Barrier(8)

    def lease(number: int) -> str | None:
        start.wait()
        with db.write() as session:
            job = retraining.lease(session, f"host:{number}")
            return job and job.id

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lease, range(8)))
    assert sorted(job or "" for job in taken) == sorted(jobs)
    with db.write() as session:
        assert retraining.lease(session, "host:9") is None


def test_two_first_visits_at_once_make_one_administrator(db: Database) -> None:
    start = threading.Barrier(4)

    def visit(number: int) -> str:
        start.wait()
        try:
            with db.write() as session:
                return accounts.first_listener(session, f"Somebody {number}", "a long enough pass phrase").name
        except Conflict:
            return "late"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(visit, range(4)))[1:] == ["late"] * 3


class Once(threading.Event):
    """Stops at the first wait, without waiting."""

    def wait(self, timeout: float | None = None) -> bool:
        """Never wait."""
        self.set()
        return True


@pytest.mark.filterwarnings("default")
def test_a_lost_connection_does_not_end_the_worker(db: Database, url: str, tmp_path: Path) -> None:
    worker = Worker(db, AdapterStore(tmp_path), lambda: pytest.fail("no base"), None)  # type: ignore[arg-type]
    with db.write() as session:
        (mine,) = session.execute(text("SELECT pg_backend_pid()")).one()
    other = Database(url)
    with other.write() as session:  # as when the server is started anew
        session.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": mine})
    other.close()
    worker.stopping = Once()
    worker.run()
    with db.read() as session:
        assert session.scalar(select(Job.id)) is None, "there are connections again"
