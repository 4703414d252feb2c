"""A listener's scores over the whole catalogue, kept until something that they follow from changes.

Scoring ten thousand songs against a hundred of a listener's takes ten milliseconds, looking up that nothing has changed
a tenth of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.lm.asking import Own
from app.lm.centred import Floats
from app.lm.kept import Kept
from app.lm.vectors import Snapshot


@dataclass(frozen=True, slots=True)
class Scored:
    """values: (N,) in the catalogue's row order, not to be written to; version: the adapter that answered.

    own: hash of the songs, texts and weights that it follows from. The taste itself is not kept: it is made again from
    the songs' vectors, which are, in a fifth of a millisecond, and would take as much room as they do.
    """

    version: str | None
    own: int
    catalogue: object
    values: Floats

    @classmethod
    def of(cls, version: str | None, own: Sequence[Own], snapshot: Snapshot, values: Floats) -> Scored:
        """What to keep of a scoring."""
        return cls(version, hash(tuple(own)), snapshot.mark, values)

    @property
    def size(self) -> int:
        """Bytes, near enough."""
        return self.values.nbytes + 500


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
