"""The circle's adapter in the database: who is in, what it learns from, which version answers, who withdraws it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.db import Database
from app.errors import CircleTooSmall, Conflict, Forbidden
from app.lm.engine import Outcome
from app.lm.evaluation import HeldOut, Verdict
from app.lm.lora import lora_facts
from app.services import accounts, circle_adapter, listens, retraining
from app.services.recommending import EngineTypes
from app.tables import Job, Listener, now
from app.tables_circle import CircleMember, CircleVersion

OWNER = "elsewhere:1"
LEAST = 3
VERSION = "d" * 16


@pytest.fixture
def cleo(db: Database) -> Listener:
    """A third listener."""
    with db.write() as session:
        return accounts.add_listener(session, "Cleo", None)


def play(db: Database, listener: Listener, song_ids: Sequence[int]) -> None:
    """Log a play of each song."""
    with db.write() as session:
        for song in song_ids:
            listens.log(session, listener.id, song_id=song, at=1_700_000_000)


@pytest.fixture
def both(db: Database, ana: Listener, ben: Listener, song_ids: Sequence[int]) -> list[str]:
    """Ana and Ben have songs enough and take part."""
    for listener in (ana, ben):
        play(db, listener, song_ids[:LEAST])
        with db.write() as session:
            circle_adapter.join(session, listener.id, LEAST)
    return sorted([ana.id, ben.id])


def outcome(version: str, promoted: bool = True) -> Outcome:
    """What the engine hands over."""
    held = HeldOut((1, 2), 0.5, 2, 0.5)
    facts = lora_facts([(384, 384)], 8, 22_000_000)
    return Outcome(version, Verdict(promoted, 0.1, 0.0, 0.2, "because"), held, held, (1.0,), facts, 1000, 1.0, 6)


def trained(db: Database, fingerprint: str = "f", promoted: bool = True) -> str:
    """Run the queued training without training."""
    with db.write() as session:
        job = retraining.lease(session, OWNER)
        assert job is not None and job.kind == "circle"
        made = outcome(job.version, promoted)
        assert circle_adapter.finish(session, job.id, OWNER, made, fingerprint, circle_adapter.members(session, LEAST))
        return job.version


def queued(session: Session) -> list[Job]:
    """The circle's queued jobs."""
    return list(session.scalars(select(Job).where(Job.kind == "circle", Job.state == "queued")))


def test_nobody_is_in_the_circle_unasked(db: Database, ana: Listener, song_ids: Sequence[int]) -> None:
    play(db, ana, song_ids[:LEAST])
    with db.read() as session:
        assert not session.get_one(Listener, ana.id).in_circle and circle_adapter.members(session, 1) == []


def test_the_second_member_with_songs_enough_starts_the_training(
    db: Database, ana: Listener, ben: Listener, cleo: Listener, song_ids: Sequence[int]
) -> None:
    play(db, ana, song_ids[:LEAST])
    play(db, ben, song_ids[:LEAST])
    with db.write() as session:
        circle_adapter.join(session, ana.id, LEAST)
        circle_adapter.join(session, cleo.id, LEAST)  # who has played nothing
        assert queued(session) == []
        circle_adapter.join(session, ben.id, LEAST)
        assert len(queued(session)) == 1 and circle_adapter.request(session, LEAST).id == queued(session)[0].id


def test_it_is_not_trained_on_one_listener_or_by_who_is_not_in_it(
    db: Database, ana: Listener, ben: Listener, song_ids: Sequence[int]
) -> None:
    play(db, ana, song_ids[:LEAST])
    with db.write() as session:
        circle_adapter.join(session, ana.id, LEAST)
        with pytest.raises(CircleTooSmall, match="2 members with 3 different songs each; 1 of"):
            circle_adapter.request(session, LEAST)
        with pytest.raises(Forbidden):
            circle_adapter.request_as(session, ben.id, LEAST)


def test_it_learns_from_members_alone(
    db: Database, both: list[str], cleo: Listener, song_ids: Sequence[int], kinds: EngineTypes
) -> None:
    play(db, cleo, song_ids[:9])
    with db.read() as session:
        found = circle_adapter.songs(session, kinds, LEAST)
    assert sorted(found) == both and all(len(songs) == LEAST for songs in found.values())


def test_an_own_retrain_is_not_blocked_by_the_circle_s_nor_the_other_way_round(db: Database, both: list[str]) -> None:
    with db.write() as session:
        (shared,) = queued(session)
        own = retraining.request(session, shared.listener_id, LEAST)
        assert own.id != shared.id and retraining.latest(session, shared.listener_id) is own
        kinds = {job.kind for _ in range(2) if (job := retraining.lease(session, OWNER)) is not None}
        assert kinds == {"taste", "circle"}
        retraining.cancel(session, shared.listener_id)
        session.flush()
        assert session.get_one(Job, own.id).cancel_asked and not session.get_one(Job, shared.id).cancel_asked


