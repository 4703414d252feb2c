"""What the tests of the services share."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import select

from app.db import Database
from app.lm.asking import Ask, Own
from app.lm.song_text import song_text
from app.services import accounts
from app.services.recommending import EngineTypes
from app.tables import Listener, Song


@pytest.fixture
def kinds() -> EngineTypes:
    """The engine's vocabulary as main.py hands it in."""
    return EngineTypes(Own, Ask, song_text)


@pytest.fixture
def ben(db: Database) -> Listener:
    """A second listener."""
    with db.write() as session:
        return accounts.add_listener(session, "Ben", None)


@pytest.fixture
def song_ids(db: Database) -> Sequence[int]:
    """Ids of the small catalogue, in order."""
    with db.read() as session:
        return list(session.scalars(select(Song.id).order_by(Song.id)))
