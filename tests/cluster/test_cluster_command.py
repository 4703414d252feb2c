"""`earshot cluster serve` as an operator starts it: it answers, listens where it says, and leaves nothing behind."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address

import httpx
import psutil
import pytest
from cluster.conftest import free_port, wait_until
from sqlalchemy import select

from app.db import Database
from app.settings import PROJECT, Settings
from app.tables import Song

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("default")]

MARK = "EARSHOT_TEST_MARK"
SERVE_METHOD = "/ray.serve.ASGIService/HandleRequest"


@dataclass(slots=True)
class Served:
    """The command, its URL, and a value in the environment of every process that came of it."""

    process: subprocess.Popen[str]
    url: str
    mark: str

    def processes(self) -> list[psutil.Process]:
        """Those that are there now, wherever they hang in the tree of processes."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def listening(self) -> dict[int, set[str]]:
        """Addresses by port."""
        found: dict[int, set[str]] = {}
        for process in self.processes():
            with suppress(psutil.Error):
                for one in process.net_connections("tcp"):
                    if one.status == psutil.CONN_LISTEN:
                        found.setdefault(one.laddr.port, set()).add(one.laddr.ip)
        return found


@contextmanager
def served(settings: Settings) -> Iterator[Served]:
    """The command on a free port, in a terminal of its own, once its base is loaded."""
    port, mark = free_port(), secrets.token_hex(8)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = clean | {
        "EARSHOT_HOME": str(settings.home), "EARSHOT_PORT": str(port), "EARSHOT_MIN_SONGS": "5", MARK: mark,
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "cluster", "serve", "--encoders", "1", "1", "--encoder-cpus", "0.5"],
        cwd=PROJECT, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    started = Served(process, f"http://127.0.0.1:{port}", mark)

    def ready() -> bool:
        if process.poll() is not None:
            pytest.fail(f"it ended: {process.communicate()[1]}")
        with suppress(httpx.TransportError):
            return httpx.get(f"{started.url}/readyz", timeout=60).status_code == 200
        return False

    try:
        wait_until(ready, "it is ready", 240)
        yield started
    finally:
        for left in started.processes():
            with suppress(psutil.NoSuchProcess):
                left.kill()
        process.wait(60)


def ended(served: Served) -> None:
    """The command has ended well, and so has every process that came of it."""
    _, said = served.process.communicate(timeout=120)
    assert served.process.returncode == 0 and "Traceback" not in said, said
    wait_until(lambda: served.processes() == [], "nothing is left running", 60)


def is_here(address: str) -> bool:
    """Whether nobody reaches it from another machine."""
    found = ip_address(address.split("%")[0])
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def refused(port: int) -> str:
    """Why a call of a replica's own port without the token is refused."""
    import grpc

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.RpcError) as problem:
            channel.unary_unary(SERVE_METHOD)(b"", timeout=60)
        return str(problem.value.code().name)


def test_somebody_signs_up_asks_and_retrains_and_sigterm_ends_all_of_it(settings: Settings, db: Database) -> None:
    with db.read() as session:
        songs = list(session.scalars(select(Song.id).order_by(Song.id).limit(12)))
    with served(settings) as cluster, httpx.Client(base_url=f"{cluster.url}/api/v1", timeout=120) as ana:
        ana.headers["Sec-Fetch-Site"] = "same-origin"
        ana.post("/setup", json={"name": "Ana", "password": "a long enough pass phrase"}).raise_for_status()
        for number, song in enumerate(songs):
            ana.post("/listens", json={"song_id": song, "listened_at": 1_700_000_000 + number}).raise_for_status()
        listed = ana.get("/recommendations", params={"wish": "rainy Sunday", "count": 10}).raise_for_status().json()
        assert len(listed["songs"]) == 10 and not {one["song"]["id"] for one in listed["songs"]} & set(songs)
        ana.post("/taste/retrain").raise_for_status()
        wait_until(lambda: not ana.get("/taste/job").raise_for_status().json()["active"], "the retrain ends", 240)
        assert ana.get("/taste/job").json()["state"] in ("promoted", "kept")
        (version,) = ana.get("/taste").json()["versions"]
        ana.put("/taste/live", json={"version": version["id"]}).raise_for_status()
        mine = ana.get("/recommendations", params={"wish": "rainy Sunday", "count": 10}).raise_for_status().json()
        assert mine["version"] == version["id"]

        listening = cluster.listening()
        assert len(listening) > 5, "these are Ray's ports"
        elsewhere = {port for port, addresses in listening.items() if not all(map(is_here, addresses))}
        # Serve gives nobody a say about the port that each replica (pages, encoder) has for other replicas.
        assert len(elsewhere) == 2, {port: listening[port] for port in elsewhere}
        assert {refused(port) for port in elsewhere} == {"UNAUTHENTICATED"}
        cluster.process.send_signal(signal.SIGTERM)
        ended(cluster)


def test_ctrl_c_ends_all_of_it(bare: Settings) -> None:
    with served(bare) as cluster:
        os.killpg(cluster.process.pid, signal.SIGINT)  # as a terminal sends it: to every process of the group
        ended(cluster)
