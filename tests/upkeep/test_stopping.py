"""SIGTERM ends `earshot serve` and its worker, both, and nothing is left running."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import psutil
import pytest

from app.settings import PROJECT, Settings


@pytest.mark.slow
def test_sigterm_stops_both_processes_in_good_order(bare: Settings) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "EARSHOT_HOME": str(bare.home), "EARSHOT_PORT": str(port)}
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
        children = psutil.Process(server.pid).children(recursive=True)
        assert children, "there is no worker"
        server.send_signal(signal.SIGTERM)
        _, said = server.communicate(timeout=120)
    finally:
        server.kill()
    assert server.returncode == 0, said
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == [] and "Traceback" not in said
