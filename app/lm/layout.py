"""The map of songs: catalogue vectors laid out on two axes, and how an adapter moves a listener's own songs on it.

The axes are the two directions in which the centred catalogue vectors differ most (principal components), found once
for a base and kept beside its vectors. A projection and no neighbour embedding (t-SNE, UMAP), because only it puts a
song that an adapter moved in its true place on the same map (docs/decisions.md says what it keeps).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from app.lm.asking import Own
from app.lm.ranking import Taste
from app.lm.vectors import CatalogueVectors, Floats, Snapshot

_MOST_ROWS = 20_000
_EDGE = 0.995  # the share of songs that lie within [-1, 1]
_FILE = "layout.npy"

Point = tuple[float, float]


class Mapped(Protocol):
    """What a map needs of the engine."""

    @property
    def vectors(self) -> CatalogueVectors: ...

    def taste(
        self, listener: str, version: str | None, own: Sequence[Own], snapshot: Snapshot | None = None
    ) -> tuple[Taste, str | None]: ...

    def laid_out(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Moved:
    """One own song: where the base has it and where the listener's adapter puts it, and the cosine between both."""

    song: int
    base: Point
    now: Point
    likeness: float


def axes_of(units: Floats) -> Floats:
    """(D, 2): the first two principal directions of units (n, D), scaled so that nearly all songs fall in [-1, 1].

    An axis points to where its largest entry is positive, so that the same catalogue gives the same map.
    """
    part = units.astype(np.float64)
    _, directions = np.linalg.eigh(part.T @ part / len(part))
    axes = directions[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    scale = np.maximum(np.quantile(np.abs(part @ axes), _EDGE, axis=0), 1e-9)
    result: Floats = (axes / scale).astype(np.float32)
    return result


def points(units: Floats, axes: Floats) -> list[Point]:
    """Places (n) of units (n, D) on the map; what lies beyond the edge is put on it."""
    return [(float(x), float(y)) for x, y in np.clip(units @ axes, -1, 1)]


class Laying:
    """The part of the engine that draws the map."""

    def laid_out(self: Mapped) -> bool:
        """Whether the axes of this base are there."""
        return (self.vectors.folder / _FILE).is_file()

    def lay_out(self: Mapped, again: bool = False) -> bool:
        """Find the axes and keep them, unless they are there; false while there are too few songs. Takes a second."""
        snapshot = self.vectors.snapshot()
        if len(snapshot.ids) < 3:
            return False
        if again or not self.laid_out():
            part = self.vectors.folder / f".{_FILE}.{os.getpid()}.{threading.get_ident()}"
            with part.open("wb") as stream:
                np.save(
                    stream, axes_of(snapshot.units[:: max(1, len(snapshot.units) // _MOST_ROWS)]), allow_pickle=False
                )
            part.replace(self.vectors.folder / _FILE)
        return True

    def positions(self: Mapped, songs: Sequence[int]) -> dict[int, Point]:
        """Where some songs lie on the map; those that are not encoded are left out. The map must be laid out."""
        snapshot = self.vectors.snapshot()
        there = [song for song in songs if song in snapshot.row_of]
        found = points(snapshot.units[snapshot.rows(there)], _axes(self.vectors, snapshot))
        return dict(zip(there, found, strict=True))

    def scattered(self: Mapped, count: int) -> list[Point]:
        """Places of so many songs, taken evenly from the whole catalogue."""
        snapshot = self.vectors.snapshot()
        rows = np.unique(np.linspace(0, len(snapshot.ids) - 1, min(count, len(snapshot.ids))).astype(np.int64))
        return points(snapshot.units[rows], _axes(self.vectors, snapshot))

    def moved(self: Mapped, listener: str, version: str | None, own: Sequence[Own]) -> list[Moved]:
        """Where own songs lie by the base and by a version, in their order."""
        if not own:
            return []
        snapshot = self.vectors.snapshot()
        axes = _axes(self.vectors, snapshot)
        before, now = (self.taste(listener, by, own, snapshot)[0].units for by in (None, version))
        likeness = (before * now).sum(axis=1)
        return [
            Moved(song.id, a, b, float(c))
            for song, a, b, c in zip(own, points(before, axes), points(now, axes), likeness, strict=True)
        ]


def _axes(vectors: CatalogueVectors, snapshot: Snapshot) -> Floats:
    axes: Floats = np.load(vectors.folder / _FILE, allow_pickle=False)
    if axes.shape != (snapshot.units.shape[1], 2):
        raise ValueError(f"{vectors.folder / _FILE} holds axes of shape {axes.shape}")
    return axes
