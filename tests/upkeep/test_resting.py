"""The worker of the served pair holds torch only while there is, or may soon be, something to do; and ends cleanly."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import httpx
import psutil
import pytest
from sqlalchemy import select

from app.db import Database
from app.errors import BaseMissing
from app.lm.engine import Engine
from app.lm.store import AdapterStore
from app.opening import KINDS
from app.resting import Rest
from app.services import accounts, chores, listens, retraining
from app.serving import WorkerProcess
from app.settings import Settings
from app.tables import Chore, Job, Listener, Song, now
from app.worker import Worker
from tests.upkeep.test_stopping import served

Found = TypeVar("Found")


def until(look: Callable[[], Found | None], seconds: float = 600) -> Found:
    """What a look finds, once it finds anything."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if found := look():
            return found
        time.sleep(0.05)  # between two looks
    raise AssertionError("it did not come to that")


@pytest.fixture
def learner(db: Database, ana: Listener) -> Listener:
    """Ana, with songs enough to train on."""
    with db.write() as session:
        for song in session.scalars(select(Song.id).order_by(Song.id).limit(12)).all():
            listens.log(session, ana.id, song_id=song, at=1_700_000_000)
    return ana


def clicked(db: Database, listener: Listener) -> str:
    """Retrain my taste: the id of the job."""
    with db.write() as session:
        return retraining.request(session, listener.id, 12).id


def state_of(db: Database, job_id: str) -> str:
    """How a job is."""
    with db.read() as session:
        return session.get_one(Job, job_id).state


def ended(db: Database, job_id: str) -> str:
    """How a job ended, once it has."""
    return until(lambda: None if (state := state_of(db, job_id)) in retraining.ACTIVE else state)


def goes_round(db: Database) -> None:
    """Return once the worker has gone through everything that it does beside jobs.

    It does a chore, and loads the base only in a round without one: between two chores there was such a round.
    """
    for _ in range(2):
        with db.write() as session:
            chores.ask(session, "tidy")
        until(lambda: _done(db))


def _done(db: Database) -> bool:
    with db.read() as session:
        return (session.get_one(Chore, "tidy").due_at or 0) > now() + 60