def test_the_database_holds_one_queued_training_of_the_circle(db: Database, both: list[str]) -> None:
    with pytest.raises(Conflict), db.write() as session:
        session.add(Job(kind="circle", listener_id=both[1]))
        session.add(Job(kind="circle", listener_id=both[0]))
        session.flush()


def test_a_promoted_version_answers_and_names_whom_it_learnt_from(db: Database, both: list[str]) -> None:
    version = trained(db)
    with db.read() as session:
        assert (
            circle_adapter.live_version(session, "f") == version
            and circle_adapter.live_version(session, "other base") is None
        )
        assert sorted(session.scalars(select(CircleMember.listener_id))) == both


def test_a_version_that_the_gate_keeps_back_does_not_answer(db: Database, both: list[str]) -> None:
    trained(db, promoted=False)
    with db.read() as session:
        assert circle_adapter.live_version(session, "f") is None and circle_adapter.latest(session) is not None


def test_who_leaves_withdraws_what_was_learnt_from_them_at_once(db: Database, both: list[str]) -> None:
    version = trained(db)
    with db.write() as session:
        circle_adapter.leave(session, both[0], LEAST)
    with db.write() as session:
        assert circle_adapter.live_version(session, "f") is None and circle_adapter.withdrawn(session) == [version]
        circle_adapter.join(session, both[0], LEAST)  # before the worker has looked
        assert circle_adapter.live_version(session, "f") == version


def test_a_deleted_account_withdraws_it_too_whoever_deletes_it(db: Database, both: list[str]) -> None:
    version = trained(db)
    with db.write() as session:
        session.execute(delete(Listener).where(Listener.id == both[1]))
    with db.read() as session:
        assert circle_adapter.live_version(session, "f") is None and circle_adapter.withdrawn(session) == [version]


def test_without_the_leaver_it_is_trained_again_if_enough_are_left(
    db: Database, both: list[str], cleo: Listener, song_ids: Sequence[int]
) -> None:
    play(db, cleo, song_ids[:LEAST])
    with db.write() as session:
        circle_adapter.join(session, cleo.id, LEAST)
    trained(db)
    with db.write() as session:
        circle_adapter.leave(session, both[0], LEAST)
        (job,) = queued(session)
        assert job.listener_id != both[0]
        circle_adapter.leave(session, both[1], LEAST)
        assert queued(session) == []


def test_a_training_under_way_is_not_kept_when_somebody_leaves(db: Database, both: list[str]) -> None:
    with db.write() as session:
        job = retraining.lease(session, OWNER)
        assert job is not None
        read = circle_adapter.members(session, LEAST)
    with db.write() as session:
        circle_adapter.leave(session, both[1], LEAST)
        assert not retraining.heartbeat(session, job.id, OWNER, None, [])
        assert not circle_adapter.finish(session, job.id, OWNER, outcome(job.version), "f", read)
        assert session.scalars(select(CircleVersion)).all() == []


def test_a_second_training_waits_until_the_first_has_ended(db: Database, both: list[str]) -> None:
    with db.write() as session:
        first = retraining.lease(session, OWNER)
        assert first is not None
        second = circle_adapter.request(session, LEAST)
        assert second.id != first.id and retraining.lease(session, OWNER) is None
        retraining.stop(session, first.id, OWNER, "cancelled")
        taken = retraining.lease(session, OWNER)
        assert taken is not None and taken.id == second.id


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_an_interrupted_training_makes_room_for_the_one_that_waits(
    db: Database, both: list[str], cleo: Listener, song_ids: Sequence[int], how: str
) -> None:
    with db.write() as session:
        first = retraining.lease(session, OWNER)
        assert first is not None
    play(db, cleo, song_ids[:LEAST])
    with db.write() as session:
        circle_adapter.join(session, cleo.id, LEAST)
        (second,) = queued(session)
        session.get_one(Job, first.id).lease_until = 1 if how == "killed" else now() + 60
    with db.write() as session:
        retraining.reclaim(session, "elsewhere:9") if how == "killed" else retraining.give_back(
            session, first.id, OWNER
        )
    with db.write() as session:
        ended, taken = session.get_one(Job, first.id), retraining.lease(session, "elsewhere:9")
        assert (ended.state, ended.lease_owner) == ("cancelled", None) and ended.finished_at
        assert taken is not None and taken.id == second.id


def test_forgetting_a_withdrawn_version_queues_its_successor(
    db: Database, both: list[str], cleo: Listener, song_ids: Sequence[int]
) -> None:
    play(db, cleo, song_ids[:LEAST])
    with db.write() as session:
        circle_adapter.join(session, cleo.id, LEAST)
    version = trained(db)
    with db.write() as session:
        session.execute(delete(Listener).where(Listener.id == both[0]))
    with db.write() as session:
        circle_adapter.drop(session, circle_adapter.withdrawn(session), LEAST)
        assert session.get(CircleVersion, version) is None and len(queued(session)) == 1
