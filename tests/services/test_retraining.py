"""Jobs: one at a time, never stuck, finished as a whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.db import Database
from app.errors import NotFound, TooFewListens
from app.lm.engine import Outcome
from app.lm.evaluation import HeldOut, Verdict
from app.lm.lora import LoraFacts, lora_facts
from app.lm.trainer import Progress
from app.services import listens, retraining
from app.services.recommending import EngineTypes
from app.tables import AdapterVersion, Job, Listener, now

OWNER = "elsewhere:1"


def enough(db: Database, listener: Listener, song_ids: Sequence[int], count: int = 12) -> None:
    """Log so many different songs."""
    with db.write() as session:
        for song in song_ids[:count]:
            listens.log(session, listener.id, song_id=song, at=1_700_000_000)


@pytest.fixture
def job(db: Database, ana: Listener, song_ids: Sequence[int]) -> Job:
    """A queued job of Ana's."""
    enough(db, ana, song_ids)
    with db.write() as session:
        return retraining.request(session, ana.id, 12)


def leased(db: Database, owner: str = OWNER) -> Job:
    """The job, taken by a worker."""
    with db.write() as session:
        found = retraining.lease(session, owner)
    assert found is not None
    return found


def again(db: Database, job: Job) -> Job:
    """The job as it is now."""
    with db.read() as session:
        return session.get_one(Job, job.id)


def outcome(version: str, promoted: bool = True) -> Outcome:
    """What the engine hands over after a run."""
    held = HeldOut((1, 2), 0.5, 2, 0.5)
    facts: LoraFacts = lora_facts([(384, 384)], 8, 22_000_000)
    return Outcome(version, Verdict(promoted, 0.1, 0.0, 0.2, "because"), held, held, (0.5, 0.4), facts, 1234, 1.5, 10)


def test_too_few_songs_says_how_many_are_missing(db: Database, ana: Listener, song_ids: Sequence[int]) -> None:
    enough(db, ana, song_ids, 9)
    with pytest.raises(TooFewListens, match="3 are missing") as caught, db.write() as session:
        retraining.request(session, ana.id, 12)
    assert (caught.value.have, caught.value.needed, caught.value.missing) == (9, 12, 3)
    with db.read() as session:
        assert retraining.latest(session, ana.id) is None


def test_one_song_many_times_is_one_song(db: Database, ana: Listener, song_ids: Sequence[int]) -> None:
    with db.write() as session:
        for i in range(20):
            listens.log(session, ana.id, song_id=song_ids[0], at=1_700_000_000 + i)
    with pytest.raises(TooFewListens, match="11 are missing"), db.write() as session:
        retraining.request(session, ana.id, 12)


def test_two_clicks_are_one_job(db: Database, ana: Listener, job: Job) -> None:
    with db.write() as session:
        assert retraining.request(session, ana.id, 12).id == job.id
    leased(db)
    with db.write() as session:
        assert retraining.request(session, ana.id, 12).id == job.id
        assert session.scalar(select(func.count()).select_from(Job)) == 1


