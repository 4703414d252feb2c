"""A second round: an adapter to go on from.

The first round's LoRA has learnt its teacher in part. A second one starts with that LoRA, widened by further ranks, and
a teacher that starts from what it knows already. An artist's own entry is taught the new teacher's vector; a song keeps
its own place among songs, drawn half-way to its artist (docs/decisions.md has what that gives).
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from app.errors import AdapterUnfit, BadInput
from app.lm.base import Base, Lower

_ARTIST = 1.0  # of an artist's vector in a song's, against the song's own
_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"


class Start:
    """An adapter in ``folder``; ``taught`` is the base with it folded in, loaded for this alone."""

    def __init__(self, folder: Path, taught: Base) -> None:
        self.folder, self.taught = folder, taught
        self.middle: Tensor | None = None

    @cached_property
    def _network(self) -> nn.Module:
        return self.taught.upper_network()

    @torch.no_grad()
    def vectors(self, lower: Lower) -> Tensor:
        """Unit vectors (B, D) from the lower activations of the untaught base: where the texts are now."""
        return self.taught.upper(self._network, lower).float()

    def set_middle(self, songs: Lower) -> None:
        """Take the mean of these songs' vectors for the middle of all songs."""
        self.middle = self.vectors(songs).mean(0)

    def songs(self, lower: Lower, artists: Tensor) -> Tensor:
        """Where songs are wanted, (B, D): their places from the middle of all songs, and their artists' (B, D)."""
        if self.middle is None:
            raise ValueError("the middle of all songs was not set")
        return normalize(normalize(self.vectors(lower) - self.middle, dim=-1) + _ARTIST * artists, dim=-1)


def widen(network: nn.Module, folder: Path, rank: int, scale: float) -> None:
    """Have a fresh PEFT LoRA (B all zero) of a rank and scale do what a stored one of no larger rank does.

    Raises BadInput for a stored rank that is larger, AdapterUnfit for tensors that the LoRA lacks.
    """
    settings = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    stored = int(settings["r"])
    if stored > rank:
        raise BadInput(f"The adapter in {folder} has rank {stored}, so --rank must be {stored} at least, not {rank}.")
    times = settings["lora_alpha"] / stored / scale
    own = dict(network.named_parameters())
    with torch.no_grad():
        for key, tensor in load_file(folder / _WEIGHTS).items():
            part = own.get(key.replace(".lora_A.", ".lora_A.default.").replace(".lora_B.", ".lora_B.default."))
            if part is None:
                raise AdapterUnfit(f"The adapter in {folder} has {key}, which is not among what is trained here.")
            if ".lora_A." in key:
                part[:stored] = tensor.to(part)
            else:
                part[:, :stored] = times * tensor.to(part)
