"""The base on disk: found, verified, and refused with advice."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from app.errors import BaseAltered, BaseMissing
from app.lm.base import load
from app.lm.engine import Engine, EngineSettings
from app.lm.locate import locate, sha256_of
from app.settings import PROJECT, Settings

from .making import NOWHERE, flip_byte, load_folder

BASE_TOML = PROJECT / "models" / "base.toml"
FIND = """
import json, sys
from pathlib import Path
from app.lm.locate import locate
files = locate(Path(sys.argv[1]))
print(json.dumps({"sha256": files.weights_sha256, "name": files.name, "modules": sorted(sys.modules)}))
"""


def declaring(place: Path, **changes: str) -> Path:
    """The real base.toml with some values changed."""
    declared = tomllib.loads(BASE_TOML.read_text(encoding="utf-8")) | changes
    path = place / "base.toml"
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in declared.items()), encoding="utf-8")
    return path


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the real base's folder, free to be altered."""
    return Path(shutil.copytree(locate(BASE_TOML).folder, tmp_path / "copied"))


def test_the_real_base_is_found_and_verified_without_importing_the_package_that_carries_it() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", FIND, str(BASE_TOML)], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    found = json.loads(answer.stdout)
    declared = tomllib.loads(BASE_TOML.read_text(encoding="utf-8"))
    assert found["sha256"] == declared["sha256"]
    assert found["name"] == declared["id"]
    assert not [name for name in found["modules"] if name.startswith(("gt_all", "torch", "transformers"))]


def test_the_digest_that_is_stated_is_that_of_the_file() -> None:
    files = locate(BASE_TOML)
    assert sha256_of(files.folder / "model.safetensors") == files.weights_sha256
    assert files.licence == "Apache-2.0"


def test_a_missing_base_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(BaseMissing, match=r"base\.toml is missing; restore it"):
        locate(tmp_path / "base.toml")


def test_a_package_that_is_not_installed_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(BaseMissing, match=r"no-such-package.*make setup.*EARSHOT_BASE_MODEL"):
        locate(declaring(tmp_path, distribution="no-such-package"))


def test_weights_that_are_not_there_say_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(BaseMissing, match=r"nowhere/model\.safetensors.*make setup"):
        locate(declaring(tmp_path, folder=str(tmp_path / "nowhere")))


def test_an_untouched_copy_is_taken(tmp_path: Path, copied: Path) -> None:
    assert locate(declaring(tmp_path, folder=str(copied))).folder == copied


def test_one_flipped_byte_is_refused_with_advice(tmp_path: Path, copied: Path) -> None:
    flip_byte(copied / "model.safetensors", 50_000_000)
    with pytest.raises(BaseAltered, match=r"truncated or altered.*pip install --force-reinstall"):
        locate(declaring(tmp_path, folder=str(copied)))


def test_truncated_weights_are_refused_with_advice(tmp_path: Path, copied: Path) -> None:
    os.truncate(copied / "model.safetensors", 1_000_000)
    with pytest.raises(BaseAltered, match=r"truncated or altered.*pip install --force-reinstall"):
        locate(declaring(tmp_path, folder=str(copied)))


def test_the_override_names_another_base(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARSHOT_BASE_MODEL", str(tiny_folder))
    override = Settings(home=tmp_path).base_model
    files = locate(BASE_TOML, override)
    assert files.folder == tiny_folder
    assert files.weights_sha256 == sha256_of(tiny_folder / "model.safetensors")
    engine = Engine.open(
        EngineSettings(
            BASE_TOML, vectors=tmp_path / "vectors", adapters=tmp_path / "adapters", base_override=override, slots=2
        )
    )
    assert engine.base.dimension == 32
    assert engine.base.files == files


def test_an_override_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BaseMissing, match=r"no config\.json.*EARSHOT_BASE_MODEL"):
        locate(BASE_TOML, str(tmp_path))


def test_pickled_weights_are_not_taken_for_a_base(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(BaseMissing, match="safetensors only"):
        locate(BASE_TOML, str(tmp_path))


def test_truncated_weights_in_an_override_are_named_at_load(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path, dirs_exist_ok=True)
    weights = tmp_path / "model.safetensors"
    os.truncate(weights, weights.stat().st_size - 100)
    with pytest.raises(BaseAltered, match=r"truncated or altered.*Fetch them again"):
        load_folder(tmp_path)


def test_a_broken_config_is_named_at_load(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "config.json").write_text('{"model_type": "nobody-knows"}', encoding="utf-8")
    with pytest.raises(BaseMissing, match="cannot be loaded"):
        load_folder(tmp_path)


def test_a_missing_tokenizer_is_named_at_load(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path, dirs_exist_ok=True)
    for file in tmp_path.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(BaseMissing, match="no tokenizer"):
        load_folder(tmp_path)


@pytest.mark.parametrize("hub_id", ["nobody/no-such-base", "../no/where", "not an id"])
def test_an_unknown_hub_id_is_refused_without_asking_the_network(hub_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def refuse(*args: object, **_: object) -> None:
        asked.append(args)
        raise OSError("the tests have no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(BaseMissing, match=r"neither a folder nor in the local hub cache.*earshot model fetch"):
        locate(BASE_TOML, hub_id)
    assert asked == []


def test_sharded_weights_have_one_digest_that_hangs_on_every_shard(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path, dirs_exist_ok=True)
    shutil.copy(tmp_path / "model.safetensors", tmp_path / "model-2.safetensors")
    before = locate(NOWHERE, str(tmp_path)).weights_sha256
    flip_byte(tmp_path / "model-2.safetensors", -1)
    assert locate(NOWHERE, str(tmp_path)).weights_sha256 != before


def test_another_base_has_another_fingerprint_and_the_same_base_the_same(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path, dirs_exist_ok=True)
    same = load_folder(tmp_path).fingerprint
    assert same == load_folder(tiny_folder).fingerprint
    flip_byte(tmp_path / "model.safetensors", -2)
    altered = load(locate(NOWHERE, str(tmp_path)))
    assert altered.fingerprint != same


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_settings_and_tokenizer_make_another_base_as_weights_do(tiny_folder: Path, tmp_path: Path, file: str) -> None:
    shutil.copytree(tiny_folder, tmp_path, dirs_exist_ok=True)
    with (tmp_path / file).open("a", encoding="utf-8") as stream:
        stream.write("\n")
    assert load_folder(tmp_path).fingerprint != load_folder(tiny_folder).fingerprint
