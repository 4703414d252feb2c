"""The shell brings listening along, says what became of it, takes it back, and takes everything away."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from app.db import Database
from app.lm.engine import Engine
from app.services import listens
from app.settings import Settings
from app.tables import Listener
from tests.services.imports.exports_made import PLAYS, spotify, spotify_basic, zipped
from tests.test_cli import Shell


@pytest.fixture
def shell(settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The shell, with the base that is loaded already where a command would load it again."""
    monkeypatch.setattr("app.cli.open_engine", lambda *_: engine)
    return Shell(settings.home)


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A zip as it comes from Spotify, with one podcast in it."""
    rows = json.loads(spotify(PLAYS))
    rows.append(rows[0] | {"master_metadata_track_name": None, "episode_name": "Talk"})
    path = tmp_path / "my_data.zip"
    path.write_bytes(zipped({"a.json": json.dumps(rows).encode()}))
    return path


def total(db: Database, who: Listener) -> int:
    """How many listens somebody has."""
    with db.read() as session:
        return listens.page(session, who.id)[1]


def test_a_history_is_previewed_taken_listed_reported_and_taken_back(
    shell: Shell, db: Database, ana: Listener, history: Path, engine: Engine
) -> None:
    seen = shell("import", str(history), "--user", "Ana", "--preview")
    assert seen.exit_code == 0 and "Spotify, extended streaming history: a.json" in seen.stdout
    assert total(db, ana) == 0 and shell.facts("imports", "list", "--user", "Ana") == {"imports": []}
    before = engine.encoded()
    done = shell.facts("import", str(history), "--user", "Ana")
    assert (done["rows"], done["taken"], done["dropped"], done["skips"]) == (7, 6, 1, 1)
    assert total(db, ana) == 6 and engine.encoded() > before
    (listed,) = shell.facts("imports", "list", "--user", "Ana")["imports"]
    assert (listed["id"], listed["state"], listed["taken"]) == (done["import"], "done", 6)
    assert "a podcast episode" in shell("imports", "report", done["import"], "--user", "Ana").stdout
    gone = shell.facts("imports", "undo", done["import"], "--user", "Ana")
    assert gone["listens"] == 6 and total(db, ana) == 0 and engine.encoded() == before
    assert shell("imports", "undo", done["import"], "--user", "Ana").exit_code == 1


def test_times_are_shifted_when_asked(shell: Shell, db: Database, ana: Listener, tmp_path: Path) -> None:
    path = tmp_path / "basic"
    path.write_bytes(spotify_basic(PLAYS[:1]))
    shell.facts("import", str(path), "--user", "Ana", "--shift-minutes", "-60")
    with db.read() as session:
        (listen,), _ = listens.page(session, ana.id)
    assert listen.listened_at is not None and abs(listen.listened_at - (PLAYS[0].at - 3600)) < 60


@pytest.mark.parametrize("kind", ["account", "jsonl", "csv"])
def test_what_is_exported_can_be_imported_and_adds_nothing(
    shell: Shell, ana: Listener, history: Path, tmp_path: Path, kind: str
) -> None:
    shell.facts("import", str(history), "--user", "Ana")
    path = tmp_path / "out"
    assert shell.facts("export", str(path), "--user", "Ana", "--as", kind)["bytes"] == path.stat().st_size > 0
    assert zipfile.is_zipfile(path) == (kind == "account")
    again = shell.facts("import", str(path), "--user", "Ana")
    assert (again["taken"], again["folded"], again["dropped"]) == (0, 6, 0)
    refused = shell("export", str(path), "--user", "Ana")
    assert refused.exit_code == 1 and "is there already" in refused.stderr
