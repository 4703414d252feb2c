"""What `earshot doctor` finds, one fault at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from app import cli_upkeep, main
from app.db import Database
from app.errors import BaseMissing, DatabaseDamaged
from app.lm.engine import Engine
from app.services import accounts, examining
from app.settings import Settings
from app.tables import Chore, Job, Listener
from tests.web.test_many_at_once import give_adapter


def wrong(settings: Settings) -> dict[str, str]:
    """What is wrong, by what it was found in."""
    return {f.what: f"{f.said} {f.mend}" for f in cli_upkeep.examine(settings) if not f.is_well}


@pytest.fixture
def no_base(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks that need no base are looked at without one."""

    def missing(settings: Settings) -> None:
        raise BaseMissing("There is no base.")

    monkeypatch.setattr(cli_upkeep, "open_engine", missing)


@pytest.mark.usefixtures("no_base")
def test_each_fault_of_a_place_is_named_with_its_mending(bare: Settings, bare_db: Database) -> None:
    with bare_db.write() as db:
        ana = accounts.first_listener(db, "Ana", "a good long password")
    assert set(wrong(bare)) == {"base"}
    with bare_db.write() as db:
        db.add(Job(listener_id=ana.id, state="running", lease_until=1))
        db.add(Chore(name="backup", due_at=1, error="No space left on device"))
        db.execute(update(Listener).values(is_admin=False))
    found = wrong(bare.model_copy(update={"host": "0.0.0.0"}))
    assert set(found) == {"base", "jobs", "chore backup", "administrator", "https"}
    assert "1 left by a worker that died" in found["jobs"] and "No space left" in found["chore backup"]
    with bare_db.write() as db:
        db.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    assert "earshot setup" in wrong(bare)["schema"]


@pytest.mark.usefixtures("no_base")
@pytest.mark.parametrize("content", [b"no database at all", b""])
def test_a_damaged_database_is_found_and_nothing_written(bare: Settings, bare_db: Database, content: bytes) -> None:
    bare_db.close()
    file = bare.data / "earshot.db"
    file.write_bytes(content * 1000)
    for end in ("-wal", "-shm"):
        (bare.data / f"earshot.db{end}").unlink(missing_ok=True)
    assert "database" in wrong(bare)
    if content:
        with pytest.raises(DatabaseDamaged, match="earshot restore"):
            examining.check_file(bare.url)
        assert file.read_bytes() == content * 1000


def test_damaged_vectors_and_adapters_are_found(
    settings: Settings, db: Database, engine: Engine, ana: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_upkeep, "open_engine", lambda _: engine)
    version = give_adapter(db, engine, ana, seed=1)
    assert set(wrong(settings)) == {"administrator"}
    _flip(engine.store.folder(ana.id, version).weights, 500)
    _flip(next(settings.vectors.glob("*/vectors.f32")), 100)
    found = wrong(settings)
    assert "sha256" in found[f"adapter {ana.id}/{version}"] and "retrain" in found[f"adapter {ana.id}/{version}"]
    assert found["catalogue vectors"].startswith("1 of ") and "--again" in found["catalogue vectors"]


def test_damaged_vectors_and_adapters_are_named_at_the_start_of_the_server(
    settings: Settings, db: Database, engine: Engine, ana: Listener, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    version = give_adapter(db, engine, ana, seed=1)
    _flip(engine.store.folder(ana.id, version).weights, 500)
    _flip(next(settings.vectors.glob("*/vectors.f32")), 100)
    monkeypatch.setattr(main, "open_engine", lambda *_: engine)
    main.LazyEngine(settings).warm(db, 0).join()
    said = caplog.text
    assert f"adapter {ana.id}/{version}" in said and "The base answers for them" in said
    assert "catalogue vectors: 1 of " in said and "the rest works" in said


def _flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 0xFF
    file.write_bytes(bytes(data))
