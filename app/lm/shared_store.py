"""Adapters that several machines share: written to shared storage, read through a folder of this machine.

The local folder is a cache of what lies in storage; the same checks are made at every read. In storage, the card is
written last and removed first, so that a version without one is not there.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import AdapterAltered, AdapterMissing, AdapterUnreachable, StorageProblem
from app.lm.centred import Floats
from app.lm.store import ID, AdapterFolder, AdapterStore, LoraTensors
from app.objects import Objects

log = logging.getLogger("earshot.storage")

_HALF_SECONDS = 3600  # a version without a card that is older was given up by whoever wrote it
_LOOK_EVERY = 50  # fetches between two looks at how much the cache holds


def store_for(root: Path, storage: str, cache_bytes: int) -> AdapterStore:
    """The adapters of a place: in a folder of its own, or shared."""
    return SharedStore(root, Objects(storage), cache_bytes) if storage else AdapterStore(root)


class SharedStore(AdapterStore):
    """All adapters below one fsspec URL; ``root`` is this machine's cache of them, bounded in bytes."""

    def __init__(self, root: Path, objects: Objects, cache_bytes: int) -> None:
        super().__init__(root)
        self.objects, self.cache_bytes = objects, cache_bytes
        self._fetched = 0

    def _name(self, listener: str, version: str, file: str = "") -> str:
        return f"adapters/{listener}/{version}/{file}".rstrip("/")

    def write(
        self, listener: str, version: str, save: Callable[[Path], None], card: Mapping[str, Any]
    ) -> AdapterFolder:
        """As in a folder, then in storage. Raises StorageProblem; the version is nowhere then."""
        folder = super().write(listener, version, save, card)
        try:
            for file in (folder.weights, folder.config, folder.card):
                self.objects.put(self._name(listener, version, file.name), file.read_bytes())
        except BaseException:
            super().remove(listener, version)
            raise
        return folder

    def fetched(self, listener: str, version: str) -> AdapterFolder:
        """The version's files, fetched from storage if this machine has none. Raises an AdapterProblem."""
        final = self.folder(listener, version)
        if final.card.is_file():
            os.utime(final.path)  # used now: the cache gives up what was used longest ago
            return final
        final.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=final.path.parent))
        half = AdapterFolder(temporary)
        try:
            for file in (half.card, half.weights, half.config):
                file.write_bytes(self._get(self._name(listener, version, file.name)))
            temporary.chmod(0o700)
            if final.path.is_dir():  # without a card: nothing that anybody reads
                shutil.rmtree(final.path, ignore_errors=True)
            temporary.rename(final.path)
        except OSError:
            if not final.card.is_file():  # else another process of this machine has just fetched it
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._make_room()
        return final

    def _get(self, name: str) -> bytes:
        try:
            return self.objects.get(name)
        except FileNotFoundError:
            raise AdapterMissing(f"{name} is not in the shared storage") from None
        except StorageProblem as problem:
            raise AdapterUnreachable(str(problem)) from problem

    def card(self, listener: str, version: str) -> dict[str, Any]:
        """The version's card. Raises an AdapterProblem."""
        self.fetched(listener, version)
        return super().card(listener, version)

    def read(self, listener: str, version: str, fingerprint: str, shapes: Mapping[str, tuple[int, int]]) -> LoraTensors:
        """As from a folder. A file that was altered in this machine's cache is fetched anew, once."""
        try:
            return super().read(listener, version, fingerprint, shapes)
        except (AdapterAltered, AdapterMissing):
            self._drop_cached(listener, version)
            return super().read(listener, version, fingerprint, shapes)

    def write_own_vectors(
        self, listener: str, version: str, songs: NDArray[np.int64], texts: NDArray[np.uint64], vectors: Floats
    ) -> None:
        """As in a folder, and in storage if it answers: they can be made again."""
        super().write_own_vectors(listener, version, songs, texts, vectors)
        try:
            name = self._name(listener, version, "own.safetensors")
            self.objects.put(name, self._own_file(listener, version).read_bytes())
        except StorageProblem as problem:
            log.warning("%s", problem)

    def own_vectors(
        self, listener: str, version: str, dimension: int
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64], Floats]:
        """What ``write_own_vectors`` left, on whatever machine. Raises an AdapterProblem."""
        file = self._own_file(listener, version)
        if not file.is_file():
            content = self._get(self._name(listener, version, "own.safetensors"))
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            half = file.with_suffix(f".{os.getpid()}")
            half.write_bytes(content)
            half.replace(file)
        return super().own_vectors(listener, version, dimension)

    def listeners(self) -> list[str]:
        """Ids below which there is anything in storage."""
        return sorted(
            {name.split("/")[1] for name in self.objects.names("adapters") if ID.fullmatch(name.split("/")[1])}
        )

    def versions(self, listener: str) -> list[str]:
        """Ids of complete versions in storage."""
        names = self.objects.names(f"adapters/{listener}")
        return sorted(name.split("/")[2] for name in names if name.endswith("/card.json"))

    def remove(self, listener: str, version: str | None = None) -> None:
        """Delete one version, or everything of a listener, in storage and here. Raises StorageProblem."""
        super().remove(listener, version)
        if version is None:
            self.objects.remove_below(f"adapters/{listener}")
            return
        names = self.objects.names(self._name(listener, version))
        self.objects.remove(sorted(names, key=lambda name: not name.endswith("/card.json")))

    def sweep(self) -> int:
        """Delete what was given up half-way in storage, and here what is no longer in storage; returns how many."""
        old = time.time() - _HALF_SECONDS  # retrains of this machine may be writing just now
        left = [path for path in self.root.glob("*/.writing-*") if path.stat().st_mtime < old]
        for path in left:
            shutil.rmtree(path, ignore_errors=True)
        names = self.objects.names("adapters")
        whole = {tuple(name.split("/")[1:3]) for name in names if name.endswith("/card.json")}
        halves = [n for n in names if tuple(n.split("/")[1:3]) not in whole and self.objects.age(n) > _HALF_SECONDS]
        self.objects.remove(halves)
        return len(left) + len({tuple(name.split("/")[1:3]) for name in halves}) + self._forget_all_but(whole)

    def forget_gone(self) -> int:
        """Delete here what is no longer in storage, as after an account was deleted elsewhere; returns how many."""
        names = self.objects.names("adapters")
        return self._forget_all_but({tuple(name.split("/")[1:3]) for name in names if name.endswith("/card.json")})

    def _forget_all_but(self, whole: set[tuple[str, ...]]) -> int:
        gone = [p for p in self._cached() if (p.parent.name, p.name) not in whole]
        for path in gone:
            self._drop_cached(path.parent.name, path.name)
        return len(gone)

    def _cached(self) -> list[Path]:
        return [path for path in self.root.glob("*/*") if ID.fullmatch(path.name)]

    def _drop_cached(self, listener: str, version: str) -> None:
        super().remove(listener, version)

    def _make_room(self) -> None:
        """Give up what was used longest ago once the cache is too large."""
        self._fetched += 1
        if self._fetched % _LOOK_EVERY:
            return
        sizes = []
        for path in self._cached():
            own = self._own_file(path.parent.name, path.name)
            try:
                size = AdapterFolder(path).size + (own.stat().st_size if own.is_file() else 0)
                sizes.append((path.stat().st_mtime, size, path))
            except FileNotFoundError:
                continue
        held = sum(size for _, size, _ in sizes)
        for _, size, path in sorted(sizes):
            if held <= self.cache_bytes:
                break
            self._drop_cached(path.parent.name, path.name)
            held -= size
