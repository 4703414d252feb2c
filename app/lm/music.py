"""Fold the shipped music adapter into the base: W + scale · B·A, once, at load."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from app.errors import AdapterMissing, AdapterUnfit
from app.lm.locate import sha256_of

_PREFIX = "base_model.model."


def fold_in(network: nn.Module, folder: Path) -> tuple[nn.Module, str]:
    """Merge a plain PEFT LoRA into a network; returns it with the adapter's sha256.

    Raises AdapterMissing or AdapterUnfit; the network is untouched then.
    """
    weights, config = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    if not weights.is_file() or not config.is_file():
        raise AdapterMissing(f"The music adapter is not in {folder}. Restore it, or set EARSHOT_MUSIC_ADAPTER=none.")
    settings = json.loads(config.read_text(encoding="utf-8"))
    scale = settings["lora_alpha"] / settings["r"]
    tensors = load_file(weights)
    merged: list[tuple[nn.Linear, torch.Tensor]] = []
    for key, down in tensors.items():
        if not key.endswith(".lora_A.weight"):
            continue
        name = key.removeprefix(_PREFIX).removesuffix(".lora_A.weight")
        up = tensors.get(key.replace("lora_A", "lora_B"))
        try:
            module = network.get_submodule(name)
        except AttributeError:
            raise AdapterUnfit(f"The music adapter in {folder} has {name}, which the base lacks.") from None
        if up is None or not isinstance(module, nn.Linear) or not _fits(module, down, up):
            raise AdapterUnfit(f"The music adapter in {folder} does not fit the base at {name}.")
        delta = scale * (up.float() @ down.float())
        if not torch.isfinite(delta).all():
            raise AdapterUnfit(f"The music adapter in {folder} has values that are not finite at {name}.")
        merged.append((module, delta))
    with torch.no_grad():
        for module, delta in merged:
            module.weight += delta
    return network, sha256_of(weights)


def _fits(module: nn.Linear, down: torch.Tensor, up: torch.Tensor) -> bool:
    if not up.ndim == down.ndim == 2 or len(down) != up.shape[1]:
        return False
    return module.weight.shape == (len(up), down.shape[1])
