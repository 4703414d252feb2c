"""What follows from a base's config: its layers, which linear modules to adapt, how to pool.

Covers encoders (BERT, RoBERTa, MPNet, DistilBERT) and decoders (Llama, Qwen, Mistral) because their attention
projections carry one of the names in ``_TARGETS`` as ``torch.nn.Linear``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from app.errors import BaseUnsupported

Pooling = Literal["mean", "cls", "last"]

# Query, value and output projections of attention, as transformers names them (BERT, MPNet, DistilBERT, Llama).
_TARGETS = (
    ".query", ".value", ".attention.output.dense",
    ".q", ".v", ".attn.o",
    ".q_lin", ".v_lin", ".out_lin",
    ".q_proj", ".v_proj", ".o_proj",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Architecture:
    """Facts about a loaded base that the encoder, the slots and the trainer share."""

    layers_path: str
    layer_count: int
    hidden_size: int
    pooling: Pooling
    decoder: bool

    def targets(self, network: nn.Module, top_layers: int) -> list[str]:
        """Full names of the query, value and output projections in the last ``top_layers`` layers."""
        first = self.layer_count - min(top_layers, self.layer_count)
        names = [
            f"{self.layers_path}.{index}.{name}"
            for index in range(first, self.layer_count)
            for name, module in network.get_submodule(f"{self.layers_path}.{index}").named_modules()
            if f".{name}".endswith(_TARGETS) and isinstance(module, nn.Linear)
        ]
        if not names:
            raise BaseUnsupported(
                f"No attention projections as linear layers in the last {top_layers} layers of "
                f"{type(network).__name__}; Earshot adapts BERT-, RoBERTa-, MPNet- and Llama-like bases."
            )
        return names


def describe(network: nn.Module, folder: Path) -> Architecture:
    """Read an Architecture off a network and the folder it came from.

    Raises BaseUnsupported if no stack of ``num_hidden_layers`` layers is found.
    """
    config: Any = network.config
    count, hidden = int(config.num_hidden_layers), int(config.hidden_size)
    stacks = [
        name for name, module in network.named_modules() if isinstance(module, nn.ModuleList) and len(module) == count
    ]
    if not stacks:
        raise BaseUnsupported(f"{type(network).__name__} has no stack of {count} layers to adapt.")
    decoder = bool(getattr(config, "is_decoder", False)) or not _is_bidirectional(network)
    return Architecture(stacks[0], count, hidden, _pooling(folder, decoder), decoder)


def _is_bidirectional(network: nn.Module) -> bool:
    """Encoders in transformers carry absolute or relative position embeddings of their own; decoders rotate."""
    return any(name.endswith(("word_embeddings", "word_embedding")) for name, _ in network.named_modules())


def _pooling(folder: Path, decoder: bool) -> Pooling:
    """sentence-transformers' own statement if the folder has one, else mean for encoders and last for decoders."""
    stated = folder / "1_Pooling" / "config.json"
    if stated.is_file():
        modes = json.loads(stated.read_text(encoding="utf-8"))
        if modes.get("pooling_mode_cls_token"):
            return "cls"
        if modes.get("pooling_mode_lasttoken"):
            return "last"
        return "mean"
    return "last" if decoder else "mean"
