"""Passwords are hashed with no lock held, and what sets one ends every other way to set it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.db import Database
from app.errors import NotFound
from app.main import create_app
from app.services import accounts, passwords
from app.settings import Settings
from app.tables import Listener
from tests.web.conftest import SAME_SITE, browser

GOOD, NEW = "a good long password", "another one of those"


class Beside:
    """The real hasher; whenever it works, somebody else writes to the database at once, or not at all."""

    def __init__(self, settings: Settings) -> None:
        self.real, self.file, self.worked = passwords._HASHER, settings.data / "earshot.db", 0

    def _write(self) -> None:
        self.worked += 1
        with closing(sqlite3.connect(self.file, timeout=0, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("ROLLBACK")

    def hash(self, password: str) -> str:
        """As the real one."""
        self._write()
        return self.real.hash(password)

    def verify(self, stored: str, password: bytes) -> bool:
        """As the real one."""
        self._write()
        return self.real.verify(stored, password)


@pytest.fixture
def beside(bare: Settings, monkeypatch: pytest.MonkeyPatch) -> Beside:
    """Everybody's hasher, watched."""
    hasher = Beside(bare)
    monkeypatch.setattr(passwords, "_HASHER", hasher)
    return hasher


@pytest.fixture
def pages(bare: Settings) -> FastAPI:
    """The app without a base."""
    return create_app(bare, warm=False)


@pytest.fixture
def stranger(pages: FastAPI) -> Iterator[TestClient]:
    """A browser that nobody has signed in with."""
    with TestClient(pages, raise_server_exceptions=False, follow_redirects=False, headers=SAME_SITE) as client:
        yield client


def link(opened: Database, for_listener: str | None = None) -> str:
    """A new link's token."""
    with opened.write() as db:
        return accounts.invite(db, None, 1, for_listener=for_listener)


def test_while_a_password_is_hashed_others_write(beside: Beside, stranger: TestClient, bare_db: Database) -> None:
    def did(code: int, method: str, path: str, **sent: object) -> None:
        before = beside.worked
        answer = stranger.request(method, path, **sent)  # type: ignore[arg-type]
        assert answer.status_code == code and beside.worked > before, (path, answer.text)

    did(303, "POST", "/setup", data={"name": "Ana", "password": GOOD})
    did(303, "POST", "/settings/password", data={"current": GOOD, "new": NEW})
    did(204, "PUT", "/api/v1/me/password", json={"current": NEW, "new": GOOD})
    with bare_db.write() as db:
        ben = accounts.add_listener(db, "Ben", None, is_admin=True).id
    did(303, "POST", "/settings/delete", data={"current": GOOD})
    did(303, "POST", f"/join/{link(bare_db, ben)}", data={"password": GOOD})
    did(303, "POST", "/login", data={"name": "Ben", "password": GOOD})
    did(201, "POST", f"/api/v1/join/{link(bare_db)}", json={"name": "Cleo", "password": GOOD})
    did(201, "POST", "/api/v1/sessions", json={"name": "Cleo", "password": GOOD})
    did(204, "POST", "/api/v1/me/leave", json={"current": GOOD})


def test_a_link_that_never_was_and_a_second_first_visit_cost_no_hashing(
    beside: Beside, stranger: TestClient, bare_db: Database
) -> None:
    stranger.post("/setup", data={"name": "Ana", "password": GOOD})
    before = beside.worked
    assert stranger.post("/setup", data={"name": "Eve", "password": GOOD}).status_code == 409
    assert stranger.post("/join/guessed", data={"name": "Eve", "password": GOOD}).status_code == 404
    assert beside.worked == before


@pytest.mark.parametrize("way", ["by another link", "in Settings", "by a reset"])
def test_a_new_password_ends_every_link_that_would_set_yet_another(
    stranger: TestClient, pages: FastAPI, bare_db: Database, way: str
) -> None:
    with bare_db.write() as db:
        ana = accounts.first_listener(db, "Ana", GOOD)
        ben = accounts.add_listener(db, "Ben", GOOD)
    lost, his, for_somebody_new = link(bare_db, ana.id), link(bare_db, ben.id), link(bare_db)
    mine = browser(pages, bare_db, ana)
    if way == "by another link":
        assert stranger.post(f"/join/{link(bare_db, ana.id)}", data={"password": NEW}).status_code == 303
    elif way == "in Settings":
        assert mine.post("/settings/password", data={"current": GOOD, "new": NEW}).status_code == 303
    else:
        assert mine.post(f"/admin/people/{ana.id}/reset").status_code == 200
    with bare_db.read() as db:
        with pytest.raises(NotFound):
            accounts.open_invite(db, lost)
        assert accounts.open_invite(db, his) and accounts.open_invite(db, for_somebody_new)


def test_of_two_new_passwords_at_once_only_one_is_set(
    stranger: TestClient, pages: FastAPI, bare_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other tab is faster: between the check of the old password and the write of the new one."""
    with bare_db.write() as db:
        ana = accounts.first_listener(db, "Ana", GOOD)
    mine, real = browser(pages, bare_db, ana), passwords._HASHER

    class Late:
        def hash(self, password: str) -> str:
            with bare_db.write() as db:
                db.get_one(Listener, ana.id).password_hash = real.hash(NEW)
            return real.hash(password)

        def verify(self, stored: str, password: bytes) -> bool:
            return real.verify(stored, password)

    monkeypatch.setattr(passwords, "_HASHER", Late())
    answer = mine.post("/settings/password", data={"current": GOOD, "new": "a third one, and long"})
    assert answer.status_code == 422 and "meanwhile" in answer.text
    monkeypatch.setattr(passwords, "_HASHER", real)
    with bare_db.read() as db:
        assert accounts.has_password(db, ana.id, NEW)
