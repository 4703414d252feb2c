"""Earshot tells nobody outside anything: with every socket but loopback's denied, a whole evening works as ever."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from sqlalchemy import select
from transformers import BertConfig

from app.db import Database
from app.services import accounts, circle_adapter, listens, retraining
from app.settings import PROJECT, Settings
from app.tables import Song
from tests.lm.making import save_tiny_base, shape_of_base

# The audit hook sees every connect and every name looked up, also those of C code in Python's own socket module.
DENIED = """
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

"""

AN_EVENING = """
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
    assert pages.get("/recommend?part=1").status_code == 200  # which waits for the base
    for path in ("/", "/recommend", "/recommend?wish=rain", "/taste", "/friends", "/listens", "/browse", "/settings",
                 "/admin", "/healthz", "/readyz", "/login"):
        assert pages.get(path).status_code == 200, path
assert tried == [], tried
print("quiet")
"""

# The second process: learns tastes and the circle's, writes PEFT files, makes and proves a backup, tidies, shreds.
A_NIGHT = """
from sqlalchemy import select
from app import upkeep
from app.services import chores
from app.services.administering import chores as chores_of
from app.settings import Settings
from app.tables import Job
from tests.faults.scenarios import worker_on_tiny_base

home = Path(sys.argv[1])
settings = Settings(home=home)
worker = worker_on_tiny_base(home)
while worker.once():
    pass
doings = upkeep.doings(worker.db, settings, lambda: worker.engine, worker.kinds)
with worker.db.write() as db:
    for name in doings:
        chores.ask(db, name)
assert chores.run_due(worker.db, doings) == len(doings) == 3
with worker.db.read() as db:
    states = set(db.scalars(select(Job.state)))
    assert states and states <= {"promoted", "kept"}, states
    assert [chore.error for chore in chores_of(db)] == ["", "", ""]
assert tried == [], tried
print("quiet")
"""


def quiet(what: str, settings: Settings) -> None:
    """Run a piece of Earshot's life with sockets denied, as on a machine where no setting of the hub's is made."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    done = subprocess.run(
        [sys.executable, "-c", DENIED + what, str(settings.home)], cwd=PROJECT, capture_output=True, text=True,
        timeout=300, env=clean,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.strip().endswith("quiet"), done.stdout + done.stderr


@pytest.mark.slow
def test_a_whole_evening_opens_no_connection_to_anywhere(settings: Settings) -> None:
    quiet(AN_EVENING, settings)


@pytest.mark.slow
def test_nor_does_a_night_of_retrains_backups_and_shredding(bare: Settings, bare_db: Database) -> None:
    save_tiny_base(bare.home / "tiny", BertConfig(**shape_of_base()))
    with bare_db.write() as db:
        songs = list(db.scalars(select(Song.id).limit(24)))
        for at, name in enumerate(("Ana", "Ben")):
            who = accounts.add_listener(db, name, None, is_admin=not at)
            for song in songs[12 * at : 12 * at + 12]:
                listens.log(db, who.id, song_id=song, at=1_700_000_000)
            circle_adapter.join(db, who.id, 12)
            retraining.request(db, who.id, 12)
    bare_db.close()
    quiet(A_NIGHT, bare)
