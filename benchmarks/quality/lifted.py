"""The rows of somebody whose circle takes part: what the product shows them, lifted by the friends who play a song."""

from __future__ import annotations

from array import array

from app.lm import ranking
from app.lm.engine import Engine
from app.lm.vectors import Floats
from app.services.lifting import Plays, share, voices
from benchmarks.quality.data import Dataset
from benchmarks.quality.protocol import Case, weight


def listed(engine: Engine, data: Dataset, case: Case, scores: Floats, own: int) -> Floats:
    """Gated scores (N,) and what the case's circle plays. own: liked songs by which voices fade; picks are none."""
    artists = {data.songs[song].artist_key for song in case.liked}
    return ranking.lifted(
        scores,
        engine.vectors.snapshot(),
        voices({other: _plays(data, other) for other in case.circle}, artists),
        share(engine.settings.rule, own),
    )


def _plays(data: Dataset, listener: str) -> Plays:
    songs = sorted({x.song for x in data.listens[listener] if weight(x) > 0})
    return Plays(array("q", songs), frozenset(data.songs[song].artist_key for song in songs))
