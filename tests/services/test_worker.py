"""The worker, with the real base and few songs: a job from the queue to a version that answers."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import delete, text, update

from app.db import Database
from app.errors import BaseMissing
from app.lm.engine import Engine
from app.services import accounts, circle_adapter, listens, retraining
from app.services.recommending import EngineTypes, recommend
from app.tables import Job, Listener, now
from app.tables_circle import CircleVersion
from app.worker import Worker


@pytest.fixture
def job(db: Database, ana: Listener, song_ids: Sequence[int]) -> Job:
    """A queued job with twelve songs to learn from."""
    with db.write() as session:
        for song in song_ids[:12]:
            listens.log(session, ana.id, song_id=song, at=1_700_000_000)
        return retraining.request(session, ana.id, 12)


@pytest.fixture
def worker(db: Database, engine: Engine, kinds: EngineTypes) -> Worker:
    """A worker around the base that is loaded already."""
    return Worker(db, engine.store, lambda: engine, kinds)


def now_of(db: Database, job: Job) -> Job:
    """The job as it is now."""
    with db.read() as session:
        return session.get_one(Job, job.id)


def folders(engine: Engine) -> list[str]:
    """Names of the versions on disk."""
    return sorted(p.name for p in Path(engine.store.root).glob("*/[!.]*"))


def test_without_a_job_there_is_nothing_to_do(worker: Worker) -> None:
    assert not worker.once()


def test_the_base_is_loaded_once_somebody_could_train(
    db: Database, engine: Engine, kinds: EngineTypes, ana: Listener, song_ids: Sequence[int]
) -> None:
    opened: list[Engine] = []
    worker = Worker(db, engine.store, lambda: opened.append(engine) or engine, kinds, min_songs=3)
    for song in song_ids[:2]:
        with db.write() as session:
            listens.log(session, ana.id, song_id=song, at=1_700_000_000)
    assert not worker.prepare() and opened == []
    with db.write() as session:
        listens.log(session, ana.id, song_id=song_ids[2], at=1_700_000_000)
    worker._prepares_at = 0.0
    assert worker.prepare() and opened == [engine]
    assert not worker.prepare()


@pytest.fixture
def own_signals() -> Iterator[None]:
    """What this process does on SIGINT and SIGTERM, put back afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_while_the_base_loads_ends_the_worker_there_and_the_job_is_queued_again(
    db: Database, engine: Engine, kinds: EngineTypes, job: Job, own_signals: None
) -> None:
    loaded: list[Engine] = []

    def opener() -> Engine:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pthread_sigmask(signal.SIG_BLOCK, ())  # lets Python run the handler
        except Exception:
            pytest.fail("a library that catches what goes wrong would have gone on")
        loaded.append(engine)
        return engine

    worker = Worker(db, engine.store, opener, kinds)
    worker.stop_on_signals()
    assert not worker.run()
    found = now_of(db, job)
    assert loaded == [] and (found.state, found.lease_owner) == ("queued", None)


