"""A real server whose worker trains on the real base: many submit at once, click twice, and somebody leaves then."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from app.db import Database
from app.services import accounts, listens, tokens
from app.settings import PROJECT, Settings
from app.tables import AdapterVersion, Job, Listen, Listener, Song

pytestmark = [pytest.mark.faults, pytest.mark.slow]

PASSWORD = "a good long password"
AT = 1_700_000_000
SENDERS, EACH = 50, 10
ENDED = ("promoted", "kept")


@dataclass(frozen=True)
class Place:
    """A served home with two people."""

    settings: Settings
    db: Database
    url: str
    people: dict[str, str]
    cookies: dict[str, str]
    token: str

    def browser(self, name: str) -> httpx.Client:
        """Somebody's browser."""
        headers = {"cookie": f"earshot={self.cookies[name]}", "sec-fetch-site": "same-origin"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=120)

    def jobs(self) -> list[str]:
        """The states of all jobs."""
        with self.db.read() as db:
            return list(db.scalars(select(Job.state)))

    def wait(self, what: Callable[[], bool]) -> None:
        """Until it is so."""
        for _ in range(3000):
            if what():
                return
            time.sleep(0.1)  # between two looks at the database
        pytest.fail(f"this never came to be; jobs: {self.jobs()}")


@pytest.fixture
def place(settings: Settings, db: Database) -> Iterator[Place]:
    """`earshot serve` over a small catalogue, both processes ready."""
    with db.write() as session:
        songs = list(session.scalars(select(Song.id).limit(40)))
        people = {"Ana": accounts.first_listener(session, "Ana", PASSWORD).id}
        people["Ben"] = accounts.add_listener(session, "Ben", PASSWORD).id
        for who in people.values():
            for song in songs:
                listens.log(session, who, song_id=song, at=AT - song)
        cookies = {name: accounts.start_session(session, who, 1) for name, who in people.items()}
        token = tokens.add(session, people["Ana"], "Phone", ["submit"])[1]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "EARSHOT_HOME": str(settings.home), "EARSHOT_PORT": str(port),
                   "EARSHOT_LOG_LEVEL": "warning"}  # fmt: skip
    said = (settings.home / "said").open("w+")
    server = subprocess.Popen([sys.executable, "-m", "app", "serve"], cwd=PROJECT, env=environment, stderr=said)
    url = f"http://127.0.0.1:{port}"
    try:
        while server.poll() is None:
            try:
                if httpx.get(f"{url}/readyz", timeout=60).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.2)  # between two looks at whether it is ready
        yield Place(settings, db, url, people, cookies, token)
        server.send_signal(signal.SIGTERM)
        assert server.wait(120) == 0
    finally:
        server.kill()
    said.seek(0)
    assert "Traceback" not in said.read()
    said.close()


def _submission(sender: int) -> dict[str, object]:
    plays = [
        {"listened_at": AT + sender * 1000 + n,
         "track_metadata": {"artist_name": f"Sender {sender % 7}", "track_name": f"Song {n}"}}
        for n in range(EACH)
    ]  # fmt: skip
    return {"listen_type": "import", "payload": plays}


def test_fifty_submit_at_once_while_a_taste_is_trained_and_everything_is_kept_once(place: Place) -> None:
    with place.browser("Ana") as ana:
        assert ana.post("/taste/retrain").status_code == 303
    place.wait(lambda: place.jobs() == ["running"])
    headers = {"authorization": f"Token {place.token}"}
    rounds = 0
    with httpx.Client(base_url=place.url, headers=headers, timeout=120) as player, ThreadPoolExecutor(SENDERS) as pool:

        def send(sender: int) -> int:
            for _ in range(60):
                answer = player.post("/1/submit-listens", json=_submission(sender))
                if answer.status_code != 503:
                    break
                time.sleep(float(answer.headers["Retry-After"]))  # as a player does that is told to
            return answer.status_code

        while rounds == 0 or place.jobs() == ["running"]:
            assert set(pool.map(send, range(SENDERS))) == {200}
            rounds += 1
    place.wait(lambda: place.jobs()[0] in ENDED)
    print(f"{rounds} rounds of {SENDERS} submissions")
    with place.db.read() as db:
        wanted = select(Listen.listened_at).where(Listen.listener_id == place.people["Ana"], Listen.listened_at >= AT)
        kept = Counter(db.scalars(wanted))
    assert set(kept.values()) == {1} and len(kept) == SENDERS * EACH


def test_two_clicks_make_one_retrain(place: Place) -> None:
    with place.browser("Ana") as ana, ThreadPoolExecutor(8) as pool:
        codes = set(pool.map(lambda _: ana.post("/taste/retrain").status_code, range(8)))
        assert codes <= {303, 409} and 303 in codes
        place.wait(lambda: place.jobs() == ["running"])
        assert ana.post("/taste/retrain").status_code == 303
    place.wait(lambda: place.jobs()[0] in ENDED)
    assert len(place.jobs()) == 1
    with place.db.read() as db:
        assert len(db.scalars(select(AdapterVersion.id)).all()) == 1


def test_who_leaves_while_their_taste_is_trained_leaves_nothing_and_the_next_is_served(place: Place) -> None:
    ben = place.people["Ben"]
    with place.browser("Ben") as browser:
        assert browser.post("/taste/retrain").status_code == 303
        place.wait(lambda: place.jobs() == ["running"])
        assert browser.post("/settings/delete", data={"current": PASSWORD}).status_code == 303
    with place.db.read() as db:
        assert db.get(Listener, ben) is None
    with place.browser("Ana") as ana:
        assert ana.post("/taste/retrain").status_code == 303
    place.wait(lambda: place.jobs() != [] and place.jobs()[0] in ENDED)
    folder: Path = place.settings.adapters
    assert [path.name for path in folder.glob("*") if re.fullmatch("[0-9a-f]{16}", path.name)] == [place.people["Ana"]]
    with place.db.read() as db:
        assert db.scalars(select(Listen.id).where(Listen.listener_id == ben)).all() == []
