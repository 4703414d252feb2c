"""Take songs that are gone out of the catalogue vectors, for every base that has encoded them. Needs no base."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from app.lm.vectors import INDEX, finish, held

_ROWS = 4096


def keep_only(root: Path, known: Callable[[], Collection[int]]) -> int:
    """Drop the rows of songs that are not known, and rows that a later one replaced; returns how many went.

    known: asked while nobody can write vectors, so that a song which is encoded at this moment is among them.
    """
    return sum(_compact(folder, known) for folder in sorted(root.glob("*")) if (folder / "index.bin").exists())


def _compact(folder: Path, known: Callable[[], Collection[int]]) -> int:
    index, vectors = folder / "index.bin", folder / "vectors.f32"
    finish(folder)
    with held(folder, fcntl.LOCK_EX):
        ids = known()
        wanted = np.fromiter(ids, dtype=np.int64, count=len(ids))
        entries = np.fromfile(index, dtype=INDEX)
        latest = {int(song): row for row, song in enumerate(entries["song"])}
        rows = np.array(sorted(latest.values()), dtype=np.int64)
        keep = rows[np.isin(entries["song"][rows], wanted)]
        if len(keep) == len(entries) or vectors.stat().st_size % len(entries):
            return 0  # nothing to do, or damaged: then it is for `earshot doctor` to say so
        width = vectors.stat().st_size // len(entries) // 4
        mapped = np.memmap(vectors, dtype="<f4", mode="r", shape=(len(entries), width))
        with (folder / "vectors.new").open("wb") as stream:
            for start in range(0, len(keep), _ROWS):
                stream.write(mapped[keep[start : start + _ROWS]].tobytes())
            stream.flush()
            os.fsync(stream.fileno())
        with (folder / "index.new").open("wb") as stream:
            stream.write(entries[keep].tobytes())
            stream.flush()
            os.fsync(stream.fileno())
        # A kill from here on leaves an empty index until the folder is opened again, which finishes this.
        os.truncate(index, 0)
        (folder / "vectors.new").rename(vectors)
        (folder / "index.new").rename(index)
        return len(entries) - len(keep)
