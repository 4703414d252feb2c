"""What the tests of imports share: a place without a base, since nothing here asks for a recommendation."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

from app.db import Database
from app.services import accounts, preparing
from app.services.imports import running
from app.services.imports.reporting import ImportReport
from app.services.imports.staging import Staging
from app.tables import Listen, Listener, Song


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory, new_url: Callable[[str, str], str]) -> Path:
    """A migrated database with nothing in it; copied for each test."""
    path = tmp_path_factory.mktemp("empty") / "earshot.db"
    preparing.migrate(new_url("empty", "") or f"sqlite:///{path}")
    return path


@pytest.fixture
def db(empty_database: Path, tmp_path: Path, new_url: Callable[[str, str], str]) -> Iterator[Database]:
    """An empty database."""
    (tmp_path / "data").mkdir()
    url = new_url("place", "empty")
    if not url:
        shutil.copy(empty_database, tmp_path / "data" / "earshot.db")
    database = Database(url or f"sqlite:///{tmp_path / 'data' / 'earshot.db'}")
    yield database
    database.close()


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    """Where files of imports lie."""
    return Staging(tmp_path / "data" / "imports")


@pytest.fixture
def ben(db: Database) -> Listener:
    """A second listener."""
    with db.write() as session:
        return accounts.add_listener(session, "Ben", None)


Bring = Callable[..., tuple[str, ImportReport]]


@pytest.fixture
def bring(db: Database, staging: Staging, ana: Listener) -> Bring:
    """Preview and import paths for Ana (or somebody else); gives the import's id and report."""

    def run(*paths: Path, who: Listener = ana, shift: int = 0) -> tuple[str, ImportReport]:
        with db.write() as session:
            made = running.begin(session, who.id, "shell", "test")
            made.shift_minutes = shift
        hold = running.Run(db, staging, made.id, "test:1")
        named = [(path.name, path) for path in paths]
        hold.look(named)
        with db.write() as session:
            running.start(session, who.id, made.id)
        return made.id, hold.take(named)

    return run


Played = list[tuple[str, str, int | None, str]]


@pytest.fixture
def played(db: Database) -> Callable[[Listener], Played]:
    """(artist, title, time, how it ended) of somebody's listens, by time."""

    def read(who: Listener) -> Played:
        columns = select(Song.artist, Song.title, Listen.listened_at, Listen.ended).join(
            Song, Song.id == Listen.song_id
        )
        with db.read() as session:
            rows: Sequence[tuple[str, str, int | None, str]] = [
                tuple(row) for row in session.execute(columns.where(Listen.listener_id == who.id))
            ]
        return sorted(rows, key=lambda row: (row[2] or 0, row[0], row[1]))

    return read
