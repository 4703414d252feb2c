"""Adapters on disk: there wholly or not at all, and refused when anything is odd."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from app.errors import AdapterAltered, AdapterMissing, AdapterProblem, AdapterUnfit
from app.lm.locate import sha256_of
from app.lm.store import AdapterFolder, AdapterStore
from app.settings import PROJECT

from .making import flip_byte, peft_tensors, write_adapter

U1, U10 = "0" * 15 + "1", "0" * 14 + "10"
V1, V2 = "a" * 16, "b" * 16
FINGERPRINT = "f" * 64
SHAPES = {"layers.0.q_proj": (6, 8), "layers.0.v_proj": (6, 4)}
RANK = 3
A_KEY = "base_model.model.layers.0.v_proj.lora_A.weight"
B_KEY = "base_model.model.layers.0.v_proj.lora_B.weight"
KILLED = """
import os, signal, sys
from pathlib import Path
from app.lm.store import AdapterStore

def save(folder):
    (folder / "adapter_model.safetensors").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)

AdapterStore(Path(sys.argv[1])).write(sys.argv[2], sys.argv[3], save, {})
"""


@pytest.fixture
def store(tmp_path: Path) -> AdapterStore:
    """An empty store."""
    return AdapterStore(tmp_path / "adapters")


def put(store: AdapterStore, listener: str = U1, version: str = V1, **more: Any) -> AdapterFolder:
    tensors = more.pop("tensors", None) or peft_tensors(SHAPES, RANK, seed=1)
    return write_adapter(store, listener, version, tensors, fingerprint=FINGERPRINT, rank=RANK, **more)


def take(store: AdapterStore, listener: str = U1, version: str = V1) -> Any:
    return store.read(listener, version, FINGERPRINT, SHAPES)


def test_what_is_written_is_read_back_with_the_scale_folded_in(store: AdapterStore) -> None:
    tensors = peft_tensors(SHAPES, RANK, seed=1)
    folder = put(store, tensors=tensors)
    lora = take(store)
    assert lora.rank == RANK
    for name in SHAPES:
        down = tensors[f"base_model.model.{name}.lora_A.weight"]
        up = tensors[f"base_model.model.{name}.lora_B.weight"]
        assert torch.equal(lora.a[name], down.T)
        assert torch.equal(lora.b[name], 2.0 * up.T)  # lora_alpha is twice the rank
    assert folder.size == sum(file.stat().st_size for file in folder.path.iterdir())
    assert store.versions(U1) == [V1]


def test_the_card_states_the_digest_of_every_other_file(store: AdapterStore) -> None:
    folder = put(store)
    assert {file.name for file in folder.path.iterdir()} == {
        "adapter_model.safetensors",
        "adapter_config.json",
        "card.json",
    }
    digests = {file.name: sha256_of(file) for file in (folder.weights, folder.config)}
    assert store.card(U1, V1)["sha256"] == digests


def test_the_card_is_written_last_and_strays_are_not_kept(store: AdapterStore) -> None:
    seen: list[set[str]] = []

    def save(folder: Path) -> None:
        (folder / "README.md").write_text("a stub", encoding="utf-8")
        (folder / "adapter_config.json").write_text("{}", encoding="utf-8")
        seen.append({file.name for file in folder.iterdir()})
        assert folder.name.startswith(".writing-")
        assert store.versions(U1) == []
        (folder / "adapter_model.safetensors").write_bytes(b"")

    folder = store.write(U1, V1, save, {})
    assert seen == [{"README.md", "adapter_config.json"}]
    assert not (folder.path / "README.md").exists()


@pytest.mark.parametrize("problem", [OSError("disk full"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_nothing(store: AdapterStore, problem: BaseException) -> None:
    def save(folder: Path) -> None:
        (folder / "adapter_model.safetensors").write_bytes(b"half")
        raise problem

    with pytest.raises(type(problem)):
        store.write(U1, V1, save, {})
    assert list((store.root / U1).iterdir()) == []


def test_a_card_that_is_not_json_leaves_nothing(store: AdapterStore) -> None:
    def save(folder: Path) -> None:
        (folder / "adapter_model.safetensors").write_bytes(b"")
        (folder / "adapter_config.json").write_bytes(b"{}")

    with pytest.raises(ValueError, match="nan"):
        store.write(U1, V1, save, {"loss": float("nan")})
    assert list((store.root / U1).iterdir()) == []


def test_a_killed_write_is_never_a_version_and_is_swept(store: AdapterStore) -> None:
    put(store, version=V2)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(store.root), U1, V1], cwd=PROJECT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert store.versions(U1) == [V2]
    with pytest.raises(AdapterMissing):
        take(store)
    assert store.sweep() == 1
    assert [path.name for path in (store.root / U1).iterdir()] == [V2]
    assert store.sweep() == 0
    assert take(store, version=V2).rank == RANK


def test_a_version_is_never_changed_once_written(store: AdapterStore) -> None:
    before = put(store)
    digest = sha256_of(before.weights)
    with pytest.raises(OSError, match=V1):
        put(store, tensors=peft_tensors(SHAPES, RANK, seed=2))
    assert sha256_of(before.weights) == digest
    assert [path.name for path in (store.root / U1).iterdir()] == [V1]


def no_weights(folder: AdapterFolder) -> None:
    folder.weights.unlink()


def no_config(folder: AdapterFolder) -> None:
    folder.config.unlink()


def no_card(folder: AdapterFolder) -> None:
    folder.card.unlink()


def no_folder(folder: AdapterFolder) -> None:
    shutil.rmtree(folder.path)


def pickle_instead(folder: AdapterFolder) -> None:
    torch.save(load_file(folder.weights), folder.path / "adapter_model.bin")
    folder.weights.unlink()


@pytest.mark.parametrize("harm", [no_weights, no_config, no_card, no_folder, pickle_instead])
def test_a_version_with_a_file_missing_is_refused(store: AdapterStore, harm: Callable[[AdapterFolder], None]) -> None:
    harm(put(store))
    with pytest.raises(AdapterMissing):
        take(store)


def flipped_tensor(folder: AdapterFolder) -> None:
    flip_byte(folder.weights, -2)


def flipped_header(folder: AdapterFolder) -> None:
    flip_byte(folder.weights, 20)


def flipped_config(folder: AdapterFolder) -> None:
    flip_byte(folder.config, 5)


def trailing_bytes(folder: AdapterFolder) -> None:
    with folder.weights.open("ab") as stream:
        stream.write(b"\0" * 16)


def truncated(folder: AdapterFolder) -> None:
    os.truncate(folder.weights, folder.weights.stat().st_size - 4)


def emptied(folder: AdapterFolder) -> None:
    os.truncate(folder.weights, 0)


def card_is_no_json(folder: AdapterFolder) -> None:
    os.truncate(folder.card, 10)


def card_is_binary(folder: AdapterFolder) -> None:
    folder.card.write_bytes(b"\xff\xfe\x00")


def card_is_a_list(folder: AdapterFolder) -> None:
    folder.card.write_text("[1]", encoding="utf-8")


def card_without_digests(folder: AdapterFolder) -> None:
    folder.card.write_text(json.dumps({"base_fingerprint": FINGERPRINT}), encoding="utf-8")


def card_is_very_deep(folder: AdapterFolder) -> None:
    folder.card.write_text("[" * 200_000, encoding="utf-8")


HARMS = [
    flipped_tensor,
    flipped_header,
    flipped_config,
    trailing_bytes,
    truncated,
    emptied,
    card_is_no_json,
    card_is_binary,
    card_is_a_list,
    card_without_digests,
    card_is_very_deep,
]


@pytest.mark.parametrize("harm", HARMS)
def test_altered_bytes_are_refused(store: AdapterStore, harm: Callable[[AdapterFolder], None]) -> None:
    harm(put(store))
    with pytest.raises(AdapterAltered):
        take(store)


def restate(folder: AdapterFolder) -> None:
    """Make the card's digests true again, as someone with write access could."""
    card = json.loads(folder.card.read_text(encoding="utf-8"))
    card["sha256"] = {file.name: sha256_of(file) for file in (folder.weights, folder.config)}
    folder.card.write_text(json.dumps(card), encoding="utf-8")


