"""Catalogue vectors that several machines share: parts in storage, taken into this machine's own files.

Each append is one part: a header, index entries and rows as in vectors.py, named by time and sha256, never changed.
A machine takes in what it has not seen and ranks from its own files as ever. Parts lie below a generation; removing
songs writes the next one whole, marks it ready, and deletes the old: every machine then begins its files anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import struct
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import StorageProblem
from app.lm.centred import Floats
from app.lm.vectors import INDEX, CatalogueVectors, Snapshot, latest
from app.objects import Objects

log = logging.getLogger("earshot.storage")

_HEADER = struct.Struct("<8sIQ")  # what it is, numbers in a row, rows
_MAGIC = b"EARSHOT1"
_READY = "ready"
_LOOK_SECONDS = 10.0
_ROWS = 65_536  # of one part when a generation is written whole


def vectors_for(root: Path, fingerprint: str, dimension: int, storage: str) -> CatalogueVectors:
    """The vectors of a base: in a folder of this place, or shared."""
    if not storage:
        return CatalogueVectors(root, fingerprint, dimension)
    return SharedVectors(root, fingerprint, dimension, Objects(storage))


class SharedVectors(CatalogueVectors):
    """Threads, processes and machines may share the storage; ``root`` is this machine's own copy."""

    def __init__(self, root: Path, fingerprint: str, dimension: int, objects: Objects) -> None:
        super().__init__(root, fingerprint, dimension)
        self.objects = objects
        self._prefix = f"vectors/{self.folder.name}"
        self._looked = float("-inf")
        self._first_look = threading.Lock()
        self._refused: set[str] = set()

    @property
    def _taken(self) -> Path:
        return self.folder / "taken.json"

    def snapshot(self) -> Snapshot:
        """What is encoded, on whatever machine, as of some seconds ago."""
        if self._looked == float("-inf"):
            with self._first_look:  # whoever comes meanwhile waits, or would rank an empty catalogue
                if self._looked == float("-inf"):
                    self._look(float("-inf"))
                    self._looked = time.monotonic()
        elif time.monotonic() - self._looked > _LOOK_SECONDS:
            self._look()
        return super().snapshot()

    def stale(self, songs: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
        """Those that no machine has encoded with this text."""
        self._look()
        return super().stale(songs)

    def _look(self, looked: float | None = None) -> None:
        self._looked = time.monotonic() if looked is None else looked
        try:
            self.sync()
        except StorageProblem as problem:
            log.warning("%s; what this machine has is used", problem)

    def sync(self) -> int:
        """Take in what other machines have encoded; returns how many parts. Raises StorageProblem."""
        generation, names = self._newest()
        with self._writing():
            known, taken = self._read_taken()
            if known != generation:
                self._begin_anew()
                taken = set()
            fresh = [name for name in names if name not in taken and name not in self._refused]
            for name in fresh:
                if (part := self._fetch(name)) is not None:
                    self._append(*part)
                    taken.add(name)
            if fresh or known != generation:
                self._write_taken(generation, taken)
        return len(fresh)

    def _newest(self) -> tuple[str, list[str]]:
        """The generation that counts, and the names of its parts, oldest first."""
        names = self.objects.names(self._prefix)
        of = {name: name[len(self._prefix) + 1 :].split("/")[0] for name in names}
        ready = [of[name] for name in names if name.endswith(f"/{_READY}")]
        newest = max(ready, default=f"{0:020d}")
        return newest, [name for name in names if of[name] == newest and name.endswith(".part")]

    def _fetch(self, name: str) -> tuple[NDArray[Any], Floats] | None:
        try:
            content = self.objects.get(name)
        except FileNotFoundError:
            return None  # a newer generation has just replaced it
        try:
            return _unpack(name, content, self.dimension)
        except ValueError as problem:
            log.warning("%s: %s; its songs are encoded again", name, problem)
            self._refused.add(name)
            return None

    def _put(self, entries: NDArray[Any], rows: Floats) -> None:
        content = _pack(entries, rows)
        while True:
            generation, _ = self._newest()
            name = self._named(generation, content)
            self.objects.put(name, content)
            if self._newest()[0] == generation:
                break  # else a generation was begun meanwhile, perhaps without this part
        with self._writing():
            known, taken = self._read_taken()
            if known in (generation, ""):
                self._append(entries, rows)
                self._write_taken(generation, taken | {name})
        # Another generation than this machine's files have: the next look begins them anew, with this part.

    def _named(self, generation: str, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        return f"{self._prefix}/{generation}/{time.time_ns():020d}-{digest}.part"

    def _append(self, entries: NDArray[Any], rows: Floats) -> None:
        self._put_locked(entries, rows)

    def _read_taken(self) -> tuple[str, set[str]]:
        try:
            found = json.loads(self._taken.read_text(encoding="utf-8"))
            return str(found["generation"]), set(found["parts"])
        except (OSError, ValueError, KeyError, TypeError):
            return "", set()

    def _write_taken(self, generation: str, taken: set[str]) -> None:
        half = self._taken.with_suffix(".new")
        half.write_text(json.dumps({"generation": generation, "parts": sorted(taken)}), encoding="utf-8")
        half.replace(self._taken)

    def _begin_anew(self) -> None:
        for file in (self._taken, self._index, self._vectors):
            file.unlink(missing_ok=True)
        self.changed()

    def clear(self) -> None:
        """Forget every vector on every machine, so that the catalogue is encoded anew. Raises StorageProblem."""
        self.keep_only(set)

    def keep_only(self, known: Collection[int] | Callable[[], Collection[int]]) -> int:
        """Begin a generation without the rows of songs that are not known; returns how many rows went.

        known: their ids, or what gives them once it is settled which rows are looked at: who adds songs meanwhile keeps
        theirs. Raises StorageProblem; what was there stays then.
        """
        old, before = self._newest()  # what is written from here on is late, and copied below
        self.sync()
        entries, rows = self._all()
        known = known() if callable(known) else known
        wanted = np.fromiter(known, dtype=np.int64, count=len(known))
        keep = latest(entries["song"])
        keep = keep[np.isin(entries["song"][keep], wanted) & (entries["text"][keep] != 0)]
        if len(known) and len(keep) == len(entries):
            return 0
        new = f"{time.time_ns():020d}"
        for start in range(0, len(keep), _ROWS):
            part = keep[start : start + _ROWS]
            content = _pack(entries[part], rows[part])
            self.objects.put(self._named(new, content), content)
        self.objects.put(f"{self._prefix}/{new}/{_READY}", b"")
        # Who wrote into the old generation since it was listed sees the new one only from here on.
        late = [name for name in self.objects.names(f"{self._prefix}/{old}") if name not in before]
        for name in late:
            if name.endswith(".part"):
                self.objects.put(name.replace(f"/{old}/", f"/{new}/"), self.objects.get(name))
        for name in self.objects.names(self._prefix):
            if name[len(self._prefix) + 1 :].split("/")[0] < new:
                self.objects.remove([name])
        self.sync()
        return len(entries) - len(keep)

    def _all(self) -> tuple[NDArray[Any], Floats]:
        count = self._count()
        if not count:
            return np.empty(0, dtype=INDEX), np.empty((0, self.dimension), np.float32)
        entries = np.fromfile(self._index, dtype=INDEX, count=count)
        mapped = np.memmap(self._vectors, dtype="<f4", mode="r", shape=(count, self.dimension))
        return entries, np.asarray(mapped)


def keep_only(root: Path, storage: str, known: Collection[int] | Callable[[], Collection[int]]) -> int:
    """Drop songs that are not known from the shared vectors of every base; returns how many rows. Needs no base."""
    objects, gone = Objects(storage), 0
    parts: dict[str, str] = {}
    for name in objects.names("vectors"):
        if name.endswith(".part"):
            parts.setdefault(name.split("/")[1], name)
    for folder, name in parts.items():
        _, dimension, _ = _HEADER.unpack_from(objects.get(name))
        gone += SharedVectors(root, folder, dimension, objects).keep_only(known)
    return gone


def _pack(entries: NDArray[Any], rows: Floats) -> bytes:
    return _HEADER.pack(_MAGIC, rows.shape[1], len(rows)) + entries.tobytes() + rows.astype("<f4").tobytes()


def _unpack(name: str, content: bytes, dimension: int) -> tuple[NDArray[Any], Floats]:
    """Entries (n,) and rows (n, D). Raises ValueError for bytes that are not what the name says."""
    if hashlib.sha256(content).hexdigest() != name.rsplit("-", 1)[-1].removesuffix(".part"):
        raise ValueError("it does not have the sha256 that its name states")
    magic, width, count = _HEADER.unpack_from(content)
    if magic != _MAGIC or width != dimension:
        raise ValueError(f"it holds rows of {width} numbers, not of {dimension}")
    end = _HEADER.size + count * INDEX.itemsize
    entries = np.frombuffer(content, dtype=INDEX, count=count, offset=_HEADER.size)
    rows = np.frombuffer(content, dtype="<f4", count=count * dimension, offset=end).reshape(count, dimension)
    return entries, rows
