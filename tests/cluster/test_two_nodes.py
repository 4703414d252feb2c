"""Two machines answer as one does, and lose neither answers nor jobs when a replica or a machine is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from cluster.conftest import Circle, Nodes, asked, wait_until

from app.db import Database
from app.opening import KINDS, open_engine
from app.services import recommending, retraining
from app.settings import Settings
from app.tables import Job

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("default")]

WISH = "rainy Sunday"
# One text's vector does not depend on its company but for the order in which a kernel of another batch size adds.
TOLERANCE = 2e-6

Lists = dict[str, list[tuple[int, float]]]


@pytest.fixture(scope="module")
def alone(circle: Circle) -> dict[str, Lists]:
    """What a single process answers, by wish and listener: (song, score)."""
    engine = open_engine(circle.settings, 1)
    db = Database(circle.settings.url)
    found: dict[str, Lists] = {}
    with db.read() as session:
        for wish in ("", WISH):
            found[wish] = {}
            for who in circle.people:
                made = recommending.recommend(session, engine, KINDS, who.id, wish=wish, count=20)
                assert made.version == who.version
                found[wish][who.id] = [(s.song.id, s.score) for s in made.suggestions]
    db.close()
    return found


def together(circle: Circle, wish: str) -> dict[str, Any]:
    """What the cluster answers to everybody at once."""

    def one(number: int) -> Any:
        who = circle.people[number]
        status, body = asked(circle.settings.port, who.token, wish)
        assert status == 200, body
        assert body["version"] == who.version, "the base answered in place of the adapter"
        return who.id, body

    with ThreadPoolExecutor(16) as pool:
        return dict(pool.map(one, range(len(circle.people))))


def compare(found: dict[str, Any], wanted: Lists) -> int:
    """How many scores are equal bit for bit; fails if a song or its place differs, or a score by more than rounding."""
    same = 0
    for who, body in found.items():
        scores = dict(wanted[who])
        listed = [(s["song"]["id"], s["score"]) for s in body["songs"]]
        for song, score in listed:
            assert song in scores and abs(scores[song] - score) <= TOLERANCE
            same += scores[song] == score
        # Two songs whose scores are equal but for rounding may change places.
        for (_, one), (_, other) in zip(listed, wanted[who], strict=True):
            assert abs(one - other) <= TOLERANCE
    return same


def test_a_hundred_listeners_at_once_get_what_a_single_process_gives(nodes: Nodes, alone: dict[str, Lists]) -> None:
    for wish in ("", WISH):
        same = compare(together(nodes.circle, wish), alone[wish])
        print(f"wish {wish!r}: {same} of {20 * len(nodes.circle.people)} scores equal bit for bit")


def test_each_listener_has_a_replica_of_their_own_and_both_machines_have_some(nodes: Nodes) -> None:
    together(nodes.circle, "another wish")
    told = list(nodes.encoders().values())
    assert len({one.node for one in told}) == len(told) == 2
    people = {who.id for who in nodes.circle.people}
    mine = [people & set(one.listeners) for one in told]
    assert mine[0] | mine[1] == people and not mine[0] & mine[1]
    assert min(map(len, mine)) >= 20


def test_nobody_without_the_token_reaches_ray(nodes: Nodes) -> None:
    code = f"import ray; ray.init(address={nodes.cluster.address!r}, log_to_driver=False); print(ray.nodes())"
    kept = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # the address is found, but not let in
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | kept
    wrong = clean | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "1" * 64}

    def tried(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)

    with ThreadPoolExecutor(2) as pool:  # each tries for a while
        for done in pool.map(tried, (clean | {"RAY_AUTH_MODE": "disabled"}, wrong)):
            assert done.returncode != 0 and "NodeID" not in done.stdout
            assert "ConnectionError" in done.stderr or "Auth" in done.stderr


@contextmanager
def load(circle: Circle) -> Iterator[list[Any]]:
    """Six browsers that ask without a pause for different wishes, until the block ends; gives what was not a list."""
    stop, refused = threading.Event(), []

    def ask(number: int) -> int:
        count = 0
        while not stop.is_set():
            who = circle.people[(7 * number + count) % len(circle.people)]
            status, body = asked(circle.settings.port, who.token, f"wish {number} {count}")
            if status != 200:
                refused.append((status, body))
            elif body["version"] != who.version:
                refused.append(("base", who.id))
            count += 1
        return count

    with ThreadPoolExecutor(6) as pool:
        running = [pool.submit(ask, number) for number in range(6)]
        try:
            yield refused
        finally:
            stop.set()
        assert min(one.result() for one in running) > 0


def test_a_replica_that_is_killed_under_load_is_replaced_and_nobody_gets_an_error(
    nodes: Nodes, alone: dict[str, Lists]
) -> None:
    before = set(nodes.encoders())
    with load(nodes.circle) as refused:
        os.kill(min(before), signal.SIGKILL)
        wait_until(lambda: len(now := set(nodes.encoders())) == 2 and min(before) not in now, "two replicas again")
    assert refused == []
    compare(together(nodes.circle, WISH), alone[WISH])


def states(settings: Settings, jobs: list[str]) -> list[str]:
    """The jobs' states."""
    db = Database(settings.url)
    with db.read() as session:
        found = [session.get_one(Job, job).state for job in jobs]
    db.close()
    return found


