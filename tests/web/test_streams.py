"""Pages that show what happens as it happens: open streams shut nobody out, and end with their session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import delete

from app.db import Database
from app.main import create_app
from app.services import accounts, privacy
from app.settings import Settings
from app.tables import Job, Listener
from app.web.streams import MOST
from tests.web.conftest import SAME_SITE
from tests.web.test_pages import served

GOOD = "a good long password"
STREAM = {"accept": "text/event-stream"}


@pytest.fixture
def pages(bare: Settings) -> FastAPI:
    """The app without a base, which answers two at once."""
    return create_app(bare.model_copy(update={"max_requests": 2}), warm=False)


@pytest.fixture
def people(bare_db: Database) -> dict[str, Listener]:
    """The administrator and a friend, each with a retrain that waits."""
    with bare_db.write() as db:
        found = {"Ana": accounts.first_listener(db, "Ana", GOOD), "Ben": accounts.add_listener(db, "Ben", GOOD)}
        db.add_all(Job(listener_id=who.id) for who in found.values())
    return found


@pytest.fixture
def url(pages: FastAPI) -> Iterator[str]:
    """Where the app is served."""
    with served(pages) as found:
        yield found


def browser(url: str, db: Database, who: Listener) -> httpx.Client:
    """A signed-in browser."""
    with db.write() as session:
        cookie = accounts.start_session(session, who.id, 1)
    return httpx.Client(base_url=url, headers={"cookie": f"earshot={cookie}", **SAME_SITE}, timeout=30)


def test_open_streams_take_nobodys_place_and_one_listener_has_a_few_only(
    pages: FastAPI, url: str, bare_db: Database, people: dict[str, Listener]
) -> None:
    with browser(url, bare_db, people["Ana"]) as ana, browser(url, bare_db, people["Ben"]) as ben, ExitStack() as open_:
        streams = [open_.enter_context(ana.stream("GET", "/live/events", headers=STREAM)) for _ in range(MOST)]
        reading = [stream.iter_lines() for stream in streams]
        assert all(next(lines).startswith("data:") for lines in reading)
        refused = ana.get("/live/events", headers=STREAM)
        assert refused.status_code == 503 and int(refused.headers["retry-after"]) > 0
        for client in (ana, ben):
            assert client.get("/listens").status_code == 200, "two at once are answered, and streams are not of them"
        with ben.stream("GET", "/live/events", headers=STREAM) as his:
            assert his.status_code == 200, "hers are not counted as his"
    with browser(url, bare_db, people["Ana"]) as ana:
        for _ in range(3000):  # until the server has seen that they are closed
            if not pages.state.earshot.streams:
                break
            ana.get("/healthz")
        with ana.stream("GET", "/live/events", headers=STREAM) as again:
            assert again.status_code == 200


def test_without_a_retrain_there_is_nothing_to_watch_and_that_is_no_bug(
    url: str, bare_db: Database, people: dict[str, Listener], caplog: pytest.LogCaptureFixture
) -> None:
    with bare_db.write() as db:
        db.execute(delete(Job))
    with browser(url, bare_db, people["Ben"]) as ben:
        assert ben.get("/taste/events", headers=STREAM).status_code == 404
    assert "a bug" not in caplog.text


@pytest.mark.parametrize(
    ("path", "end"), [("/live/events", "another password"), ("/taste/events", "the account's deletion")]
)
def test_a_stream_ends_with_its_session(
    url: str, bare: Settings, bare_db: Database, people: dict[str, Listener], path: str, end: str
) -> None:
    ben = people["Ben"].id
    with (
        browser(url, bare_db, people["Ben"]) as thief,
        thief.stream("GET", path, headers=STREAM) as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines).startswith("data:")
        with bare_db.write() as db:
            if end == "another password":
                accounts.reset_password(db, db.get_one(Listener, ben), 1)
            else:
                privacy.delete_account(db, ben)
        assert [line for line in lines if line.startswith("data:")] == [], "it ended, and told no more"
