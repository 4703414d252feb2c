"""How alike two tastes are, told by songs: what both play, what of the other's suits one, and where they part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from app.services import catalogue, sharing
from app.services.recommending import EngineTypes
from app.services.voices import of as voice_of
from app.tables import Song

if TYPE_CHECKING:
    from app.lm.engine import Engine

_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Fitting:
    """A song and how well it suits somebody: the share of the catalogue that suits them less, 0–1."""

    song: Song
    fit: float


@dataclass(frozen=True, slots=True)
class Compatibility:
    """Two tastes. ``agreement`` is 0.5 by chance and 1 for the same taste; None while somebody has no history.

    both: songs that both like, the dearest first; for_me: the other's songs that suit me best and are new to me;
    for_them: the same the other way round; apart: the other's songs that suit me least. The other's songs are what they
    played: what they only said something of is never shown.
    """

    agreement: float | None
    both: Sequence[Song]
    for_me: Sequence[Fitting]
    for_them: Sequence[Fitting]
    apart: Sequence[Fitting]


def compare(db: Session, engine: Engine, kinds: EngineTypes, viewer: str, other: str) -> Compatibility:
    """Raises NotFound unless the other shares with the viewer."""
    sharing.seen(db, viewer, other)
    voices = []
    pasts = []
    for person in (viewer, other):
        voice, past = voice_of(db, engine, kinds, person, picks=False)
        voices.append(voice)
        pasts.append(past)
    mine, theirs = ({song.id: song.weight for song in voice[2] if song.weight > 0} for voice in voices)
    theirs = {song: weight for song, weight in theirs.items() if song in pasts[1].played}
    common = sorted(mine.keys() & theirs.keys(), key=lambda s: -min(mine[s], theirs[s]))[:_SHOWN]
    found = engine.likeness(voices[0], voices[1])
    if found is None:
        rows = catalogue.songs(db, common)
        return Compatibility(None, [rows[s] for s in common if s in rows], (), (), ())
    shown = {song: fit for song, fit in found.theirs.items() if song in theirs}
    best = _first({s: fit for s, fit in shown.items() if s not in pasts[0].known}, best=True)
    back = _first({s: fit for s, fit in found.mine.items() if s not in pasts[1].known}, best=True)
    apart = [pair for pair in _first(shown, best=False) if pair[0] not in mine and pair not in best]
    rows = catalogue.songs(db, {*common, *(song for song, _ in [*best, *back, *apart])})
    best_, back_, apart_ = ([Fitting(rows[s], fit) for s, fit in pairs if s in rows] for pairs in (best, back, apart))
    return Compatibility(found.agreement, [rows[s] for s in common if s in rows], best_, back_, apart_)


def _first(fits: Mapping[int, float], *, best: bool) -> list[tuple[int, float]]:
    return sorted(fits.items(), key=lambda pair: (-pair[1] if best else pair[1], pair[0]))[:_SHOWN]
