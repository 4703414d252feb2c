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
from app.lm.pretraining_start import Start, widen
from app.lm.pretraining_wishes import SHARE as WISHES
from app.lm.pretraining_wishes import Wishes
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
    """A base with a LoRA to train, fresh or widened from ``start``.

    ``base`` was loaded for pretraining alone; its top layers are the LoRA's.
    """

    def __init__(self, base: Base, rank: int, seed: int, start: Start | None = None) -> None:
        from peft import LoraConfig, TaskType, get_peft_model

        self.base, self.start = base, start
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
        if start is not None:
            widen(self.network, start.folder, rank, config.lora_alpha / config.r)
        self.device = next(base.network.parameters()).device

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The LoRA's own tensors by name."""
        return {name: p for name, p in self.network.named_parameters() if p.requires_grad}

    def lower(self, texts: list[str]) -> Lower:
        """What the LoRA's layers read of some texts."""
        lower = self.base.lower(texts)
        with torch.inference_mode(False):
            return Lower(lower.hidden.clone(), lower.input_ids.clone(), lower.mask.clone())

    def upper(self, lower: Lower) -> Tensor:
        """Unit vectors (n, D) with gradients to the LoRA."""
        return self.base.upper(self.network, lower)

    @torch.no_grad()
    def vectors(self, texts: list[str], autocast: Callable[[], torch.autocast], batch: int = 64) -> Tensor:
        """(n, D) float32 on the CPU, no gradients."""
        result = torch.empty(len(texts), self.base.dimension)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            with autocast():
                result[rows] = self.upper(self.lower([texts[i] for i in rows])).float().cpu()
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
    wishes: Wishes | None = None,
) -> float:
    """Gradients of one step over ``count`` texts; returns the mean of 1 - cosine to what was wanted.

    targets: (N, D) of the artists; factor: (D, D): the loss is half the squared error through it. Where the student
    went on from an adapter, songs are wanted where that one says; their errors and those of wishes, where there are
    any, count alike in all directions.
    """
    asked, places = wishes.draw(round(WISHES * count), random) if wishes is not None else ([], targets[:0])
    drawn = texts.draw(count - len(asked), random)
    written = [*drawn.texts, *asked]
    wanted_at = torch.cat([targets[torch.from_numpy(drawn.artists).to(targets.device)], places.to(targets.device)])
    titled = torch.from_numpy(np.concatenate([drawn.titled, np.zeros(len(asked), bool)])).to(targets.device)
    a_wish = torch.arange(count, device=targets.device) >= len(drawn.texts)
    order = sorted(range(count), key=lambda i: (len(written[i]), i))
    lost = 0.0
    for at in range(0, count, _MICRO_BATCH):
        part = order[at : at + _MICRO_BATCH]
        wanted = wanted_at[part]
        alike = a_wish[part]
        with autocast():
            lower = student.lower([written[i] for i in part])
            made = student.upper(lower).float()
            if student.start is not None:
                songs = titled[part]
                wanted = torch.where(songs[:, None], student.start.songs(lower, wanted), wanted)
                alike = alike | songs
        error = made - wanted
        loss = 0.5 * ((error[~alike] @ factor).square().sum() + error[alike].square().sum()) / count
        loss.backward()  # type: ignore[no-untyped-call]
        lost += float((1 - (made.detach() * wanted).sum(-1)).sum()) / count
    return lost


def rate(step: int, steps: int, most: float = RATE) -> float:
    """Warm up over the first steps, then fall straight to a thirtieth."""
    return most * min(1.0, (step + 1) / _WARM_UP) * max(1 / 30, 1 - step / steps)


def means_of(vectors: Tensor, of: Ints, count: int) -> Tensor:
    """(count, D) unit means of vectors (n, D) by the row that each belongs to (n,)."""
    sums = torch.zeros(count, vectors.shape[1]).index_add_(0, torch.from_numpy(of), vectors)
    return normalize(sums, dim=-1)
