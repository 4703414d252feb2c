"""Catalogue vectors on disk: every song encoded by the base, adapter off, shared by all listeners.

A folder per base fingerprint with two append-only files: ``vectors.f32`` (rows of D float32) and ``index.bin`` (song
id, hash of the song text, crc32 of the row). Rows are written and fsynced before their index entries, so a kill between
the two only leaves bytes that the next append overwrites. Whoever writes holds a lock on the folder, whoever reads the
files shares it; a snapshot, once read, needs neither.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import VectorsDamaged
from app.lm.centred import Centred, Floats, RowOf, Stored

_GONE = 0  # stands for the text of a song that was removed
INDEX = np.dtype([("song", "<i8"), ("text", "<u8"), ("crc", "<u4")])

__all__ = ["CatalogueVectors", "Floats", "Snapshot", "snapshot_of", "text_hash", "unit"]


def unit(vectors: Floats) -> Floats:
    """Rows (or one vector) scaled to length 1; zero stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    result: Floats = (vectors / np.maximum(norms, 1e-9)).astype(np.float32)
    return result


def text_hash(text: str) -> int:
    """64 bits of a song text, to see that a song's facts have changed since it was encoded."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The catalogue at one moment.

    ids: (n,) int64; vectors: (n, D) float32 unit rows as encoded, read from the disk where they are asked for; mean:
    (D,) float32; units: (n, D) float32, the vectors less their mean, scaled to length 1: what is ranked; mark: nothing
    but itself, by which whoever keeps something of this moment knows it again without keeping the moment.
    """

    ids: NDArray[np.int64]
    vectors: Stored
    mean: Floats
    units: Centred
    row_of: RowOf
    mark: object = field(default_factory=object)

    def rows(self, songs: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Row numbers of those songs that are encoded."""
        found = self.row_of.find(songs)
        return found[found >= 0]


def snapshot_of(ids: NDArray[np.int64], vectors: Floats, keep: NDArray[np.int64] | None = None) -> Snapshot:
    """A Snapshot of songs with unit vectors (n, D), or of those rows of a larger array that ``keep`` names."""
    stored = Stored(vectors, keep)
    total = np.zeros(stored.shape[1], np.float64)
    for _, rows in stored.parts():
        total += rows.sum(axis=0, dtype=np.float64)
    mean: Floats = (total / max(len(stored), 1)).astype(np.float32)
    return Snapshot(ids, stored, mean, Centred(stored, mean), RowOf(ids))


class CatalogueVectors:
    """The vectors of one base. Threads and processes may share the folder."""

    def __init__(self, root: Path, fingerprint: str, dimension: int) -> None:
        self.folder = root / fingerprint[:16]
        self.dimension = dimension
        self._row_bytes = dimension * 4
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._seen: tuple[int, ...] | None = None
        self._texts: dict[int, int] = {}
        self._texts_seen, self._texts_of = 0, 0
        self.folder.mkdir(parents=True, exist_ok=True)
        finish(self.folder)

    @property
    def _vectors(self) -> Path:
        return self.folder / "vectors.f32"

    @property
    def _index(self) -> Path:
        return self.folder / "index.bin"

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with held(self.folder, fcntl.LOCK_EX):
            yield

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """The files as no writer is half-way through. Always taken before ``_lock``: a writer may take that too."""
        with held(self.folder, fcntl.LOCK_SH):
            yield

    def append(self, songs: Sequence[int], texts: Sequence[str], vectors: Floats) -> None:
        """Add or replace songs. vectors: (n, D)."""
        rows = np.ascontiguousarray(vectors, dtype="<f4")
        if rows.shape != (len(songs), self.dimension) or not np.isfinite(rows).all():
            raise ValueError(f"vectors of shape {rows.shape} for {len(songs)} songs, or values that are not finite")
        entries = np.empty(len(songs), dtype=INDEX)
        entries["song"] = songs
        entries["text"] = [text_hash(t) for t in texts]
        entries["crc"] = [zlib.crc32(row.tobytes()) for row in rows]
        self._put(entries, rows)

    def remove(self, songs: Sequence[int]) -> None:
        """Forget songs that are no longer in the catalogue: a last entry without a text, and a row of zeros."""
        rows = np.zeros((len(songs), self.dimension), dtype="<f4")
        entries = np.zeros(len(songs), dtype=INDEX)
        entries["song"] = songs
        entries["crc"] = zlib.crc32(bytes(self._row_bytes))
        if len(songs):
            self._put(entries, rows)

    def _put(self, entries: NDArray[Any], rows: Floats) -> None:
        with self._writing():
            self._put_locked(entries, rows)

    def _put_locked(self, entries: NDArray[Any], rows: Floats) -> None:
        """Append while the folder's lock is held."""
        count = self._count()
        _write_at(self._vectors, count * self._row_bytes, rows.tobytes())
        _write_at(self._index, count * INDEX.itemsize, entries.tobytes())

    def _count(self) -> int:
        return self._index.stat().st_size // INDEX.itemsize if self._index.exists() else 0

    def _state(self) -> tuple[int, ...]:
        """What tells one content of the index from another: as many songs may have gone as have come."""
        try:
            found = self._index.stat()
        except FileNotFoundError:
            return ()
        return found.st_ino, found.st_size, found.st_mtime_ns

    def stale(self, songs: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
        """Those of (song id, song text) that are not encoded yet, or whose text has changed."""
        with self._reading(), self._lock:
            self._read_texts(self._count())
            return [(song, text) for song, text in songs if self._texts.get(song) != text_hash(text)]

    def _read_texts(self, count: int) -> None:
        """The index alone, from where it was last read: a million songs are encoded without holding their vectors."""
        self._check_length(count)
        file = self._index.stat().st_ino if count else 0
        if count < self._texts_seen or file != self._texts_of:
            self._texts, self._texts_seen, self._texts_of = {}, 0, file
        if count > self._texts_seen:
            offset = self._texts_seen * INDEX.itemsize
            fresh = np.fromfile(self._index, dtype=INDEX, count=count - self._texts_seen, offset=offset)
            self._texts.update(zip(fresh["song"].tolist(), fresh["text"].tolist(), strict=True))
            self._texts_seen = count

    def _check_length(self, count: int) -> None:
        if count and (not self._vectors.exists() or self._vectors.stat().st_size < count * self._row_bytes):
            raise VectorsDamaged(f"{self._vectors} is shorter than its index says; `earshot catalogue encode --again`")

    def snapshot(self) -> Snapshot:
        """What is encoded now; reads the disk again only if the index is another.

        Raises VectorsDamaged if the two files contradict each other.
        """
        with self._lock:
            if self._snapshot is not None and self._state() == self._seen:
                return self._snapshot
        with self._reading(), self._lock:
            state = self._state()
            if self._snapshot is None or state != self._seen:
                self._snapshot, self._seen = self._load(self._count()), state
            return self._snapshot

    def _load(self, count: int) -> Snapshot:
        if count == 0:
            empty = np.empty((0, self.dimension), dtype=np.float32)
            return snapshot_of(np.empty(0, dtype=np.int64), empty)
        entries = np.fromfile(self._index, dtype=INDEX, count=count)
        self._check_length(count)
        mapped = np.asarray(np.memmap(self._vectors, dtype="<f4", mode="r", shape=(count, self.dimension)))
        keep = latest(entries["song"])
        keep = keep[entries["text"][keep] != _GONE]
        ids = entries["song"][keep].astype(np.int64)
        return snapshot_of(ids, mapped, None if len(keep) == count else keep)

    def check(self) -> list[int]:
        """Songs whose stored row does not have its crc32: the file was altered."""
        with self._reading():
            return self._check()

    def _check(self) -> list[int]:
        count = self._count()
        entries = np.fromfile(self._index, dtype=INDEX, count=count) if count else np.empty(0, dtype=INDEX)
        damaged: list[int] = []
        if not count or not self._vectors.exists():
            return [int(entry["song"]) for entry in entries]
        with self._vectors.open("rb") as stream:
            for entry in entries:
                if zlib.crc32(stream.read(self._row_bytes)) != int(entry["crc"]):
                    damaged.append(int(entry["song"]))
        return damaged

    def clear(self) -> None:
        """Forget every vector, so that the catalogue is encoded anew."""
        with self._writing():
            for name in ("index.bin", "vectors.f32", "index.new", "vectors.new"):
                (self.folder / name).unlink(missing_ok=True)
        self.changed()

    def changed(self) -> None:
        """The files were replaced by others: what was read of them is forgotten."""
        with self._lock:
            self._snapshot, self._seen, self._texts, self._texts_seen = None, None, {}, 0


@contextmanager
def held(folder: Path, how: int) -> Iterator[None]:
    """Hold a folder's lock among processes and threads, alone (LOCK_EX) or with others (LOCK_SH)."""
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, how)
        yield


def finish(folder: Path) -> bool:
    """Put the two new files of a compaction in place that was killed half-way; whether there was such a one.

    While both are written the old index is whole. It is emptied before the first of them takes its place.
    """
    index, new = folder / "index.bin", folder / "index.new"
    if not new.exists():
        return False
    with held(folder, fcntl.LOCK_EX):
        if not new.exists() or not index.exists() or index.stat().st_size:
            return False
        vectors = folder / "vectors.new"
        if vectors.exists():
            vectors.rename(folder / "vectors.f32")
        new.rename(index)
        return True


def latest(songs: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) Where each song was written last, in the order in which they were written first."""
    _, first = np.unique(songs, return_index=True)
    _, last = np.unique(songs[::-1], return_index=True)
    result: NDArray[np.int64] = (len(songs) - 1 - last)[np.argsort(first)]
    return result


def _write_at(path: Path, offset: int, data: bytes) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.ftruncate(descriptor, offset)
        written = 0
        while written < len(data):
            written += os.pwrite(descriptor, data[written:], offset + written)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
