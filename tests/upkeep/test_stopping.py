"""SIGTERM ends `earshot serve` and its worker, nothing is left running, and no listen that was answered is lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
def served(settings: Settings) -> Iterator[tuple[subprocess.Popen[bytes], str, Path]]:
    """`earshot serve` on a port that it finds free, once it answers; with its URL and the file of what it says."""
    said = settings.home.parent / "said"
    environment = {**os.environ, "EARSHOT_HOME": str(settings.home), "EARSHOT_PORT": "0"}
    with said.open("wb") as stderr:
        server = subprocess.Popen([sys.executable, "-m", "app", "serve"], cwd=PROJECT, env=environment, stderr=stderr)
    try:
        while not (found := re.search(r"running on (http://\S+)\s", said.read_text(encoding="utf-8"))):
            assert server.poll() is None, said.read_text(encoding="utf-8")
            time.sleep(0.1)  # between two looks at whether it listens
        assert httpx.get(f"{found[1]}/healthz", timeout=60).status_code == 200
        yield server, found[1], said
    finally:
        server.kill()
        server.wait()


@pytest.mark.slow
def test_sigterm_stops_both_processes_in_good_order(bare: Settings) -> None:
    with served(bare) as (server, _, file):
        children = psutil.Process(server.pid).children(recursive=True)
        assert children, "there is no worker"
        server.send_signal(signal.SIGTERM)
        server.wait(120)
    _, alive = psutil.wait_procs(children, timeout=30)
    said = file.read_text(encoding="utf-8")
    assert server.returncode == 0, said
    assert alive == [] and "Traceback" not in said


@pytest.mark.slow
def test_sigterm_under_load_loses_no_listen_that_was_answered(bare: Settings, bare_db: Database) -> None:
    with bare_db.write() as db:
        token = tokens.add(db, accounts.add_listener(db, "Ana", None).id, "Phone", ["submit"])[1]
    answered, others, busy = [0] * SENDERS, [], threading.Barrier(SENDERS + 1)

    with served(bare) as (server, url, file):

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
        server.wait(120)
        for one in senders:
            one.join(60)
    said = file.read_text(encoding="utf-8")
    assert server.returncode == 0 and "Traceback" not in said, said
    assert set(others) <= {503}, "asked to come again is all that may happen"
    with bare_db.read() as db:
        kept = db.scalar(select(func.count()).select_from(Listen)) or 0
    assert sum(answered) <= kept <= sum(answered) + SENDERS
