"""Adapters on disk: ``adapters/<listener>/<version>/``, written once, checked at every read.

The contract is adapters/README.md. Plain PEFT files, plus card.json, which states a sha256 for each of them.

torch is imported only to read an adapter: a worker with nothing to train sweeps and removes without it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file as save_arrays

from app.errors import AdapterAltered, AdapterMissing, AdapterUnfit
from app.lm.centred import Floats
from app.lm.locate import sha256_of

if TYPE_CHECKING:
    from torch import Tensor

ID = re.compile(r"[0-9a-f]{16}")
_PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class AdapterFolder:
    """The files of one version."""

    path: Path

    @property
    def weights(self) -> Path:
        """LoRA tensors, safetensors."""
        return self.path / "adapter_model.safetensors"

    @property
    def config(self) -> Path:
        """PEFT's own configuration."""
        return self.path / "adapter_config.json"

    @property
    def card(self) -> Path:
        """What it was trained on, how it did, and the digest of each file."""
        return self.path / "card.json"

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(f.stat().st_size for f in self.path.iterdir() if f.is_file())


@dataclass(frozen=True, slots=True)
class LoraTensors:
    """One adapter in RAM, ready for a slot: per target A (in, r) and B (r, out), the scale folded into B.

    ``flat`` holds the same numbers in one row as ``layout`` says; a and b are then views on it.
    """

    a: Mapping[str, Tensor]
    b: Mapping[str, Tensor]
    rank: int
    flat: Tensor | None = None

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(tensor.nbytes for tensor in [*self.a.values(), *self.b.values()])


def layout(shapes: Mapping[str, tuple[int, int]], rank: int) -> dict[str, tuple[int, int, int]]:
    """Where each target's A begins in a row that holds a whole adapter, where its B begins, and where that ends."""
    places, start = {}, 0
    for name, (inputs, outputs) in shapes.items():
        places[name] = (start, start + inputs * rank, start + (inputs + outputs) * rank)
        start = places[name][2]
    return places


