"""A real app around the session's base, and browsers that are signed in."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator

import pytest
from fastapi import FastAPI
from sqlalchemy import func, select
from starlette.testclient import TestClient

from app.db import Database
from app.lm.base import Base
from app.lm.engine import Engine
from app.main import create_app
from app.services import accounts
from app.settings import Settings
from app.tables import Feedback, Invite, Job, Listen, Listener, Preference, Song, Table
from tests.conftest import engine_for

SAME_SITE = {"sec-fetch-site": "same-origin"}


class Loaded:
    """The base is loaded; the engine is made around it when a page first asks for it, which few do."""

    ready = True

    def __init__(self, make: Callable[[], Engine]) -> None:
        self._make, self._one_at_a_time = functools.cache(make), threading.Lock()

    def get(self) -> Engine:
        """The engine, the same each time."""
        with self._one_at_a_time:
            return self._make()


@pytest.fixture
def loaded(base: Base, settings: Settings) -> Loaded:
    """The fresh home's engine, when it is asked for."""
    return Loaded(lambda: engine_for(base, settings))


@pytest.fixture
def engine(loaded: Loaded) -> Engine:
    """The engine that the app has too."""
    return loaded.get()


@pytest.fixture
def app(settings: Settings, loaded: Loaded) -> FastAPI:
    """The app as `earshot serve` runs it, with the base loaded."""
    made = create_app(settings, warm=False)
    made.state.earshot = dataclasses.replace(made.state.earshot, engine=loaded)
    return made


@pytest.fixture
def stranger(app: FastAPI) -> Iterator[TestClient]:
    """A browser that nobody has signed in with; an error of the app is a 500 and not an exception."""
    with TestClient(app, raise_server_exceptions=False, follow_redirects=False, headers=SAME_SITE) as client:
        app.state.portal = client.portal
        yield client


def browser(app: FastAPI, db: Database, listener: Listener) -> TestClient:
    """A signed-in browser; the app must be running already.

    It is served by the loop that the app runs in, if `stranger` started that: a loop a request takes as long as a page.
    """
    with db.write() as session:
        token = accounts.start_session(session, listener.id, 1)
    client = TestClient(app, raise_server_exceptions=False, follow_redirects=False, headers=SAME_SITE)
    client.cookies.set("earshot", token)
    client.portal = getattr(app.state, "portal", None)
    return client


@pytest.fixture
def admin(db: Database, ana: Listener) -> Listener:
    """Ana, who came first."""
    with db.write() as session:
        session.get_one(Listener, ana.id).is_admin = True
    return ana


@pytest.fixture
def me(app: FastAPI, stranger: TestClient, db: Database, admin: Listener) -> TestClient:
    """Ana's browser."""
    return browser(app, db, admin)


@pytest.fixture
def ben(db: Database) -> Listener:
    """A friend."""
    with db.write() as session:
        return accounts.add_listener(session, "Ben", None)


@pytest.fixture
def friend(app: FastAPI, stranger: TestClient, db: Database, ben: Listener) -> TestClient:
    """Ben's browser."""
    return browser(app, db, ben)


@pytest.fixture
def songs(db: Database) -> list[int]:
    """Song ids of the catalogue."""
    with db.read() as session:
        return list(session.scalars(select(Song.id).order_by(Song.id)))


WRITTEN: tuple[type[Table], ...] = (Listen, Song, Feedback, Preference, Job, Invite, Listener)


@pytest.fixture
def written(db: Database) -> object:
    """A function: how many rows each table has that a request may write."""

    def count() -> dict[str, int]:
        with db.read() as session:
            return {t.__tablename__: session.scalar(select(func.count()).select_from(t)) or 0 for t in WRITTEN}

    return count
