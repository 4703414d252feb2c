"""A two-node Ray cluster on this machine, with the real app on it."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from benchmarks.speed.place import Person, Place

LISTENERS = 100
SONGS = 600


def wait_until(true: Callable[[], object], what: str, seconds: float = 120) -> None:
    """Until something is so; fails, naming it, if it never is."""
    import time

    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.2)


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def called(port: int, token: str, method: str, path: str) -> tuple[int, Any]:
    """Status and body of a call of the JSON API by a listener's browser."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"Cookie": f"earshot={token}", "Sec-Fetch-Site": "same-origin", "Accept": "application/json"}
    try:
        connection.request(method, f"/api/v1{path}", headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if answer.status < 300 else body
    finally:
        connection.close()


def asked(port: int, token: str, wish: str = "") -> tuple[int, Any]:
    """Status and body of a list from the JSON API."""
    return called(port, token, "GET", f"/recommendations?{urllib.parse.urlencode({'wish': wish, 'count': 20})}")


@dataclass(frozen=True, slots=True)
class Circle:
    """A place on shared storage, and its listeners with an adapter each."""

    settings: Settings
    people: list[Person]


@pytest.fixture(scope="session")
def circle(tmp_path_factory: pytest.TempPathFactory) -> Circle:
    """A hundred listeners of twelve songs; nothing of theirs is encoded beforehand, so each list needs the adapter."""
    home = tmp_path_factory.mktemp("cluster")
    place = Place(home, SONGS, threads=1)
    people = place.people(LISTENERS, seed=7, listened=12)
    place.db.close()
    for beside in (home / "adapters").glob("*/.own"):
        shutil.rmtree(beside)
    return Circle(Settings(home=home, port=free_port(), min_songs=5, max_requests=100), people)


@dataclass(slots=True)
class Nodes:
    """The cluster: a head with pages, a second machine with an encoder, and others that may be lost."""

    cluster: Any
    circle: Circle
    second: Any

    def add(self, **resources: float) -> Any:
        """One more machine."""
        return self.cluster.add_node(num_cpus=2, resources=resources)

    def encoders(self) -> dict[int, Any]:
        """What each encoder replica that answers says of itself, by its process."""
        from ray import serve
        from ray.exceptions import RayError

        from app.cluster.starting import encoders_of, fingerprint_of

        handle = serve.get_deployment_handle(*encoders_of(fingerprint_of(self.circle.settings)))
        told = {}
        for number in range(40):
            with suppress(RayError, TimeoutError):  # of one that has just died
                found = handle.options(session_id=f"probe {number}").told.remote().result(timeout_s=60)
                told[found.pid] = found
        return told


@pytest.fixture(scope="session")
def ray_token(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The secret of every cluster that this process starts: Ray reads it once."""
    from app.settings import prepare_for_ray

    token = tmp_path_factory.mktemp("ray") / "token"
    token.write_text("0" * 64, encoding="utf-8")
    prepare_for_ray(token, loopback=True)
    return token


@pytest.fixture(scope="module")
def nodes(circle: Circle, ray_token: Path) -> Iterator[Nodes]:
    """Two machines, one encoder on each, behind the token."""
    from ray.cluster_utils import Cluster

    from app.cluster.starting import Shape, connect, deploy

    head = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 150 << 20}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(num_cpus=2, object_store_memory=150 << 20)
    shape = Shape(address=cluster.address, least_encoders=2, most_encoders=2, a_node=1, encoder_cpus=1)
    ray = connect(circle.settings, shape)
    deploy(circle.settings, shape)
    yield Nodes(cluster, circle, second)
    from ray import serve

    serve.shutdown()
    ray.shutdown()
    cluster.shutdown()
