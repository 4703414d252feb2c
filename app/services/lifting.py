"""What friends say of songs: among those who take part in the circle, what others play lifts a song in one's lists.

Nobody is told who speaks for a song. benchmarks/quality.md shows what it gives, beside one's own adapter and before
there is one (rows ``circle-list`` and ``first-list``).
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.tables import Feedback, Listen, Listener, Song

if TYPE_CHECKING:
    from app.lm.asking import Lift
    from app.lm.ranking import Rule

# How much friends' voices count for somebody who played nothing yet, by ranking rule, and at how many own songs they
# count half of it (docs/decisions.md).
SHARE: Mapping[Rule, float] = {"mean": 0.45, "interest": 0.5}
FADES_AT: Mapping[Rule, float] = {"mean": 40.0, "interest": 10.0}
_LEAST_SHARE = 0.03  # below, a list hardly changes: nobody's listens are read for that
_FRESH_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Plays:
    """What one friend plays and does not dislike: song ids, none twice, and the keys of their artists."""

    songs: array[int]
    artists: frozenset[str]


def share(rule: Rule, own: int) -> float:
    """How much voices count for a listener with ``own`` liked songs, in spreads of the score; 0 where hardly."""
    counted = SHARE[rule] * FADES_AT[rule] / (FADES_AT[rule] + own)
    return counted if counted >= _LEAST_SHARE else 0.0


def plays(db: Session, listener_id: str) -> Plays:
    """What a listener plays, less what is not to be learnt from."""
    disliked = select(Feedback.song_id).where(Feedback.listener_id == listener_id, Feedback.verdict == "dislike")
    played = select(Listen.song_id).where(Listen.listener_id == listener_id, Listen.ended == "played", Listen.learn)
    songs = select(Song.id, Song.artist_key).where(Song.id.in_(played), Song.id.not_in(disliked)).order_by(Song.id)
    found = db.execute(songs).all()
    return Plays(array("q", [song for song, _ in found]), frozenset(artist for _, artist in found))


class Friends:
    """What those who take part play, kept for ten minutes: a long history takes a twentieth of a second to read.

    Who takes part is asked of the rows at every list, and nothing is kept of anybody else. All methods may be called
    from any thread.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._kept: dict[str, tuple[float, Plays]] = {}

    @property
    def kept(self) -> frozenset[str]:
        """Ids of those whose plays are in memory."""
        return frozenset(self._kept)

    def others(self, db: Session, listener_id: str) -> dict[str, Plays]:
        """What the others who take part play, by their ids."""
        there = list(db.scalars(select(Listener.id).where(Listener.in_circle).order_by(Listener.id)))
        clock = self._clock()
        with self._lock:
            fresh = {one: kept for one in there if (kept := self._kept.get(one)) and clock - kept[0] < _FRESH_SECONDS}
        for one in there:
            if one != listener_id and one not in fresh:
                fresh[one] = (clock, plays(db, one))
        with self._lock:
            self._kept = fresh
        return {one: fresh[one][1] for one in there if one != listener_id}


def voices(friends: Mapping[str, Plays], artists: Collection[str]) -> Lift:
    """What each friend plays, and how loud they speak for it.

    The louder the more of ``artists``, which are the listener's, they play as well; on average with one voice.
    """
    shared = {one: 1.0 + len(plays.artists.intersection(artists)) for one, plays in friends.items()}
    mean = sum(shared.values()) / max(1, len(shared))
    return [(friends[one].songs, shared[one] / mean) for one in sorted(friends)]
