"""SIGTERM ends `earshot serve` and its worker, nothing is left running, and no listen that was answered is lost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psutil
import pytest
from sqlalchemy import func, select

from app.db import Database
from app.services import accounts, tokens
from app.settings import PROJECT, Settings
from app.tables import Listen

SENDERS = 8


@contextmanager
def served(settings: Settings) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`earshot serve` on a free port, once it answers, with its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "EARSHOT_HOME": str(settings.home), "EARSHOT_PORT": str(port)}
    server = subprocess.Popen(
        [sys.executable, "-m", "app", "serve"], cwd=PROJECT, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        while server.poll() is None:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=60).status_code == 200:
                    break
            except httpx.ConnectError:
                time.sleep(0.1)  # between two looks at whether it listens
        yield server, f"http://127.0.0.1:{port}"
    finally:
        server.kill()


@pytest.mark.slow
def test_sigterm_stops_both_processes_in_good_order(bare: Settings) -> None:
    with served(bare) as (server, _):
        children = psutil.Process(server.pid).children(recursive=True)
        assert children, "there is no worker"
        server.send_signal(signal.SIGTERM)
        _, said = server.communicate(timeout=120)
    assert server.returncode == 0, said
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == [] and "Traceback" not in said


@pytest.mark.slow
def test_sigterm_under_load_loses_no_listen_that_was_answered(bare: Settings, bare_db: Database) -> None:
    with bare_db.write() as db:
        token = tokens.add(db, accounts.add_listener(db, "Ana", None).id, "Phone", ["submit"])[1]
    answered, others, busy = [0] * SENDERS, [], threading.Barrier(SENDERS + 1)

    with served(bare) as (server, url):

        def send(sender: int) -> None:
            headers = {"authorization": f"Token {token}"}
            track = {"artist_name": f"Sender {sender}", "track_name": "Song"}
            for n in range(100_000):
                play = {"listened_at": 1_700_000_000 + 1000 * n, "track_metadata": track}
                try:
                    answer = httpx.post(f"{url}/1/submit-listens", headers=headers, timeout=60,
                                        json={"listen_type": "single", "payload": [play]})  # fmt: skip
                except httpx.TransportError:
                    return  # the server has ended
                if answer.status_code == 200:
                    answered[sender] += 1
                else:
                    others.append(answer.status_code)
                if n == 2:
                    busy.wait(120)

        senders = [threading.Thread(target=send, args=(n,)) for n in range(SENDERS)]
        for one in senders:
            one.start()
        busy.wait(120)
        server.send_signal(signal.SIGTERM)
        _, said = server.communicate(timeout=120)
        for one in senders:
            one.join(60)
    assert server.returncode == 0 and "Traceback" not in said, said
    assert set(others) <= {503}, "asked to come again is all that may happen"
    with bare_db.read() as db:
        kept = db.scalar(select(func.count()).select_from(Listen)) or 0
    assert sum(answered) <= kept <= sum(answered) + SENDERS