class AdapterStore:
    """All adapters below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, listener: str, version: str) -> AdapterFolder:
        """Where a version lies. Ids are opaque and of one width, so no id is a prefix or a path."""
        for name in (listener, version):
            if not ID.fullmatch(name):
                raise AdapterMissing(f"{name!r} is no adapter id")
        return AdapterFolder(self.root / listener / version)

    def write(
        self, listener: str, version: str, save: Callable[[Path], None], card: Mapping[str, Any]
    ) -> AdapterFolder:
        """Write a version so that it is there wholly or not at all.

        ``save`` writes the PEFT files into the folder it is given. They are fsynced, then the card, then the folder is
        renamed into place.
        """
        final = self.folder(listener, version)
        final.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=final.path.parent))
        try:
            save(temporary)
            half = AdapterFolder(temporary)
            for stray in set(temporary.iterdir()) - {half.weights, half.config}:
                stray.unlink()  # PEFT adds a model-card stub
            digests = {f.name: sha256_of(f) for f in (half.weights, half.config)}
            half.card.write_text(
                json.dumps({**card, "sha256": digests}, indent=1, sort_keys=True, allow_nan=False), encoding="utf-8"
            )
            for file in (half.weights, half.config, half.card):
                _fsync(file)
            _fsync(temporary)
            temporary.chmod(0o700)
            temporary.rename(final.path)
            _fsync(final.path.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return final

    def card(self, listener: str, version: str) -> dict[str, Any]:
        """The version's card. Raises AdapterMissing or AdapterAltered."""
        path = self.folder(listener, version).card
        try:
            card = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise AdapterMissing(f"adapter {version} has no card.json") from None
        except (ValueError, RecursionError):
            raise AdapterAltered(f"adapter {version}: card.json is not JSON") from None
        if not isinstance(card, dict) or not isinstance(card.get("sha256"), dict):
            raise AdapterAltered(f"adapter {version}: card.json states no digests")
        return card

    def read(self, listener: str, version: str, fingerprint: str, shapes: Mapping[str, tuple[int, int]]) -> LoraTensors:
        """Load a version after checking digests, base, names, shapes and finiteness.

        ``shapes`` gives (in, out) of every adapted matrix. Raises AdapterMissing, AdapterAltered or AdapterUnfit.
        """
        from safetensors.torch import load_file

        files, card = self.folder(listener, version), self.card(listener, version)
        for file in (files.weights, files.config):
            if not file.is_file():
                raise AdapterMissing(f"adapter {version} has no {file.name}")
            if sha256_of(file) != card["sha256"].get(file.name):
                raise AdapterAltered(f"adapter {version}: {file.name} does not have the sha256 that its card states")
        if card.get("base_fingerprint") != fingerprint:
            raise AdapterUnfit(f"adapter {version} was trained on another base ({card.get('base_fingerprint')})")
        try:
            tensors = load_file(files.weights)
            config = json.loads(files.config.read_text(encoding="utf-8"))
            rank, scale = int(config["r"]), float(config["lora_alpha"]) / int(config["r"])
        except (SafetensorError, ValueError, KeyError, TypeError, ArithmeticError) as problem:
            raise AdapterAltered(f"adapter {version} cannot be read: {problem}") from problem
        return _checked(version, tensors, rank, scale, shapes)

    def adopter(
        self, *, base: str, fingerprint: str, shapes: Mapping[str, tuple[int, int]], most_rank: int
    ) -> Callable[[str, str, bytes, bytes, dict[str, Any]], int]:
        """A function that takes in a foreign adapter for this base: see adopting.py."""
        from app.lm.adopting import adopt

        return partial(adopt, self, base=base, fingerprint=fingerprint, shapes=shapes, most_rank=most_rank)

    def _own_file(self, listener: str, version: str) -> Path:
        return self.folder(listener, version).path.parent / ".own" / f"{version}.safetensors"

    def write_own_vectors(
        self, listener: str, version: str, songs: NDArray[np.int64], texts: NDArray[np.uint64], vectors: Floats
    ) -> None:
        """Leave the listener's songs as the version reads them; they can be made again, so nothing is fsynced.

        songs: (n,) ids; texts: (n,) hashes; vectors: (n, D) float32.
        """
        file = self._own_file(listener, version)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        half = file.with_suffix(f".{os.getpid()}")
        digest = {"sha256": _digest(songs, texts, vectors)}
        save_arrays({"songs": songs, "texts": texts, "vectors": vectors}, half, metadata=digest)
        half.replace(file)

    def own_vectors(
        self, listener: str, version: str, dimension: int
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64], Floats]:
        """What ``write_own_vectors`` left. Raises AdapterMissing or AdapterAltered."""
        file = self._own_file(listener, version)
        try:
            with safe_open(file, framework="numpy") as opened:
                songs, texts, vectors = (opened.get_tensor(name) for name in ("songs", "texts", "vectors"))
                stated = (opened.metadata() or {}).get("sha256")
        except FileNotFoundError:
            raise AdapterMissing(f"adapter {version} has no vectors beside it") from None
        except (SafetensorError, ValueError, OSError) as problem:
            raise AdapterAltered(f"adapter {version}: the vectors beside it cannot be read: {problem}") from problem
        if vectors.shape != (len(songs), dimension) or len(songs) != len(texts) or vectors.dtype != np.float32:
            raise AdapterAltered(f"adapter {version}: the vectors beside it are {vectors.shape} {vectors.dtype}")
        if stated != _digest(songs, texts, vectors):
            raise AdapterAltered(f"adapter {version}: the vectors beside it do not have their sha256")
        return songs, texts, vectors

    def fetched(self, listener: str, version: str) -> AdapterFolder:
        """The version's files on this machine; what of them is missing is for the caller to see."""
        return self.folder(listener, version)

    def listeners(self) -> list[str]:
        """Ids below which there is anything."""
        return sorted(path.name for path in self.root.glob("*") if path.is_dir())

    def versions(self, listener: str) -> list[str]:
        """Ids of complete versions on disk."""
        home = self.root / listener
        return sorted(p.name for p in home.iterdir() if ID.fullmatch(p.name)) if home.is_dir() else []

    def remove(self, listener: str, version: str | None = None) -> None:
        """Delete one version, or everything of a listener."""
        if version is not None:
            shutil.rmtree(self.folder(listener, version).path, ignore_errors=True)
            self._own_file(listener, version).unlink(missing_ok=True)
            return
        if not ID.fullmatch(listener):
            raise AdapterMissing(f"{listener!r} is no listener id")
        shutil.rmtree(self.root / listener, ignore_errors=True)

    def forget_gone(self) -> int:
        """Delete copies of what was deleted where it is kept; here nothing is a copy."""
        return 0

    def sweep(self) -> int:
        """Delete what a killed write left behind; returns how many folders. Only the worker calls this, at start."""
        leftovers = list(self.root.glob("*/.writing-*"))
        for folder in leftovers:
            shutil.rmtree(folder, ignore_errors=True)
        return len(leftovers)


def _checked(
    version: str, tensors: Mapping[str, Tensor], rank: int, scale: float, shapes: Mapping[str, tuple[int, int]]
) -> LoraTensors:
    import torch

    expected = {_key(name, half) for name in shapes for half in "AB"}
    if set(tensors) != expected:
        odd: Sequence[str] = sorted(set(tensors) ^ expected)
        raise AdapterUnfit(f"adapter {version} has other tensors than the base's targets, for instance {odd[0]}")
    a, b = {}, {}
    flat = torch.empty(sum(rank * (inputs + outputs) for inputs, outputs in shapes.values()))
    places = layout(shapes, rank)
    for name, (inputs, outputs) in shapes.items():
        down, up = tensors[_key(name, "A")].float(), tensors[_key(name, "B")].float()
        if down.shape != (rank, inputs) or up.shape != (outputs, rank):
            raise AdapterUnfit(f"adapter {version}: wrong shape at {name}: {tuple(down.shape)}, {tuple(up.shape)}")
        start, middle, end = places[name]
        a[name] = flat[start:middle].view(inputs, rank).copy_(down.T)
        b[name] = flat[middle:end].view(rank, outputs).copy_(scale * up.T)
        if not (torch.isfinite(a[name]).all() and torch.isfinite(b[name]).all()):
            raise AdapterUnfit(f"adapter {version}: values that are not finite at {name}")
    return LoraTensors(a, b, rank, flat)


def _key(name: str, half: str) -> str:
    return f"{_PREFIX}{name}.lora_{half}.weight"


def _digest(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
