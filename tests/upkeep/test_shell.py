"""The shell's commands of upkeep, as a person calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.db import Database
from app.services import accounts
from app.services.passwords import verify
from app.settings import Settings
from app.tables import Listener

GOOD = "a good long password"


def earshot(settings: Settings, *words: str, says: str = "") -> Result:
    """A command in that home."""
    return CliRunner().invoke(main, list(words), input=says, env={"EARSHOT_HOME": str(settings.home)})


def test_a_password_is_taken_away_and_a_link_given(bare: Settings, bare_db: Database) -> None:
    with bare_db.write() as db:
        ben = accounts.add_listener(db, "Ben", GOOD)
        token = accounts.start_session(db, ben.id, 1)
    done = earshot(bare, "user", "reset-password", "ben", "--json")
    link = json.loads(done.stdout)["link"]
    with bare_db.write() as db:
        assert accounts.whose_session(db, token) is None and not verify(
            db.get_one(Listener, ben.id).password_hash, GOOD
        )
        accounts.join(db, link.rpartition("/")[2], "", "another one of those")
    assert earshot(bare, "user", "reset-password", "Nobody").exit_code == 1


def test_somebody_is_deleted_only_when_that_is_confirmed(bare: Settings, people: dict[str, str]) -> None:
    asked = earshot(bare, "user", "delete", "Ben", says="n\n")
    assert asked.exit_code == 1 and "5 listens" in asked.stdout and "Nothing was deleted" in asked.stderr
    assert (bare.adapters / people["Ben"]).exists()
    done = earshot(bare, "user", "delete", "Ben", "--yes", "--json")
    assert json.loads(done.stdout)["rows"]["listens"] == 5 and not (bare.adapters / people["Ben"]).exists()
    assert earshot(bare, "user", "delete", "Ben", "--yes").exit_code == 1


def test_a_backup_is_made_and_restored_by_the_shell(bare: Settings, people: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "b.tar.gz"
    assert json.loads(earshot(bare, "backup", str(file), "--unproven", "--json").stdout)["adapters"] == 2
    fresh = Settings(home=tmp_path / "fresh")
    assert "Restored 2 adapters" in earshot(fresh, "restore", str(file)).stdout
    again = earshot(fresh, "restore", str(file))
    assert again.exit_code == 1 and "there already" in again.stderr
    assert earshot(bare, "backup", str(file), "--unproven").exit_code == 1


@pytest.mark.slow
def test_doctor_finds_nothing_in_a_place_that_is_well(bare: Settings, bare_db: Database) -> None:
    with bare_db.write() as db:
        accounts.first_listener(db, "Ana", GOOD)
    said = earshot(bare, "doctor", "--json")
    assert said.exit_code == 0, said.output
    assert {f["what"] for f in json.loads(said.stdout)["findings"]} >= {"database", "schema", "jobs", "base", "https"}


def test_a_setting_out_of_bounds_is_named(bare: Settings) -> None:
    done = CliRunner().invoke(main, ["doctor"], env={"EARSHOT_HOME": str(bare.home), "EARSHOT_BACKUP_KEEP": "0"})
    assert done.exit_code == 1 and "EARSHOT_BACKUP_KEEP" in done.stderr
