"""A database that another process has locked, or that cannot be written: said so, nothing lost, and reading goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from fastapi import FastAPI
from sqlalchemy import event, select, update
from starlette.testclient import TestClient

from app import db as database
from app.db import Database
from app.main import create_app
from app.services import accounts, tokens
from app.settings import Settings
from app.tables import BrowserSession, Feedback, Listen, Listener
from app.tables_players import ApiToken, NowPlaying
from tests.web.conftest import SAME_SITE, browser

HOLDS = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def pages(bare: Settings, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """The app without a base, which waits for a lock a moment only."""
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.05)
    return create_app(bare, warm=False)


@pytest.fixture
def ana(bare_db: Database) -> Listener:
    """The administrator."""
    with bare_db.write() as db:
        return accounts.first_listener(db, "Ana", "a good long password")


@pytest.fixture
def mine(pages: FastAPI, bare_db: Database, ana: Listener) -> Iterator[TestClient]:
    """Ana's browser."""
    with TestClient(pages, headers=SAME_SITE):
        yield browser(pages, bare_db, ana)


@pytest.fixture
def token(bare_db: Database, ana: Listener) -> str:
    """A token of Ana's that may do both."""
    with bare_db.write() as db:
        return tokens.add(db, ana.id, "Phone", ["submit", "read"])[1]


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Another process holds the database's write lock."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(settings.data / "earshot.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        yield
        holder.communicate(b"")


Send = Callable[[TestClient, str], tuple[int, str]]


def _page(client: TestClient, token: str) -> tuple[int, str]:
    sent = client.post("/listens", data={"artist": "A", "title": "B", "when": "2024-01-01T10:00"},
                       headers={"accept": "application/json"})  # fmt: skip
    return sent.status_code, sent.headers.get("retry-after", "")


def _api(client: TestClient, token: str) -> tuple[int, str]:
    sent = client.post("/api/v1/listens", json={"artist": "A", "title": "B", "listened_at": 1_704_103_200},
                       headers={"authorization": f"Bearer {token}"})  # fmt: skip
    return sent.status_code, sent.headers.get("retry-after", "")


def _listenbrainz(client: TestClient, token: str) -> tuple[int, str]:
    track = {"artist_name": "A", "track_name": "B"}
    body = {"listen_type": "single", "payload": [{"listened_at": 1_704_103_200, "track_metadata": track}]}
    sent = client.post("/1/submit-listens", json=body, headers={"authorization": f"Token {token}"})
    return sent.status_code, sent.headers.get("retry-after", "")


def _audioscrobbler(client: TestClient, token: str) -> tuple[int, str]:
    form = {"method": "track.scrobble", "sk": token, "artist[0]": "A", "track[0]": "B", "timestamp[0]": "1704103200",
            "format": "json"}  # fmt: skip
    sent = client.post("/2.0/", data=form)
    assert sent.status_code == 200 or sent.json()["error"] == 16, "what clients take as: keep it and try again"
    return sent.status_code, sent.headers.get("retry-after", "")


@pytest.mark.parametrize("send", [_page, _api, _listenbrainz, _audioscrobbler])
def test_a_write_is_asked_to_come_again_and_is_taken_once_then(
    bare: Settings, bare_db: Database, mine: TestClient, token: str, send: Send
) -> None:
    with locked(bare):
        for _ in range(2):
            code, wait = send(mine, token)
            assert code == 503 and int(wait) > 0
        assert count(bare_db) == 0
    assert send(mine, token)[0] in (200, 201)
    assert count(bare_db) == 1


def count(opened: Database) -> int:
    """How many listens there are."""
    with opened.read() as db:
        return len(db.scalars(select(Listen.id)).all())


def _make_stale(opened: Database) -> None:
    with opened.write() as db:
        db.execute(update(BrowserSession).values(seen_at=0))
        db.execute(update(ApiToken).values(used_at=0))


READS = ("/", "/listens", "/browse", "/settings", "/healthz", "/api/v1/me", "/api/v1/listens", "/export/listens.jsonl")


def test_pages_can_be_read_meanwhile(bare: Settings, bare_db: Database, mine: TestClient, token: str) -> None:
    _make_stale(bare_db)
    with locked(bare):
        answers = {path: mine.get(path).status_code for path in READS}
        answers["by token"] = mine.get("/api/v1/me", headers={"authorization": f"Bearer {token}"}).status_code
    assert set(answers.values()) == {200}, answers


def test_what_cannot_be_written_says_so_and_can_still_be_read(
    pages: FastAPI, bare_db: Database, mine: TestClient, ana: Listener, token: str
) -> None:
    _make_stale(bare_db)
    opened = pages.state.earshot.db
    event.listen(opened.engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only=ON"))
    opened.engine.dispose()  # from now on every connection is as to a read-only file
    answers = {path: mine.get(path).status_code for path in READS}
    answers["by token"] = mine.get("/api/v1/me", headers={"authorization": f"Bearer {token}"}).status_code
    assert set(answers.values()) == {200}, answers
    for send in (_page, _api, _listenbrainz):
        assert send(mine, token)[0] == 507
    said = mine.post("/listens", data={"artist": "A", "title": "B"}, headers={"accept": "application/json"}).json()
    assert said["error"] == "CannotWrite" and "cannot be written" in said["message"]
    assert json.loads(mine.get("/readyz").text)["ready"] is False
    with bare_db.read() as db:
        for table in (Listen, Feedback, NowPlaying):
            assert db.scalars(select(table)).all() == []
