"""What a retrain proved, in words and numbers that a person understands: hidden songs found, before and after."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from sqlalchemy.orm import Session

from app.services import catalogue
from app.tables import AdapterVersion, Song

_RESAMPLES = 2000
_SURE = 0.95


@dataclass(frozen=True, slots=True)
class HiddenSong:
    """One song that was hidden from the training: its place among the whole catalogue, before and after."""

    song: Song | None
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Proof:
    """A version against the base on hidden songs.

    low and high: how many more (below zero: fewer) of as many hidden songs would be found, had others been hidden, in
    95 of 100 cases. higher and lower: songs that rose and fell. middle: the place that half of them reach.
    learnt_since: whether the version, once proved, has learnt from the hidden songs as well.
    """

    of: int
    within: int
    before: int
    after: int
    low: int
    high: int
    higher: int
    lower: int
    middle_before: int
    middle: int
    hidden: Sequence[HiddenSong]
    learnt_since: bool = False

    @property
    def sure(self) -> bool:
        """Whether chance alone is an unlikely explanation."""
        return self.low > 0 or self.high < 0


def of(db: Session, version: AdapterVersion) -> Proof:
    """Read what the version's row keeps of its evaluation."""
    before, after = list(version.before["ranks"]), list(version.after["ranks"])
    within = int(version.after["within"])
    ids = list(version.after.get("songs", [])) or [0] * len(after)
    songs = catalogue.songs(db, [song for song in ids if song])
    low, high = _interval([(a <= within) - (b <= within) for b, a in zip(before, after, strict=True)])
    hidden = sorted(
        (HiddenSong(songs.get(song), b, a) for song, b, a in zip(ids, before, after, strict=True)),
        key=lambda h: h.after,
    )
    return Proof(
        len(after), within, int(version.before["found"]), int(version.after["found"]), low, high,
        sum(h.after < h.before for h in hidden), sum(h.after > h.before for h in hidden),
        round(median(before)) if before else 0, round(median(after)) if after else 0, hidden,
        bool(version.after.get("learnt_since", False)),
    )  # fmt: skip


def _interval(changes: Sequence[int]) -> tuple[int, int]:
    """Percentile bootstrap of the sum of paired changes, drawn by song; the same each time."""
    if not changes:
        return 0, 0
    draw = random.Random(0)
    sums = sorted(sum(draw.choices(changes, k=len(changes))) for _ in range(_RESAMPLES))
    edge = (1 - _SURE) / 2
    return sums[int(edge * _RESAMPLES)], sums[int((1 - edge) * _RESAMPLES) - 1]
