"""Earshot tells nobody outside anything: with every socket but loopback's denied, a whole evening works as ever."""

from __future__ import annotations

import subprocess
import sys

import pytest

from app.settings import PROJECT, Settings

# The audit hook sees every connect and every name looked up, also those of C code in Python's own socket module.
EVENING = """
import sys
from pathlib import Path

tried = []

def deny(name, arguments):
    if name in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        target = arguments[1] if name in ("socket.connect", "socket.sendto") else arguments
        host = target[0] if isinstance(target, tuple) else target
        if host not in ("127.0.0.1", "::1", "localhost", None):
            tried.append(f"{name} {target!r}")
            raise OSError(f"denied: {name} {target!r}")

sys.addaudithook(deny)
import socket
try:
    socket.create_connection(("192.0.2.1", 80), 0.1)
except OSError:
    assert len(tried) == 1, "the hook does not see connections"
    tried.clear()

from starlette.testclient import TestClient
from app.main import create_app
from app.settings import Settings

app = create_app(Settings(home=Path(sys.argv[1])), warm=False)
pages = TestClient(app, headers={"sec-fetch-site": "same-origin"})
with pages:
    pages.post("/setup", data={"name": "Ana", "password": "a good long password"})
    pages.post("/welcome", data={"artists": "Queen"})
    for n in range(3):
        assert pages.post("/listens", data={"artist": "Queen", "title": f"Song {n}"}).status_code == 200
    for path in ("/", "/recommend", "/recommend?wish=rain", "/taste", "/friends", "/listens", "/browse", "/settings",
                 "/admin", "/healthz", "/readyz", "/login"):
        assert pages.get(path).status_code == 200, path
assert tried == [], tried
print("quiet")
"""


@pytest.mark.slow
def test_a_whole_evening_opens_no_connection_to_anywhere(settings: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EVENING, str(settings.home)], cwd=PROJECT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0 and done.stdout.strip().endswith("quiet"), done.stdout + done.stderr
