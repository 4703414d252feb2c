"""Every setting has a name in the environment, a default, and a row in README.md's table."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import PROJECT, Settings

FIELDS = Settings.model_fields


def readme_rows() -> dict[str, list[str]]:
    """Cells of README.md's table rows that name a setting, by the setting's name."""
    rows: dict[str, list[str]] = {}
    for line in (PROJECT / "README.md").read_text(encoding="utf-8").splitlines():
        found = re.match(r"^\|\s*`(EARSHOT_[A-Z_]+)`\s*\|", line)
        if found:
            rows[found[1]] = [cell.strip() for cell in line.strip().strip("|").split("|")]
    return rows


def test_readme_lists_exactly_the_settings_there_are() -> None:
    assert set(readme_rows()) == {f"EARSHOT_{name.upper()}" for name in FIELDS}


def plain_default(value: object) -> str | None:
    """A default as README.md may write it; None where it says it in words (a folder, nothing)."""
    if isinstance(value, Path) or value == "":
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_readme_states_the_default(name: str) -> None:
    row = readme_rows()[f"EARSHOT_{name.upper()}"]
    default = plain_default(FIELDS[name].default)
    if default is not None:
        stated = row[1].strip("`").replace(",", "").replace("_", "").lower()
        assert stated == default.replace("_", "").lower(), f"README says {row[1]}, the code {default}"
    assert row[-1], "README says nothing of it"


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in FIELDS.items() if not field.description] == []


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_a_setting_is_read_from_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: dict[type[object] | None, tuple[str, object]] = {
        Path: ("/somewhere", Path("/somewhere")), str: ("word", "word"), int: ("3", 3), float: ("0.5", 0.5),
        bool: ("true", True),
    }  # fmt: skip
    given, wanted = ("5000", 5000) if name in ("max_body_bytes", "max_import_bytes") else kinds[FIELDS[name].annotation]
    monkeypatch.setenv(f"EARSHOT_{name.upper()}", given)
    assert getattr(Settings(), name) == wanted


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", "70000"), ("port", "many"), ("min_songs", "1"), ("rank", "0"), ("slots", "0"), ("threads", "-1")],
)
def test_a_value_out_of_bounds_is_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"EARSHOT_{name.upper()}", value)
    with pytest.raises(ValidationError, match=name):
        Settings()


def test_all_state_lies_under_the_home(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert settings.url == f"sqlite:///{tmp_path}/data/earshot.db"
    assert settings.vectors.is_relative_to(tmp_path) and settings.adapters.is_relative_to(tmp_path)


def test_another_database_is_taken_as_given(tmp_path: Path) -> None:
    assert Settings(home=tmp_path, database_url="postgresql://x/y").url == "postgresql://x/y"


def test_no_music_adapter_is_none(tmp_path: Path) -> None:
    assert Settings(home=tmp_path, music_adapter="none").music is None
    assert Settings(models=tmp_path, music_adapter="music-1").music == tmp_path / "music-1"


def test_the_default_music_adapter_is_for_the_shipped_base_only(tmp_path: Path) -> None:
    assert Settings(models=tmp_path).music == tmp_path / "music"
    assert Settings(models=tmp_path, base_model="another").music is None
    named = Settings(models=tmp_path, base_model="another", music_adapter="mine")
    assert named.music == tmp_path / "mine"


def test_web_and_worker_share_the_cores_unless_told_otherwise() -> None:
    assert Settings().numeric_threads(3) == 3
    assert Settings().numeric_threads(0) == max(1, (os.cpu_count() or 1) // 2)
    assert Settings().worker_threads == os.cpu_count() and Settings(train_threads=3).worker_threads == 3
