"""The shell: each command's words and --json, and errors as one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.db import Database
from app.lm.engine import Engine
from app.services import accounts, circle_adapter, listens
from app.settings import PROJECT, Settings
from app.tables import Listener


class Shell:
    """Runs commands on one home."""

    def __init__(self, home: Path) -> None:
        self.env = {"EARSHOT_HOME": str(home), "EARSHOT_THREADS": "1", "EARSHOT_TRAIN_THREADS": "1"}

    def __call__(self, *words: str, **env: str) -> Result:
        """Run a command in this process."""
        return CliRunner().invoke(main, [*words], env=self.env | env)

    def facts(self, *words: str) -> dict[str, Any]:
        """Run a command with --json; it must go well."""
        result = self(*words, "--json")
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found


@pytest.fixture
def shell(settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The shell, with the base that is loaded already where a command would load it again."""
    monkeypatch.setattr("app.cli.open_engine", lambda *_: engine)
    return Shell(settings.home)


@pytest.fixture
def tsv(tmp_path: Path) -> Path:
    """Fourteen songs to import, and two broken rows."""
    path = tmp_path / "mine.tsv"
    rows = [f"Queen\tSong Number {n}\t\t{n + 1}" for n in range(14)]
    path.write_text("artist\ttitle\tat\tplays\n" + "\n".join([*rows, "Queen\t\t\t", "Queen\t39\tsoon\t"]), "utf-8")
    return path


def test_lora_counts_exactly() -> None:
    spoken = CliRunner().invoke(main, ["lora", "--in", "784", "--out", "784", "--rank", "4"])
    assert spoken.exit_code == 0 and "614,656 against 6,272 trainable parameters" in spoken.stdout
    exact = CliRunner().invoke(main, ["lora", "--in", "784", "--out", "784", "--rank", "4", "--json"])
    assert json.loads(exact.stdout) == {"full": 614_656, "trainable": 6_272, "share": 6_272 / 614_656}


@pytest.mark.parametrize("words", [["--in", "0"], ["--out", "-1"], ["--rank", "x"], []])
def test_lora_refuses_what_is_no_size(words: list[str]) -> None:
    assert CliRunner().invoke(main, ["lora", *words]).exit_code == 2


def test_every_command_has_help_and_takes_json() -> None:
    def commands(group: Any, path: list[str]) -> list[list[str]]:
        found: list[list[str]] = []
        for name, command in group.commands.items():
            found += commands(command, [*path, name]) if hasattr(command, "commands") else [[*path, name]]
        return found

    names = commands(main, [])
    assert {" ".join(n) for n in names} >= {
        "serve", "worker", "setup", "import", "retrain", "recommend", "lora", "user add", "model show",
    }  # fmt: skip
    for words in names:
        result = CliRunner().invoke(main, [*words, "--help"])
        assert result.exit_code == 0 and "--json" in result.output, words


def test_a_user_added_gets_a_link_and_a_taken_name_is_an_error(shell: Shell, db: Database) -> None:
    added = shell.facts("user", "add", "Ben")
    assert added["name"] == "Ben" and len(added["id"]) == 16 and "/join/" in added["link"]
    with db.read() as session:
        assert accounts.open_invite(session, added["link"].split("/")[-1]).for_listener == added["id"]
    again = shell("user", "add", "BEN")
    assert (again.exit_code, again.stdout) == (1, "") and again.stderr.startswith("earshot: The name 'BEN' is taken.")
    machine = shell("user", "add", "BEN", "--json")
    assert machine.exit_code == 1 and json.loads(machine.stdout)["error"] == "Conflict"


def test_an_import_says_what_became_of_every_row_and_adds_nothing_again(
    shell: Shell, ana: Listener, tsv: Path, engine: Engine
) -> None:
    before = engine.encoded()
    first = shell.facts("import", str(tsv), "--user", "ana")
    assert (first["rows"], first["taken"], first["undated"], first["dropped"], first["new_songs"]) == (
        16,
        14,
        14,
        2,
        14,
    )
    assert [r["line"] for r in first["reasons"]] == [16, 17]
    assert engine.encoded() == before + 14
    again = shell("import", str(tsv), "--user", "Ana")
    assert again.exit_code == 0
    assert "16 rows: 0 taken" in again.stdout and "line 17: the time 'soon' is no whole number" in again.stdout


@pytest.mark.parametrize("content", ["", "artist\ttitle\n", "no\theader\n"])
def test_a_file_with_nothing_in_it_is_an_error(shell: Shell, ana: Listener, tmp_path: Path, content: str) -> None:
    path = tmp_path / "empty.tsv"
    path.write_text(content, "utf-8")
    result = shell("import", str(path), "--user", "Ana")
    assert result.exit_code == 1 and "empty.tsv" in result.stderr and "Traceback" not in result.output