@pytest.mark.parametrize("harm", [flipped_header, trailing_bytes, truncated, emptied])
def test_a_broken_weights_file_is_refused_even_if_its_digest_is_right(
    store: AdapterStore, harm: Callable[[AdapterFolder], None]
) -> None:
    folder = put(store)
    harm(folder)
    restate(folder)
    with pytest.raises(AdapterProblem):
        take(store)


@pytest.mark.parametrize(
    "config",
    ["[]", "{}", '{"r": 0, "lora_alpha": 1}', '{"r": "x", "lora_alpha": 1}', '{"r": Infinity, "lora_alpha": 1}', "no"],
)
def test_a_broken_config_is_refused_even_if_its_digest_is_right(store: AdapterStore, config: str) -> None:
    folder = put(store)
    folder.config.write_text(config, encoding="utf-8")
    restate(folder)
    with pytest.raises(AdapterAltered):
        take(store)


def with_nan(tensors: dict[str, Tensor]) -> None:
    tensors[A_KEY][0, 0] = float("nan")


def with_infinity(tensors: dict[str, Tensor]) -> None:
    tensors[B_KEY][0, 0] = float("-inf")


def wrong_inputs(tensors: dict[str, Tensor]) -> None:
    tensors[A_KEY] = torch.zeros(RANK, 7)