def test_a_machine_that_is_killed_under_load_loses_no_job_and_no_answer(nodes: Nodes, alone: dict[str, Lists]) -> None:
    import ray

    from app.cluster.starting import Shape, dispatch

    circle = nodes.circle
    doomed = nodes.add(train=1)
    db = Database(circle.settings.url)
    with db.write() as session:
        jobs = [retraining.request(session, who.id, 5).id for who in circle.people[:3]]
    shape = Shape(trainer_cpus=1, trainer_resources={"train": 0.4})
    dispatcher = dispatch(circle.settings, shape)
    wait_until(lambda: "running" in states(circle.settings, jobs), "a retrain runs on the machine that will be lost")
    with load(circle) as refused:
        nodes.cluster.remove_node(doomed, allow_graceful=False)
        nodes.add(train=1)
        wait_until(
            lambda: all(state in ("promoted", "kept") for state in states(circle.settings, jobs)), "every job ends", 300
        )
    ray.get(dispatcher.stop.remote())
    ray.kill(dispatcher)
    assert [one for one in refused if one[0] != "base"] == []
    with db.read() as session:
        done = [session.get_one(Job, job) for job in jobs]
        assert max(job.attempts for job in done) == 2, "the one that was lost was tried again"
        for job in done:
            assert job.version in [version.id for version in retraining.versions(session, job.listener_id)]
    db.close()
    rest = Circle(circle.settings, circle.people[3:])  # the others' adapters have changed
    compare(together(rest, ""), alone[""])


def test_a_machine_with_an_encoder_that_is_killed_under_load_loses_no_job_and_answers_again(
    nodes: Nodes, alone: dict[str, Lists]
) -> None:
    import ray

    from app.cluster.starting import Shape, dispatch

    circle = nodes.circle
    nodes.add(train=1)  # there is room for another encoder, and for the retrains that go on meanwhile
    lost = next(pid for pid, told in nodes.encoders().items() if told.node == nodes.second.node_id)
    db = Database(circle.settings.url)
    with db.write() as session:
        jobs = [retraining.request(session, who.id, 5).id for who in circle.people[3:5]]
    dispatcher = dispatch(circle.settings, Shape(trainer_cpus=1, trainer_resources={"train": 0.4}))
    wait_until(lambda: "running" in states(circle.settings, jobs), "a retrain runs")
    with load(circle) as refused:
        nodes.cluster.remove_node(nodes.second, allow_graceful=False)
        wait_until(lambda: len(now := set(nodes.encoders())) == 2 and lost not in now, "two encoders again", 300)
        wait_until(lambda: set(states(circle.settings, jobs)) <= {"promoted", "kept"}, "every job ends", 300)
    ray.get(dispatcher.stop.remote())
    ray.kill(dispatcher)
    # What was under way on pages of that machine is lost with it: one request of each of the six browsers at most.
    errors = [one for one in refused if one[0] != "base"]
    assert len(errors) <= 6 and {status for status, _ in errors} <= {500, 503}
    assert nodes.second.node_id not in {told.node for told in nodes.encoders().values()}
    with db.read() as session:
        for job in [session.get_one(Job, job) for job in jobs]:
            assert job.version in [version.id for version in retraining.versions(session, job.listener_id)]
    db.close()
    compare(together(Circle(circle.settings, circle.people[5:]), WISH), alone[WISH])
