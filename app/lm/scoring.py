"""A listener's scores over the whole catalogue, kept until something that they follow from changes.

Scoring ten thousand songs against a hundred of a listener's takes ten milliseconds, looking up that nothing has changed
a tenth of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.lm.asking import Own
from app.lm.centred import Floats
from app.lm.kept import Kept
from app.lm.ranking import Taste
from app.lm.vectors import Snapshot


@dataclass(frozen=True, slots=True)
class Scored:
    """values: (N,) in the catalogue's row order, not to be written to; version: the adapter that answered.

    own: hash of the songs, texts and weights that it follows from. The taste is kept in float16 (cosines to 1e-3).
    """

    version: str | None
    own: int
    catalogue: object
    values: Floats
    taste: Taste

    @classmethod
    def of(cls, version: str | None, own: Sequence[Own], snapshot: Snapshot, values: Floats, taste: Taste) -> Scored:
        """What to keep of a scoring."""
        small = replace(taste, units=taste.units.astype(np.float16))
        return cls(version, hash(tuple(own)), snapshot.mark, values, small)

    @property
    def size(self) -> int:
        """Bytes, near enough."""
        return self.values.nbytes + self.taste.units.nbytes + self.taste.songs.nbytes + self.taste.weights.nbytes + 500

    def told(self) -> tuple[Floats, Taste, str | None]:
        """Values, the taste in float32 as ranking takes it, and the version that answered."""
        return self.values, replace(self.taste, units=self.taste.units.astype(np.float32)), self.version


class Scores:
    """Scores by listener, bounded in bytes. All methods may be called from any thread."""

    def __init__(self, most_bytes: int) -> None:
        self._kept: Kept[Scored] = Kept(most_bytes)

    def get(self, listener: str, version: str | None, own: Sequence[Own], snapshot: Snapshot) -> Scored | None:
        """What was scored for exactly these songs and weights, this version and this catalogue."""
        kept = self._kept.get(listener)
        if kept is None or kept.catalogue is not snapshot.mark or kept.version != version:
            return None
        return kept if kept.own == hash(tuple(own)) else None

    def keep(self, listener: str, scored: Scored) -> None:
        """In place of what was kept of this listener."""
        self._kept.put(listener, scored, scored.size)

    def forget(self, listener: str) -> None:
        """Drop a listener's."""
        self._kept.drop(listener)
