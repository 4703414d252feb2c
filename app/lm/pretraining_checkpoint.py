"""Checkpoints of a pretraining run: written whole or not at all, so that a kill at any moment loses a few steps only.

Randomness never needs saving: every step draws from a generator that is seeded by (seed, phase, step).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from app.errors import BadInput


class Checkpoints:
    """The folder of one run. ``key`` names data, base and settings; a folder of another run is refused."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        stated = self.facts().get("key")
        if stated is not None and stated != key:
            raise BadInput(
                f"{folder} holds an unfinished run on other data or with other settings. Start that one again to "
                f"finish it, delete the folder, or choose another --out."
            )
        self.note({"key": key})

    def facts(self) -> dict[str, Any]:
        """What was noted so far."""
        path = self.folder / "run.json"
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return found

    def note(self, more: Mapping[str, Any]) -> None:
        """Add facts that a resumed run must keep, such as how many steps a time budget came to."""
        write_whole(self.folder / "run.json", json.dumps(self.facts() | dict(more), indent=1).encode())

    def save(self, name: str, state: Any) -> None:
        """Write tensors and numbers."""
        path = self.folder / f"{name}.pt"
        partial = path.with_suffix(".partial")
        with partial.open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
        _sync_folder(self.folder)

    def load(self, name: str) -> Any:
        """What was saved under a name, or None. Only tensors and plain values are read."""
        path = self.folder / f"{name}.pt"
        return torch.load(path, map_location="cpu", weights_only=True) if path.is_file() else None

    def save_step(self, name: str, step: int, trained: Mapping[str, Tensor], optimiser: torch.optim.Optimizer) -> None:
        """Save a training loop after a step."""
        tensors = {key: tensor.detach() for key, tensor in trained.items()}
        self.save(name, {"step": step, "trained": tensors, "optimiser": optimiser.state_dict()})

    def resume(self, name: str, module: nn.Module, optimiser: torch.optim.Optimizer) -> int:
        """Bring a module and its optimiser to where they were; returns the steps done, 0 for a fresh start."""
        state = self.load(name)
        if state is None:
            return 0
        module.load_state_dict(state["trained"], strict=False)
        optimiser.load_state_dict(state["optimiser"])
        return int(state["step"])


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file atomically."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
