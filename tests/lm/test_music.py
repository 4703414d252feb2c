"""Folding the music adapter into the base."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel

from app.errors import AdapterMissing, AdapterUnfit
from app.lm.base import Base
from app.lm.locate import sha256_of
from app.lm.music import fold_in

from .making import TEXTS, load_folder, peft_with_random_lora

WEIGHTS = "adapter_model.safetensors"
TARGETS = [  # more than a listener's adapter has: the music adapter may sit anywhere
    "encoder.layer.0.attention.self.query",
    "encoder.layer.0.attention.self.key",
    "encoder.layer.1.intermediate.dense",
    "encoder.layer.2.output.dense",
]


def fresh(folder: Path) -> torch.nn.Module:
    network: torch.nn.Module = AutoModel.from_pretrained(folder, dtype=torch.float32)
    return network


@pytest.fixture(scope="module")
def music(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random music adapter for the tiny base, written by stock PEFT."""
    folder = tmp_path_factory.mktemp("music")
    peft_with_random_lora(fresh(tiny_folder), TARGETS, rank=3, seed=5, alpha=7).save_pretrained(str(folder))
    return folder


def altered(music: Path, to: Path, change: Callable[[dict[str, Tensor]], None]) -> Path:
    shutil.copytree(music, to, dirs_exist_ok=True)
    tensors = load_file(to / WEIGHTS)
    change(tensors)
    save_file(tensors, to / WEIGHTS)
    return to


def test_folding_in_is_what_peft_merges(tiny_folder: Path, music: Path) -> None:
    ours, digest = fold_in(fresh(tiny_folder), music)
    theirs = PeftModel.from_pretrained(fresh(tiny_folder), music).merge_and_unload()
    before = fresh(tiny_folder).state_dict()
    expected = theirs.state_dict()
    assert ours.state_dict().keys() == expected.keys()
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-5, rtol=0)
    moved = {name for name in before if not torch.equal(before[name], ours.state_dict()[name])}
    assert moved == {f"{name}.weight" for name in TARGETS}
    assert digest == sha256_of(music / WEIGHTS)


def test_a_base_with_music_is_another_base(tiny_folder: Path, tiny: Base, music: Path) -> None:
    musical = load_folder(tiny_folder, music_folder=music)
    assert musical.music == sha256_of(music / WEIGHTS)
    assert musical.fingerprint != tiny.fingerprint
    assert (musical.encode(TEXTS) - tiny.encode(TEXTS)).abs().max() > 1e-3


def test_a_music_adapter_that_is_not_there_says_what_to_set(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(AdapterMissing, match="EARSHOT_MUSIC_ADAPTER=none"):
        load_folder(tiny_folder, music_folder=tmp_path / "nowhere")


def foreign_name(tensors: dict[str, Tensor]) -> None:
    for half in "AB":
        name = f"base_model.model.{TARGETS[0]}.lora_{half}.weight"
        tensors[name.replace("layer.0", "layer.9")] = tensors.pop(name)


def wrong_shape(tensors: dict[str, Tensor]) -> None:
    tensors[f"base_model.model.{TARGETS[-1]}.lora_A.weight"] = torch.zeros(3, 5)


def wrong_rank(tensors: dict[str, Tensor]) -> None:
    tensors[f"base_model.model.{TARGETS[-1]}.lora_A.weight"] = torch.zeros(2, 48)


def half_gone(tensors: dict[str, Tensor]) -> None:
    del tensors[f"base_model.model.{TARGETS[-1]}.lora_B.weight"]


def not_finite(tensors: dict[str, Tensor]) -> None:
    tensors[f"base_model.model.{TARGETS[-1]}.lora_B.weight"][0, 0] = float("nan")


@pytest.mark.parametrize("change", [foreign_name, wrong_shape, wrong_rank, half_gone, not_finite])
def test_a_misfit_is_refused_and_the_network_left_alone(
    tiny_folder: Path, music: Path, tmp_path: Path, change: Callable[[dict[str, Tensor]], None]
) -> None:
    network = fresh(tiny_folder)
    with pytest.raises(AdapterUnfit):
        fold_in(network, altered(music, tmp_path, change))
    for name, tensor in fresh(tiny_folder).state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name])
