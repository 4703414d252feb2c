"""A backup is good when a fresh place made of it answers as the old one does."""

from __future__ import annotations

from pathlib import Path

import pytest

from app import upkeep
from app.db import Database
from app.errors import BadInput
from app.lm.engine import Engine
from app.opening import KINDS
from app.services import accounts, backup, chores, listens
from app.settings import Settings
from app.tables import Chore, Listener
from tests.web.conftest import songs  # noqa: F401  (the fixture)
from tests.web.test_many_at_once import give_adapter


@pytest.fixture
def listener(db: Database, engine: Engine, ana: Listener, songs: list[int]) -> Listener:  # noqa: F811
    """Ana, with listens and an adapter that answers."""
    with db.write() as session:
        for song in songs[:8]:
            listens.log(session, ana.id, song_id=song)
    give_adapter(db, engine, ana, seed=1)
    return ana


def test_a_backup_is_restored_on_trial_and_its_adapters_answer(
    settings: Settings, db: Database, engine: Engine, listener: Listener, tmp_path: Path
) -> None:
    with db.write() as session:
        accounts.add_listener(session, "Ben", None)
    backup.back_up(db, settings.adapters, tmp_path / "b.tar.gz")
    assert upkeep.prove(tmp_path / "b.tar.gz", engine, KINDS) == 2


def test_a_backup_without_the_adapter_that_answered_is_no_good(
    settings: Settings, db: Database, engine: Engine, listener: Listener, tmp_path: Path
) -> None:
    backup.back_up(db, tmp_path / "an empty folder", tmp_path / "b.tar.gz")
    with pytest.raises(BadInput, match="does not answer"):
        upkeep.prove(tmp_path / "b.tar.gz", engine, KINDS)


def test_the_schedule_makes_proves_and_keeps_backups(
    settings: Settings, db: Database, engine: Engine, listener: Listener
) -> None:
    doings = upkeep.doings(db, settings, lambda: engine, KINDS)
    with db.write() as session:
        chores.schedule(session, doings)
        chores.ask(session, "backup")
    assert chores.run_due(db, doings) == 1
    with db.read() as session:
        done = session.get_one(Chore, "backup")
        assert "1 lists asked" in done.said and done.error == "" and done.done_at
    assert len(list(settings.backups.iterdir())) == 1


def test_without_a_schedule_a_backup_is_made_when_it_is_asked_for_and_then_no_more(
    settings: Settings, db: Database, engine: Engine, listener: Listener
) -> None:
    doings = upkeep.doings(db, settings.model_copy(update={"backup_hours": 0}), lambda: engine, KINDS)
    with db.write() as session:
        chores.schedule(session, doings)
        assert session.get(Chore, "backup") is None
        chores.ask(session, "backup")
    assert [chores.run_due(db, doings) for _ in range(2)] == [1, 0]
    with db.read() as session:
        assert session.get_one(Chore, "backup").due_at is None
    assert len(list(settings.backups.iterdir())) == 1