def workers(server: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The children of the web process."""
    return psutil.Process(server.pid).children()


def another(server: subprocess.Popen[bytes], than: psutil.Process) -> psutil.Process:
    """The worker that has taken a worker's place."""
    return until(lambda: next((child for child in workers(server) if child.pid != than.pid), None))


def mapped(process: psutil.Process) -> str:
    """The files that a process has mapped."""
    return Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")


@contextmanager
def serving(settings: Settings) -> Iterator[tuple[subprocess.Popen[bytes], str, list[str]]]:
    """The pair with its URL; SIGTERM ends it and its worker. What it said is in the list then."""
    said: list[str] = []
    with served(settings) as (server, url, file):
        yield server, url, said
        left = workers(server)
        assert len(left) == 1
        server.send_signal(signal.SIGTERM)
        server.wait(120)
        said.append(file.read_text(encoding="utf-8"))
        assert server.returncode == 0, said
        assert psutil.wait_procs(left, timeout=30)[1] == []
        assert "Traceback" not in said[0]


@pytest.mark.slow
def test_the_worker_has_no_torch_until_somebody_looks_at_the_button(
    settings: Settings, db: Database, learner: Listener
) -> None:
    with db.write() as session:
        token = accounts.start_session(session, learner.id, 1)
    with serving(settings) as (server, url, said):
        goes_round(db)
        (worker,) = workers(server)
        assert "libtorch" not in mapped(worker)
        assert httpx.get(f"{url}/taste", headers={"cookie": f"earshot={token}"}, timeout=60).status_code == 200
        until(lambda: "model.safetensors" in mapped(worker))
        assert "libtorch" in mapped(worker) and workers(server) == [worker]
    assert "the worker ended" not in said[0]


@pytest.mark.training
def test_a_worker_that_has_trained_gives_its_place_to_one_without_torch_that_runs_the_next_job(
    settings: Settings, db: Database, learner: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARSHOT_WORKER_REST_MINUTES", "0.001")
    with serving(settings) as (server, _, said):
        (first,) = workers(server)
        assert ended(db, clicked(db, learner)) in ("promoted", "kept")
        second = another(server, first)
        goes_round(db)
        assert "libtorch" not in mapped(second) and not first.is_running()
        assert ended(db, clicked(db, learner)) in ("promoted", "kept")
        another(server, second)
    assert "the worker ended" not in said[0] and said[0].count("it ends to give memory back") == 2


@pytest.mark.slow
def test_a_worker_that_is_killed_is_named_and_another_starts(bare: Settings, bare_db: Database) -> None:
    with serving(bare) as (server, _, said):
        goes_round(bare_db)
        (first,) = workers(server)
        first.kill()
        another(server, first)
        goes_round(bare_db)
    assert said[0].count("the worker ended with code -9; it is started again") == 1


@pytest.mark.slow
def test_to_stop_at_once_leaves_no_worker(bare: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARSHOT_HOME", str(bare.home))
    for _ in range(5):
        before = set(psutil.Process().children())
        worker = WorkerProcess()
        worker.start()
        worker.wake()
        worker.stop()
        worker.wake()
        assert set(psutil.Process().children()) <= before


def test_no_number_of_wakes_waits_for_a_worker_that_reads_none() -> None:
    worker = WorkerProcess()
    for _ in range(200_000):  # more than a pipe holds
        worker.wake()
    worker.stop()


# -- when to rest -----------------------------------------------------------------------------------


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """What a worker reads its wakes from, and what they are written to."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


def test_it_rests_some_minutes_after_the_engine_was_needed_or_somebody_woke_it(pipe: tuple[int, int]) -> None:
    rest = Rest(60, pipe[0])
    assert not rest.due(), "one that never needed the engine has nothing to give back"
    rest.needed()
    assert rest._needed_at is not None and not rest.due()
    rest._needed_at -= 3600
    assert rest.due()
    os.write(pipe[1], b"..")
    assert not rest.due() and rest.woken
    rest._needed_at -= 3600
    assert rest.due()
    never = Rest(0, pipe[0])
    never.needed()
    assert not never.due()


def test_what_one_worker_did_not_read_wakes_the_next_and_the_end_of_the_pipe_wakes_nobody(
    pipe: tuple[int, int],
) -> None:
    first, second = Rest(60, pipe[0]), Rest(60, pipe[0])
    assert not first.look()
    os.write(pipe[1], b".")
    assert second.look() and not second.look() and second.woken
    os.close(pipe[1])
    assert not first.look() and not first.look() and not first.woken


class Clicks(Rest):
    """Somebody clicks on retrain in the moment in which the worker decides to rest."""

    click: Callable[[], object]

    def due(self) -> bool:
        """Whether to rest, as it was just before the click."""
        decided = super().due()
        if decided:
            self.click()
        return decided


def no_base() -> Engine:
    """What the shipped base is not."""
    raise BaseMissing("The base is not there.")


def test_a_click_in_the_moment_of_resting_is_for_the_next_worker_and_one_before_is_run(
    db: Database, learner: Listener, tmp_path: Path, pipe: tuple[int, int]
) -> None:
    jobs = [clicked(db, learner)]
    rest = Clicks(1e-9, pipe[0])
    rest.click = lambda: jobs.append(clicked(db, learner))
    rest.needed()
    store = AdapterStore(tmp_path)
    assert Worker(db, store, no_base, KINDS, rest=rest).run()
    assert [state_of(db, job) for job in jobs] == ["failed", "queued"]
    assert Worker(db, store, no_base, KINDS, rest=Rest(60, pipe[0])).once()
    assert state_of(db, jobs[1]) == "failed"