@pytest.mark.parametrize(
    "words",
    [["import", "FILE", "--user", "Nobody"], ["retrain", "Nobody"], ["recommend", "Nobody"], ["recommend", "\udcff"],
     ["recommend", ""]],
)  # fmt: skip
def test_an_unknown_user_is_one_line_on_stderr(shell: Shell, tsv: Path, words: list[str]) -> None:
    result = shell(*[str(tsv) if word == "FILE" else word for word in words])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("earshot: There is no listener named") and result.stderr.count("\n") == 1


def test_a_recommendation_prints_songs_with_scores_and_reasons(
    shell: Shell, db: Database, ana: Listener, tsv: Path
) -> None:
    with db.write() as session:
        for song in range(1, 9):
            listens.log(session, ana.id, song_id=song)
    made = shell.facts("recommend", "ana", "-n", "5")
    assert (made["listener"], made["version"], len(made["songs"])) == ("Ana", None, 5)
    for song in made["songs"]:
        assert set(song) == {"artist", "title", "score", "reasons"} and -1 <= song["score"] <= 1
        assert all(set(r) == {"because", "share"} for r in song["reasons"]) and song["reasons"]
    spoken = shell("recommend", "ana", "-n", "5")
    assert spoken.stdout.startswith("  1. ") and "because of" in spoken.stdout
    wished = shell.facts("recommend", "ana", "-n", "5", "--wish", "late night hip hop")
    assert [s["title"] for s in wished["songs"]] != [s["title"] for s in made["songs"]]


@pytest.mark.parametrize(
    ("words", "message"),
    [(["-n", "0"], "1 to 200"), (["-n", "201"], "1 to 200"), (["--mode", "both"], "discover or familiar"),
     (["--wish", "a\x01b"], "control character"), (["--wish", "\udcff"], "no valid Unicode")],
)  # fmt: skip
def test_what_cannot_be_asked_is_one_line_on_stderr(
    shell: Shell, ana: Listener, words: list[str], message: str
) -> None:
    result = shell("recommend", "Ana", *words)
    assert (result.exit_code, result.stdout) == (1, "") and message in result.stderr


def test_a_retrain_with_too_few_songs_says_how_many_are_missing(shell: Shell, ana: Listener) -> None:
    result = shell("retrain", "Ana")
    assert result.exit_code == 1 and "12 are missing" in result.stderr


@pytest.mark.training
def test_a_retrain_prints_the_verdict_and_the_lora_facts(
    shell: Shell, ana: Listener, tsv: Path, engine: Engine, settings: Settings
) -> None:
    shell.facts("import", str(tsv), "--user", "Ana")
    made = shell.facts("retrain", "Ana")
    wanted = {"version", "promoted", "before", "after", "seconds", "trainable_parameters", "base_parameters", "bytes"}
    assert wanted <= set(made)
    facts = engine.facts()
    assert (made["trainable_parameters"], made["base_parameters"]) == (
        facts.trainable_parameters,
        facts.base_parameters,
    )
    folder = settings.adapters / ana.id / made["version"]
    assert sum(f.stat().st_size for f in folder.iterdir()) == made["bytes"]
    answered = shell.facts("recommend", "Ana")["version"]
    assert answered == (made["version"] if made["promoted"] else None)


def test_model_show_states_the_base(shell: Shell, engine: Engine) -> None:
    shown = shell.facts("model", "show")
    assert (shown["fingerprint"], shown["encoded"]) == (engine.fingerprint, engine.encoded())
    assert shown["trainable_parameters"] == engine.facts().trainable_parameters
    assert engine.fingerprint in shell("model", "show").stdout


def test_the_command_itself_runs_and_keeps_all_state_under_its_home(tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith("EARSHOT_")} | {"EARSHOT_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "app", "user", "add", "Jürgen", "--json"], cwd=PROJECT, env=env, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["name"] == "Jürgen"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]
    broken = subprocess.run(
        [sys.executable, "-m", "app", "user", "add", b"\xff\xfe"], cwd=PROJECT, env=env, capture_output=True
    )
    assert broken.returncode == 1 and b"Traceback" not in broken.stderr


def test_a_setting_that_cannot_be_is_one_line_on_stderr(shell: Shell) -> None:
    result = shell("user", "add", "Ben", EARSHOT_PORT="many")
    assert result.exit_code == 1 and result.exception is not None and isinstance(result.exception, SystemExit)
    assert "EARSHOT_PORT" in result.stderr


def test_a_circle_too_small_to_train_is_an_error(shell: Shell) -> None:
    result = shell("circle", "retrain")
    assert result.exit_code == 1 and "needs 2 members with 12 different songs each; 0 of" in result.stderr


@pytest.mark.training
def test_a_circle_prints_whom_it_learnt_from_and_the_verdict(shell: Shell, db: Database) -> None:
    with db.write() as session:
        for name, first in (("Ben", 1), ("Cleo", 13)):
            listener = accounts.add_listener(session, name, None)
            for song in range(first, first + 12):
                listens.log(session, listener.id, song_id=song, at=1_700_000_000)
            circle_adapter.join(session, listener.id, 12)
    made = shell.facts("circle", "retrain")
    assert (made["members"], made["songs"]) == (2, 20) and made["after"]["of"] == 4
