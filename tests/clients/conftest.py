"""A real server on real ports, plain and behind HTTPS, for clients that are installed as their authors publish them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
import uvicorn
from fastapi import FastAPI

from app.db import Database
from app.services import tokens
from app.settings import PROJECT
from app.tables import Listener
from tests.web.conftest import admin, app, loaded, stranger  # noqa: F401  (fixtures of the real app)

PLAYERS = PROJECT / "docs" / "players.md"


def example(heading: str) -> str:
    """The Python of a section of docs/players.md, to be run as it stands there."""
    found = re.search(rf"^## {heading}$.*?^```python\n(.*?)^```$", PLAYERS.read_text(encoding="utf-8"), re.S | re.M)
    assert found is not None, heading
    return found[1]


@contextmanager
def serving(served: FastAPI, certificate: Path | None = None) -> Iterator[int]:
    """The app on a port of its own, over HTTPS if there is a certificate."""
    config = uvicorn.Config(served, port=0, log_level="warning", lifespan="off", ssl_certfile=certificate)
    server = uvicorn.Server(config)
    sockets = [config.bind_socket()]
    thread = threading.Thread(target=server.run, args=(sockets,))
    thread.start()
    try:
        yield sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@dataclass(frozen=True)
class Client:
    """Runs Python programs that find the server and Ana's token in their environment."""

    environment: dict[str, str]

    def run(self, program: str) -> str:
        """A program's output; a failure of it fails the test with what it said."""
        done = subprocess.run(
            [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", program], env=self.environment,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def token(db: Database, admin: Listener) -> str:  # noqa: F811
    """A token of Ana's that may do both."""
    with db.write() as session:
        return tokens.add(session, admin.id, "Player", ["submit", "read"])[1]


@pytest.fixture
def plain(app: FastAPI, token: str) -> Iterator[Client]:  # noqa: F811
    """A client and the server over HTTP."""
    with serving(app) as port:
        here = {"EARSHOT_URL": f"http://127.0.0.1:{port}", "EARSHOT_TOKEN": token, "EARSHOT_NAME": "Ana"}
        yield Client({**os.environ, **here})


@pytest.fixture
def https(app: FastAPI, token: str, tmp_path: Path) -> Iterator[Client]:  # noqa: F811
    """A client that trusts a certificate authority made for this test, and the server over HTTPS."""
    authority, files = trustme.CA(), tmp_path / "certificates"
    files.mkdir()
    authority.cert_pem.write_to_path(str(files / "authority.pem"))
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(files / "server.pem"))
    with serving(app, files / "server.pem") as port:
        here = {"EARSHOT_HOST_AND_PORT": f"localhost:{port}", "EARSHOT_TOKEN": token, "EARSHOT_NAME": "Ana"}
        yield Client({**os.environ, **here, "SSL_CERT_FILE": str(files / "authority.pem")})
