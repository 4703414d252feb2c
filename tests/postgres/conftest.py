"""A real PostgreSQL, whatever --database says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.db import Database
from app.services import accounts, preparing
from app.tables import Listener
from tests.servers import fresh


@pytest.fixture
def url(server: str) -> str:
    """An empty database."""
    return fresh(server, "earshot")


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    """An empty database with all tables."""
    preparing.migrate(url)
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def ana(db: Database) -> Listener:
    """A listener with no listens."""
    with db.write() as session:
        return accounts.add_listener(session, "Ana", None)
