"""The machine's clock jumps back by a day: nobody is let in or shut out by it, nothing hangs, nothing is lost."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from app import upkeep
from app.db import Database
from app.errors import NotFound, TooManyTries
from app.main import create_app
from app.services import accounts, chores, listens, playing, retraining, tokens
from app.services.chores import Doing
from app.services.imports import running
from app.services.imports.runner import Runner
from app.services.imports.staging import Staging
from app.services.submitting import Play
from app.settings import Settings
from app.tables import Chore, Job, Listen, Listener, Song, now
from app.tables_imports import Import
from app.web.limits import Limit, Limiter
from app.web.rate import Rate
from tests.web.conftest import SAME_SITE, browser

DAY = 86_400


class Clock:
    """Both clocks of the machine: one that can be set, one that only runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.steady = 1_800_000_000.0, 1_000.0
        monkeypatch.setattr(time, "time", lambda: self.wall)
        monkeypatch.setattr("app.web.limits.time.monotonic", lambda: self.steady)

    def run(self, seconds: float) -> None:
        """Time passes."""
        self.wall += seconds
        self.steady += seconds

    def jump_back(self) -> None:
        """Somebody sets it."""
        self.wall -= DAY


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Both clocks."""
    return Clock(monkeypatch)


@pytest.fixture
def ana(clock: Clock, bare_db: Database) -> Listener:
    """The administrator."""
    with bare_db.write() as db:
        return accounts.first_listener(db, "Ana", "a good long password")


def test_who_is_signed_in_stays_and_what_was_ended_stays_ended(clock: Clock, bare_db: Database, ana: Listener) -> None:
    with bare_db.write() as db:
        kept, ended = (accounts.start_session(db, ana.id, 1) for _ in range(2))
        accounts.end_session(db, ended)
        (phone, token), (lost, gone) = (tokens.add(db, ana.id, name, ["submit"]) for name in ("Phone", "Lost"))
        tokens.revoke(db, ana.id, lost.id)
        used, still = accounts.invite(db, ana.id, 1), accounts.invite(db, ana.id, 1)
        accounts.join(db, used, "Ben", "another good long one")
    clock.jump_back()
    with bare_db.write() as db:
        assert accounts.whose_session(db, kept) and accounts.whose_session(db, ended) is None
        holder = tokens.whose(db, token)
        assert holder and holder.token_id == phone.id and tokens.whose(db, gone) is None
        with pytest.raises(NotFound):
            accounts.join(db, used, "Cleo", "another good long one")
        assert accounts.open_invite(db, still)
        accounts.sweep(db)
        assert accounts.whose_session(db, kept)
        secret = tokens.open_request(db)
        tokens.approve(db, ana.id, secret, "Player", ["submit"])
        assert tokens.take_session(db, secret)


def test_a_listen_is_logged_and_a_page_is_shown(clock: Clock, bare: Settings, bare_db: Database, ana: Listener) -> None:
    pages: FastAPI = create_app(bare, warm=False)
    with TestClient(pages, headers=SAME_SITE):
        mine = browser(pages, bare_db, ana)
        assert mine.post("/listens", data={"artist": "A", "title": "B"}).status_code == 303
        clock.jump_back()
        assert mine.post("/listens", data={"artist": "A", "title": "B"}).status_code == 303
        assert all(mine.get(path).status_code == 200 for path in ("/", "/listens", "/taste", "/settings"))
    with bare_db.read() as db:
        assert len(db.scalars(select(Listen.id)).all()) == 2


def test_limits_go_on_as_if_nothing_had_happened(clock: Clock) -> None:
    limiter, one, rate = Limiter(), Limit("x", 3600, address=1, account=1), Rate(limit=1)
    limiter.count(one, account="ana")
    assert rate.take("a").allowed
    clock.jump_back()
    with pytest.raises(TooManyTries) as told:
        limiter.count(one, account="ana")
    assert told.value.retry_after <= 3601 and not rate.take("a").allowed and rate.take("a").reset_in <= 10
    clock.run(told.value.retry_after)
    limiter.count(one, account="ana")
    assert rate.take("a").allowed


@pytest.fixture
def job(bare_db: Database, ana: Listener) -> str:
    """A retrain that a worker elsewhere has taken."""
    with bare_db.write() as db:
        for song in db.scalars(select(Song.id).limit(12)).all():
            listens.log(db, ana.id, song_id=song, at=1_700_000_000)
        made = retraining.request(db, ana.id, 12)
        assert retraining.lease(db, "elsewhere:1")
        return made.id


def test_the_job_of_a_worker_that_died_is_taken_after_its_lease(clock: Clock, bare_db: Database, job: str) -> None:
    clock.jump_back()
    with bare_db.write() as db:
        assert retraining.reclaim(db, "here:1") == 0
    clock.run(retraining.LEASE_SECONDS + 1)
    with bare_db.write() as db:
        assert retraining.reclaim(db, "here:1") == 1


def test_a_worker_that_lives_keeps_its_job(clock: Clock, bare_db: Database, job: str) -> None:
    clock.jump_back()
    for _ in range(20):
        with bare_db.write() as db:
            assert retraining.reclaim(db, "here:1") == 0
            assert retraining.heartbeat(db, job, "elsewhere:1", None, [])
        clock.run(5)


def test_the_job_under_way_is_the_one_that_is_shown(clock: Clock, bare_db: Database, ana: Listener, job: str) -> None:
    with bare_db.write() as db:
        retraining.stop(db, job, "elsewhere:1", "failed")
        clock.jump_back()
        second = retraining.request(db, ana.id, 12)
        shown = retraining.latest(db, ana.id)
        assert shown and shown.id == second.id != job


def test_an_import_that_a_dead_process_left_goes_on(
    clock: Clock, bare_db: Database, ana: Listener, bare: Settings
) -> None:
    with bare_db.write() as db:
        made = running.begin(db, ana.id, "web", "a")
        made.lease_owner, made.lease_until = "elsewhere:1", now() + running.LEASE_SECONDS
    clock.jump_back()
    runner = Runner(bare_db, Staging(bare.data / "imports"), lambda *_: "")
    assert runner.resume(None) == 1  # type: ignore[arg-type]
    runner.wait()
    runner.close()
    with bare_db.read() as db:
        assert db.get_one(Import, made.id).state == "failed", "nothing of it was staged, and it says so"


def test_what_played_then_does_not_play_for_a_day(clock: Clock, bare_db: Database, ana: Listener) -> None:
    with bare_db.write() as db:
        playing.play_now(db, ana.id, Play("A", "B", duration_ms=200_000), "Phone")
        assert playing.of(db, ana.id)
        clock.wall -= 30  # as clocks are put right
        assert playing.of(db, ana.id)
        clock.jump_back()
        assert playing.of(db, ana.id) is None
        playing.play_now(db, ana.id, Play("A", "C", duration_ms=200_000), "Phone")
        assert playing.of(db, ana.id)


def test_chores_are_due_within_one_period(clock: Clock, bare_db: Database) -> None:
    doings = {"tidy": Doing(lambda: "done", DAY)}
    with bare_db.write() as db:
        chores.schedule(db, doings)
    clock.jump_back()
    clock.jump_back()
    with bare_db.write() as db:
        chores.schedule(db, doings)
        assert db.get_one(Chore, "tidy").due_at == now() + DAY
    clock.run(DAY)
    assert chores.run_due(bare_db, doings) == 1


def test_a_backup_made_then_is_not_thrown_away_for_those_of_the_future(clock: Clock, tmp_path: Path) -> None:
    names = [f"earshot-2027011{day}-080000.tar.gz" for day in (2, 3, 4, 5)]  # the clock says 15 January 2027
    for name in (*names, "earshot-20270120-080000.tar.gz", "earshot-20270121-080000.tar.gz"):
        (tmp_path / name).write_bytes(b"")
    assert upkeep.rotate(tmp_path, 2) == 4
    assert sorted(file.name for file in tmp_path.iterdir()) == names[-2:]


def test_jobs_of_before_and_after_have_states_that_end(
    clock: Clock, bare_db: Database, job: str, ana: Listener
) -> None:
    clock.jump_back()
    with bare_db.write() as db:
        cancelled = retraining.cancel(db, ana.id)
        assert cancelled.cancel_asked
        assert not retraining.heartbeat(db, job, "elsewhere:1", None, [])
        retraining.stop(db, job, "elsewhere:1", "cancelled")
        assert db.scalars(select(Job.state)).all() == ["cancelled"]