def test_two_clicks_at_once_are_one_job(db: Database, ana: Listener, song_ids: Sequence[int]) -> None:
    enough(db, ana, song_ids)
    start, made = threading.Barrier(4), []

    def click() -> None:
        start.wait()
        with db.write() as session:
            made.append(retraining.request(session, ana.id, 12).id)

    threads = [threading.Thread(target=click) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4 and len(set(made)) == 1


def test_a_job_is_leased_once_and_the_oldest_first(
    db: Database, ana: Listener, ben: Listener, job: Job, song_ids: Sequence[int]
) -> None:
    enough(db, ben, song_ids)
    with db.write() as session:
        later = retraining.request(session, ben.id, 12)
        session.execute(update(Job).where(Job.id == later.id).values(created_at=now() + 5))
    assert [leased(db).id, leased(db, "elsewhere:2").id] == [job.id, later.id]
    with db.write() as session:
        assert retraining.lease(session, "elsewhere:3") is None


def test_a_worker_may_ask_for_one_job_only(db: Database, job: Job) -> None:
    with db.write() as session:
        assert retraining.lease(session, OWNER, only="0" * 16) is None
        found = retraining.lease(session, OWNER, only=job.id)
        assert found is not None and (found.state, found.attempts, found.lease_owner) == ("running", 1, OWNER)


def test_a_heartbeat_keeps_the_lease_and_shows_progress(db: Database, job: Job) -> None:
    leased(db)
    with db.write() as session:
        session.execute(update(Job).values(lease_until=now() + 1))
        assert retraining.heartbeat(session, job.id, OWNER, Progress("training", 3, 20, 0.5, 7.0), [0.6, 0.5])
    shown = again(db, job)
    assert (shown.phase, shown.step, shown.of, shown.loss, shown.eta) == ("training", 3, 20, 0.5, 7.0)
    assert shown.losses == [0.6, 0.5] and (shown.lease_until or 0) > now() + 10


def test_a_heartbeat_of_a_worker_that_lost_the_job_changes_nothing(db: Database, job: Job) -> None:
    leased(db)
    with db.write() as session:
        assert not retraining.heartbeat(session, job.id, "elsewhere:2", Progress("training", 9, 9, 0.1, 0.0), [])
    assert again(db, job).step == 0


def test_a_queued_job_is_cancelled_at_once_and_another_may_follow(db: Database, ana: Listener, job: Job) -> None:
    with db.write() as session:
        assert retraining.cancel(session, ana.id).state == "cancelled"
    with pytest.raises(NotFound), db.write() as session:
        retraining.cancel(session, ana.id)
    with db.write() as session:
        newer = retraining.request(session, ana.id, 12)
        newest = retraining.latest(session, ana.id)
        assert newer.id != job.id and newest is not None and newest.id == newer.id


def test_a_running_job_is_asked_to_stop(db: Database, ana: Listener, job: Job) -> None:
    leased(db)
    with db.write() as session:
        assert retraining.cancel(session, ana.id).state == "running"
        assert not retraining.heartbeat(session, job.id, OWNER, None, [])
        retraining.stop(session, job.id, OWNER, "cancelled")
    assert (again(db, job).state, again(db, job).lease_owner) == ("cancelled", None)


def test_a_retrain_asked_for_while_the_last_is_being_cancelled_is_a_new_one_and_waits_for_it(
    db: Database, ana: Listener, job: Job
) -> None:
    leased(db)
    with db.write() as session:
        retraining.cancel(session, ana.id)
        second = retraining.request(session, ana.id, 12)
        shown = retraining.latest(session, ana.id)
        assert second.id != job.id and shown is not None and shown.id == second.id
        assert retraining.lease(session, "elsewhere:2") is None
        retraining.stop(session, job.id, OWNER, "cancelled")
    assert leased(db).id == second.id
    with db.write() as session:
        assert retraining.cancel(session, ana.id).id == second.id


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_an_interrupted_retrain_that_was_to_be_cancelled_makes_room_for_the_next(
    db: Database, ana: Listener, job: Job, how: str
) -> None:
    leased(db)
    with db.write() as session:
        retraining.cancel(session, ana.id)
        second = retraining.request(session, ana.id, 12)
    with db.write() as session:
        if how == "killed":
            session.execute(update(Job).where(Job.id == job.id).values(lease_until=1))
            assert retraining.reclaim(session, "elsewhere:9") == 1
        else:
            retraining.give_back(session, job.id, OWNER)
    assert (again(db, job).state, again(db, job).lease_owner, leased(db).id) == ("cancelled", None, second.id)


def test_nobody_cancels_for_another(db: Database, ben: Listener, job: Job) -> None:
    with pytest.raises(NotFound), db.write() as session:
        retraining.cancel(session, ben.id)
    assert again(db, job).state == "queued"


def dead_pid() -> int:
    """The number of a process that has just ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_the_job_of_a_dead_process_is_queued_again_at_once(db: Database, job: Job) -> None:
    mine = retraining.owner_name()
    leased(db, f"{mine.rsplit(':', 1)[0]}:{dead_pid()}")
    with db.write() as session:
        retraining.heartbeat(
            session, job.id, again(db, job).lease_owner or "", Progress("training", 5, 9, 1.0, 1.0), [1.0]
        )
        assert retraining.reclaim(session, mine) == 1
    back = again(db, job)
    assert (back.state, back.step, back.loss, back.losses, back.lease_owner) == ("queued", 0, None, [], None)


def test_the_job_of_a_living_process_or_another_host_is_left_alone(db: Database, job: Job) -> None:
    mine = retraining.owner_name()
    leased(db, f"{mine.rsplit(':', 1)[0]}:{os.getppid()}")
    with db.write() as session:
        assert retraining.reclaim(session, mine) == 0
        session.execute(update(Job).values(lease_owner=f"another-host:{dead_pid()}"))
    with db.write() as session:
        assert retraining.reclaim(session, mine) == 0
    assert again(db, job).state == "running"


def test_a_lease_that_ran_out_is_reclaimed_three_times_and_then_the_job_fails(db: Database, job: Job) -> None:
    for attempt in range(1, retraining.MOST_ATTEMPTS + 1):
        assert leased(db).attempts == attempt
        with db.write() as session:
            session.execute(update(Job).values(lease_until=now() - 1))
        with db.write() as session:
            assert retraining.reclaim(session, "elsewhere:9") == 1
        assert again(db, job).state == ("queued" if attempt < retraining.MOST_ATTEMPTS else "failed")
    ended = again(db, job)
    assert "3 times" in ended.error and ended.finished_at and ended.lease_owner is None


def test_a_lost_job_that_was_to_be_cancelled_is_cancelled(db: Database, ana: Listener, job: Job) -> None:
    leased(db)
    with db.write() as session:
        retraining.cancel(session, ana.id)
        session.execute(update(Job).values(lease_until=now() - 1))
    with db.write() as session:
        retraining.reclaim(session, "elsewhere:9")
    assert again(db, job).state == "cancelled"


def test_a_worker_that_lost_its_job_cannot_end_it(db: Database, job: Job) -> None:
    leased(db)
    with db.write() as session:
        session.execute(update(Job).values(lease_until=now() - 1))
    with db.write() as session:
        retraining.reclaim(session, "elsewhere:9")
        retraining.stop(session, job.id, OWNER, "cancelled")
    assert again(db, job).state == "queued", "it waits for another worker"
    leased(db, "elsewhere:9")
    with db.write() as session:
        retraining.stop(session, job.id, OWNER, "failed", "late")
        retraining.give_back(session, job.id, OWNER)
        assert not retraining.finish(session, job.id, OWNER, outcome(job.version), "f" * 64)
    assert (again(db, job).state, again(db, job).lease_owner) == ("running", "elsewhere:9")
    with db.read() as session:
        assert retraining.versions(session, job.listener_id) == []


def test_a_worker_that_is_asked_to_stop_gives_its_job_back_and_the_try_does_not_count(db: Database, job: Job) -> None:
    leased(db)
    with db.write() as session:
        retraining.give_back(session, job.id, OWNER)
    assert (again(db, job).state, again(db, job).attempts) == ("queued", 0)


# -- finishing --------------------------------------------------------------------------------------


def finish(db: Database, job: Job, promoted: bool = True) -> bool:
    """Finish the leased job."""
    with db.write() as session:
        return retraining.finish(session, job.id, OWNER, outcome(job.version, promoted), "f" * 64)


def live(db: Database, listener: Listener) -> str | None:
    """The version that answers for a listener."""
    with db.read() as session:
        return session.get_one(Listener, listener.id).live_version


def test_a_promoted_version_goes_live(db: Database, ana: Listener, job: Job) -> None:
    leased(db)
    assert finish(db, job)
    assert live(db, ana) == job.version
    ended = again(db, job)
    assert (ended.state, ended.losses, ended.lease_owner) == ("promoted", [0.5, 0.4], None) and ended.finished_at
    with db.read() as session:
        (made,) = retraining.versions(session, ana.id)
        assert (made.id, made.number, made.size, made.promoted) == (job.version, 1, 1234, True)
        assert made.after["ranks"] == [1, 2]


def test_a_version_that_lost_is_kept_but_does_not_answer(db: Database, ana: Listener, job: Job) -> None:
    leased(db)
    assert finish(db, job, promoted=False)
    assert live(db, ana) is None and again(db, job).state == "kept"
    with db.read() as session:
        assert [v.promoted for v in retraining.versions(session, ana.id)] == [False]


def test_finishing_is_all_or_nothing(db: Database, ana: Listener, job: Job) -> None:
    leased(db)

    def breaks(session: Session) -> None:
        assert retraining.finish(session, job.id, OWNER, outcome(job.version), "f" * 64)
        session.flush()
        raise OSError("the power is gone")

    with pytest.raises(OSError, match="power"), db.write() as session:
        breaks(session)
    assert (live(db, ana), again(db, job).state) == (None, "running")
    with db.read() as session:
        assert retraining.versions(session, ana.id) == []
    assert finish(db, job)


def test_an_account_deleted_while_training_leaves_nothing_behind(db: Database, ana: Listener, job: Job) -> None:
    leased(db)
    with db.write() as session:
        session.execute(delete(Listener).where(Listener.id == ana.id))
    with db.write() as session:
        assert not retraining.heartbeat(session, job.id, OWNER, None, []), "the run is told to stop"
    assert not finish(db, job)
    with db.read() as session:
        assert session.scalar(select(func.count()).select_from(AdapterVersion)) == 0
        assert retraining.orphans(session, {ana.id: [job.version]}) == [(ana.id, job.version)]


def test_one_may_go_back_to_an_earlier_version_or_the_base_but_not_to_anothers(
    db: Database, ana: Listener, ben: Listener, job: Job
) -> None:
    leased(db)
    finish(db, job)
    with db.write() as session:
        second = retraining.request(session, ana.id, 12)
    leased(db)
    finish(db, second)
    with db.write() as session:
        assert [v.number for v in retraining.versions(session, ana.id)] == [2, 1]
        retraining.go_live(session, ana.id, job.version)
    assert live(db, ana) == job.version
    with db.write() as session:
        retraining.go_live(session, ana.id, None)
    assert live(db, ana) is None
    for version in (job.version, "nonsense", "", "../..", "x" * 10_000):
        with pytest.raises(NotFound), db.write() as session:
            retraining.go_live(session, ben.id, version)


def test_folders_that_no_row_speaks_of_are_orphans_and_those_of_active_jobs_are_not(
    db: Database, ana: Listener, job: Job
) -> None:
    leased(db)
    with db.read() as session:
        assert retraining.orphans(session, {ana.id: [job.version, "f" * 16]}) == [(ana.id, "f" * 16)]
    finish(db, job)
    with db.read() as session:
        assert retraining.orphans(session, {ana.id: [job.version]}) == []


def test_an_adapter_learns_from_its_own_listener_alone_and_from_no_picks(
    db: Database, ana: Listener, ben: Listener, song_ids: Sequence[int], kinds: EngineTypes
) -> None:
    enough(db, ana, song_ids[:5])
    enough(db, ben, song_ids[5:9])
    with db.write() as session:
        listens.set_preferences(session, ana.id, ["rock"], ["Queen"])
    with db.read() as session:
        assert {s.id for s in retraining.own_songs(session, ana.id, kinds)} == set(song_ids[:5])
