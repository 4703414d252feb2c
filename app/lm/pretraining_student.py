"""The student: a plain PEFT LoRA on the base's top layers that puts any text of an artist where the teacher does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from app.lm.base import Base, Lower
from app.lm.pretraining_checkpoint import write_whole
from app.lm.pretraining_world import Ints, Texts

RATE = 2e-3
_MICRO_BATCH = 128
_WARM_UP = 30


def every_linear(base: Base, layers: int) -> list[str]:
    """Full names of all linear modules in the last ``layers`` layers."""
    path, count = base.architecture.layers_path, base.architecture.layer_count
    return [
        f"{path}.{index}.{name}"
        for index in range(count - min(layers, count), count)
        for name, module in base.network.get_submodule(f"{path}.{index}").named_modules()
        if isinstance(module, nn.Linear)
    ]


class Student:
    """A base with a LoRA to train. ``base`` was loaded for pretraining alone; its top layers are the LoRA's."""

    def __init__(self, base: Base, rank: int, seed: int) -> None:
        from peft import LoraConfig, TaskType, get_peft_model

        self.base = base
        config = LoraConfig(
            r=rank,
            lora_alpha=2 * rank,
            target_modules=every_linear(base, base.top_layers),
            lora_dropout=0.0,
            bias="none",
            task_type=TaskType.FEATURE_EXTRACTION,
            base_model_name_or_path=base.files.name,
        )
        upper = base.upper_network()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = get_peft_model(upper, config).eval()
        self.device = next(base.network.parameters()).device

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The LoRA's own tensors by name."""
        return {name: p for name, p in self.network.named_parameters() if p.requires_grad}

    def encode(self, texts: list[str]) -> Tensor:
        """Unit vectors (n, D) with gradients to the LoRA."""
        lower = self.base.lower(texts)
        with torch.inference_mode(False):
            lower = Lower(lower.hidden.clone(), lower.input_ids.clone(), lower.mask.clone())
            return self.base.upper(self.network, lower)

    @torch.no_grad()
    def vectors(self, texts: list[str], autocast: Callable[[], torch.autocast], batch: int = 64) -> Tensor:
        """(n, D) float32 on the CPU, no gradients."""
        result = torch.empty(len(texts), self.base.dimension)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            with autocast():
                result[rows] = self.encode([texts[i] for i in rows]).float().cpu()
        return result

    def save(self, folder: Path) -> None:
        """adapter_model.safetensors (bfloat16) and adapter_config.json as PEFT names them, each file whole or not."""
        draft = folder / ".draft"
        self.network.save_pretrained(str(draft), safe_serialization=True, save_embedding_layers=False)
        tensors = load_file(draft / "adapter_model.safetensors")
        halves = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in tensors.items()}
        save_file(halves, draft / "half.safetensors", metadata={"format": "pt"})
        config = json.loads((draft / "adapter_config.json").read_text(encoding="utf-8"))
        config["target_modules"] = sorted(config["target_modules"])  # PEFT keeps a set, whose order changes
        write_whole(folder / "adapter_model.safetensors", (draft / "half.safetensors").read_bytes())
        write_whole(folder / "adapter_config.json", (json.dumps(config, indent=1, sort_keys=True) + "\n").encode())
        for file in draft.iterdir():
            file.unlink()
        draft.rmdir()


def plain_attention(network: nn.Module) -> None:
    """Texts are some ten tokens long: there, on a CPU in bfloat16, the fused kernel took twice as long as products."""
    change: Any = getattr(network, "set_attn_implementation", None)
    if change is not None:
        change("eager")


def learn(
    student: Student,
    texts: Texts,
    targets: Tensor,
    factor: Tensor,
    count: int,
    random: np.random.Generator,
    autocast: Callable[[], torch.autocast],
) -> float:
    """Gradients of one step over ``count`` texts; returns the mean of 1 - cosine to the teacher.

    targets: (N, D) of the artists; factor: (D, D): the loss is half the squared error through it.
    """
    artists, written = texts.draw(count, random)
    order = sorted(range(count), key=lambda i: (len(written[i]), i))
    lost = 0.0
    for start in range(0, count, _MICRO_BATCH):
        part = order[start : start + _MICRO_BATCH]
        with autocast():
            made = student.encode([written[i] for i in part])
        wanted = targets[torch.from_numpy(artists[part]).to(targets.device)]
        error = (made.float() - wanted) @ factor
        loss = 0.5 * error.square().sum(-1).sum() / count
        loss.backward()  # type: ignore[no-untyped-call]
        lost += float((1 - (made.detach().float() * wanted).sum(-1)).sum()) / count
    return lost


def rate(step: int, steps: int, most: float = RATE) -> float:
    """Warm up over the first steps, then fall straight to a thirtieth."""
    return most * min(1.0, (step + 1) / _WARM_UP) * max(1 / 30, 1 - step / steps)


def means_of(vectors: Tensor, of: Ints, count: int) -> Tensor:
    """(count, D) unit means of vectors (n, D) by the row that each belongs to (n,)."""
    sums = torch.zeros(count, vectors.shape[1]).index_add_(0, torch.from_numpy(of), vectors)
    return normalize(sums, dim=-1)