def test_a_click_while_a_round_finds_nothing_is_seen_by_the_next_at_once(
    db: Database, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only after the whole wait that follows a round with nothing to do."""
    if not db.is_sqlite:
        return
    happened: list[str] = []

    def once() -> bool:
        happened.append("round")
        if happened.count("round") == 2:
            worker.stopping.set()
        return False

    def prepare() -> bool:  # the last that a round does
        if happened == ["round"]:
            with db.write() as session:
                accounts.add_listener(session, "Somebody who clicks", None)
        return False

    wait = worker.stopping.wait

    def waits(seconds: float) -> bool:
        happened.append("wait")
        return wait(seconds)

    monkeypatch.setattr(worker, "once", once)
    monkeypatch.setattr(worker, "prepare", prepare)
    monkeypatch.setattr(worker.stopping, "wait", waits)
    worker.run()
    assert happened[:3] == ["round", "wait", "round"]


@pytest.mark.training
def test_a_job_becomes_a_version_that_answers_if_it_was_promoted(
    db: Database, engine: Engine, kinds: EngineTypes, worker: Worker, ana: Listener, job: Job
) -> None:
    with db.read() as session:
        before = recommend(session, engine, kinds, ana.id)
    assert worker.once() and not worker.once()
    ended = now_of(db, job)
    assert ended.state in ("promoted", "kept") and ended.losses[-1] < ended.losses[0]
    assert folders(engine) == [job.version]
    with db.write() as session:
        (made,) = retraining.versions(session, ana.id)
        card = json.loads((engine.store.folder(ana.id, job.version).card).read_text(encoding="utf-8"))
        assert card["promoted"] == made.promoted == (ended.state == "promoted")
        assert made.base_fingerprint == engine.fingerprint
        assert made.trainable_parameters == engine.facts().trainable_parameters
        assert recommend(session, engine, kinds, ana.id).version == (job.version if made.promoted else None)
        retraining.go_live(session, ana.id, job.version)
        session.flush()
        mine = recommend(session, engine, kinds, ana.id)
        assert mine.version == job.version
        retraining.go_live(session, ana.id, None)
        session.flush()
        assert [s.song.id for s in recommend(session, engine, kinds, ana.id).suggestions] == [
            s.song.id for s in before.suggestions
        ]


@pytest.mark.training
def test_a_cancelled_job_leaves_no_version(
    db: Database, engine: Engine, kinds: EngineTypes, ana: Listener, job: Job
) -> None:
    def open_engine() -> Engine:  # the first thing that a run does: somebody presses Cancel just then
        with db.write() as session:
            retraining.cancel(session, ana.id)
        return engine

    assert Worker(db, engine.store, open_engine, kinds).once()
    assert now_of(db, job).state == "cancelled" and folders(engine) == []


@pytest.mark.training
def test_an_account_deleted_while_training_leaves_no_files(
    db: Database, engine: Engine, kinds: EngineTypes, ana: Listener, job: Job
) -> None:
    def open_engine() -> Engine:
        with db.write() as session:
            session.execute(delete(Listener).where(Listener.id == ana.id))
        return engine

    assert Worker(db, engine.store, open_engine, kinds).once()
    assert folders(engine) == []


def test_a_worker_that_is_told_to_stop_gives_the_job_back(
    db: Database, engine: Engine, kinds: EngineTypes, job: Job
) -> None:
    def open_engine() -> Engine:
        worker.stopping.set()
        return engine

    worker = Worker(db, engine.store, open_engine, kinds)
    assert worker.once()
    assert (now_of(db, job).state, now_of(db, job).attempts) == ("queued", 0)
    assert folders(engine) == []


def test_a_base_that_is_missing_fails_the_job_with_its_words(
    db: Database, engine: Engine, kinds: EngineTypes, job: Job
) -> None:
    def open_engine() -> Engine:
        raise BaseMissing("The base is not there. Run make setup.")

    assert Worker(db, engine.store, open_engine, kinds).once()
    assert (now_of(db, job).state, now_of(db, job).error) == ("failed", "The base is not there. Run make setup.")


@pytest.mark.filterwarnings("default")
def test_a_bug_fails_the_job_and_not_the_worker(db: Database, engine: Engine, kinds: EngineTypes, job: Job) -> None:
    def open_engine() -> Engine:
        raise ZeroDivisionError("a bug")

    assert Worker(db, engine.store, open_engine, kinds).once()
    assert (now_of(db, job).state, now_of(db, job).error) == ("failed", "ZeroDivisionError: a bug")


def test_a_stopped_worker_serves_nothing_and_ends(worker: Worker, job: Job, db: Database) -> None:
    worker.stopping.set()
    worker.run()
    assert now_of(db, job).state == "queued"


class Waits(threading.Event):
    """To be stopped by: whatever is given is done at the first wait, and the second one stops."""

    def __init__(self, first: Callable[[], None]) -> None:
        super().__init__()
        self.left = [first]

    def wait(self, timeout: float | None = None) -> bool:
        """Never wait."""
        self.left.pop()() if self.left else self.set()
        return self.is_set()


@pytest.mark.filterwarnings("default")
def test_a_database_that_fails_for_a_while_does_not_end_the_worker(
    db: Database, worker: Worker, job: Job, kinds: EngineTypes
) -> None:
    def rename(old: str, new: str) -> None:
        with db.write() as session:
            session.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    def no_base() -> Engine:
        raise BaseMissing("The base is not there.")

    worker._open = no_base
    rename("jobs", "away")
    worker.stopping = Waits(lambda: rename("away", "jobs"))
    worker.run()
    assert now_of(db, job).error == "The base is not there.", "it went on with the jobs"


def test_the_sweep_removes_what_no_row_speaks_of(
    db: Database, engine: Engine, worker: Worker, ana: Listener, job: Job
) -> None:
    for version in (job.version, "f" * 16):
        folder = engine.store.root / ana.id / version
        folder.mkdir(parents=True)
        (folder / "card.json").write_text("{}", encoding="utf-8")
    with db.write() as session:
        session.execute(update(Job).values(lease_until=now() + 60))
    worker.sweep()
    assert folders(engine) == [job.version]


@pytest.fixture
def members(db: Database, ana: Listener, ben: Listener, song_ids: Sequence[int]) -> list[Listener]:
    """Two members of the circle with twelve songs each."""
    for at, listener in enumerate((ana, ben)):
        with db.write() as session:
            for song in song_ids[12 * at : 12 * at + 12]:
                listens.log(session, listener.id, song_id=song, at=1_700_000_000)
            circle_adapter.join(session, listener.id, 12)
    return [ana, ben]


@pytest.mark.training
def test_the_circle_s_adapter_answers_for_members_comes_back_if_lost_and_goes_when_somebody_leaves(
    db: Database, engine: Engine, kinds: EngineTypes, worker: Worker, members: list[Listener]
) -> None:
    assert worker.once() and not worker.once()
    (version,) = engine.store.versions(engine.circle)
    with db.write() as session:
        session.execute(update(CircleVersion).values(promoted=True))  # whatever the gate made of songs at random
    with db.read() as session:
        made = recommend(session, engine, kinds, members[0].id)
        assert (made.version, made.by_circle) == (version, True)
    worker.sweep()
    worker.withdraw()
    assert engine.store.versions(engine.circle) == [version]
    engine.store.remove(engine.circle)
    worker.sweep()
    with db.read() as session:
        assert circle_adapter.latest(session) is None and circle_adapter.active_job(session) is not None
    assert worker.once()
    with db.write() as session:
        session.execute(update(CircleVersion).values(promoted=True))
    with db.write() as session:
        circle_adapter.leave(session, members[1].id, 12)
    with db.read() as session:
        assert recommend(session, engine, kinds, members[0].id).version is None
    worker.withdraw()
    assert engine.store.versions(engine.circle) == []


@pytest.mark.training
def test_a_member_who_leaves_during_the_training_leaves_no_files(
    db: Database, engine: Engine, kinds: EngineTypes, members: list[Listener]
) -> None:
    def open_engine() -> Engine:
        with db.write() as session:
            session.execute(update(Listener).where(Listener.id == members[1].id).values(in_circle=False))
        return engine

    assert Worker(db, engine.store, open_engine, kinds).once()
    with db.read() as session:
        assert circle_adapter.latest(session) is None
    assert engine.store.versions(engine.circle) == []


def test_a_training_of_the_circle_that_somebody_cancels_is_not_begun_anew(
    db: Database, engine: Engine, kinds: EngineTypes, members: list[Listener]
) -> None:
    def open_engine() -> Engine:
        with db.write() as session:
            retraining.cancel_job(circle_adapter.active_job(session))
        return engine

    assert Worker(db, engine.store, open_engine, kinds).once()
    with db.read() as session:
        assert circle_adapter.active_job(session) is None and circle_adapter.latest(session) is None


@pytest.mark.training
def test_an_account_deleted_during_the_circle_s_training_leaves_the_others_one_without_it(
    db: Database, engine: Engine, kinds: EngineTypes, members: list[Listener], song_ids: Sequence[int]
) -> None:
    with db.write() as session:
        cleo = accounts.add_listener(session, "Cleo", None)
        for song in song_ids[24:36]:
            listens.log(session, cleo.id, song_id=song, at=1_700_000_000)
        circle_adapter.join(session, cleo.id, 12)
        job = circle_adapter.active_job(session)
        assert job is not None
        owner = job.listener_id

    def open_engine() -> Engine:
        with db.write() as session:
            session.execute(delete(Listener).where(Listener.id == owner))
        return engine

    worker = Worker(db, engine.store, open_engine, kinds)
    assert worker.once() and engine.store.versions(engine.circle) == []
    worker._open = lambda: engine
    assert worker.once()
    with db.read() as session:
        made = circle_adapter.latest(session)
        assert made is not None and made.members == 2


def test_beside_the_web_process_the_worker_gives_way(
    db: Database, engine: Engine, kinds: EngineTypes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[int] = []
    group = tmp_path / "autogroup"
    group.touch()
    monkeypatch.setattr("app.worker.os.nice", asked.append)
    monkeypatch.setattr("app.worker.AUTOGROUP", group)
    for parent in (None, os.getppid()):
        worker = Worker(db, engine.store, lambda: engine, kinds)
        worker.stopping.set()
        worker.run(parent)
    assert len(asked) == 1 and asked[0] > 0
    assert group.read_text(encoding="ascii") == str(asked[0])