def wrong_rank(tensors: dict[str, Tensor]) -> None:
    tensors[A_KEY], tensors[B_KEY] = torch.zeros(RANK + 1, 6), torch.zeros(4, RANK + 1)


def wrong_way_round(tensors: dict[str, Tensor]) -> None:
    tensors[B_KEY] = tensors[B_KEY].T.contiguous()


def one_too_many(tensors: dict[str, Tensor]) -> None:
    tensors["base_model.model.layers.0.v_proj.base_layer.weight"] = torch.zeros(4, 6)


def one_too_few(tensors: dict[str, Tensor]) -> None:
    del tensors[B_KEY]


def another_module(tensors: dict[str, Tensor]) -> None:
    tensors[A_KEY.replace("layers.0", "layers.1")] = tensors.pop(A_KEY)


MISFITS = [
    with_nan,
    with_infinity,
    wrong_inputs,
    wrong_rank,
    wrong_way_round,
    one_too_many,
    one_too_few,
    another_module,
]


@pytest.mark.parametrize("change", MISFITS)
def test_tensors_that_do_not_fit_are_refused_with_digests_that_are_right(
    store: AdapterStore, change: Callable[[dict[str, Tensor]], None]
) -> None:
    tensors = peft_tensors(SHAPES, RANK, seed=1)
    change(tensors)
    put(store, tensors=tensors)
    with pytest.raises(AdapterUnfit, match=V1):
        take(store)


@pytest.mark.parametrize("alpha", [float("nan"), float("inf"), 1e40])
def test_a_scale_that_makes_values_infinite_is_refused(store: AdapterStore, alpha: float) -> None:
    put(store, config={"lora_alpha": alpha})
    with pytest.raises(AdapterUnfit, match="not finite"):
        take(store)


def test_an_adapter_of_another_base_is_refused_by_name(store: AdapterStore) -> None:
    put(store)
    with pytest.raises(AdapterUnfit, match="another base"):
        store.read(U1, V1, "e" * 64, SHAPES)


ODD_IDS = ["../x", "..", ".", "", "u1", "A" * 16, "0" * 15, "0" * 17, "0" * 16 + "\n", "0" * 15 + "/", "0" * 15 + "\0"]


@pytest.mark.parametrize("odd", ODD_IDS)
def test_an_id_that_is_not_opaque_and_of_one_width_is_refused_everywhere(store: AdapterStore, odd: str) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: store.folder(odd, V1),
        lambda: store.folder(U1, odd),
        lambda: take(store, listener=odd),
        lambda: take(store, version=odd),
        lambda: put(store, listener=odd),
        lambda: put(store, version=odd),
        lambda: store.remove(odd),
        lambda: store.remove(U1, odd),
    ]
    put(store)
    for call in calls:
        with pytest.raises(AdapterMissing):
            call()
    assert take(store).rank == RANK
    assert {path.name for path in store.root.iterdir()} == {U1}


def test_ids_that_begin_alike_do_not_touch_each_other(store: AdapterStore) -> None:
    for seed, listener in enumerate((U1, U10)):
        for version in (V1, V2):
            put(store, listener, version, tensors=peft_tensors(SHAPES, RANK, seed))
    store.remove(U1, V1)
    assert (store.versions(U1), store.versions(U10)) == ([V2], [V1, V2])
    store.remove(U1)
    assert (store.versions(U1), store.versions(U10)) == ([], [V1, V2])
    expected = peft_tensors(SHAPES, RANK, seed=1)[A_KEY].T
    assert torch.equal(take(store, U10).a["layers.0.v_proj"], expected)
