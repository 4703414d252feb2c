"""What a listener's own songs are, and how much each counts: the engine's whole view of a person.

Plays count by their logarithm, recent ones more; love adds, dislike turns a song against; songs only ever skipped speak
faintly against. A newcomer's picks stand in until listens outweigh them: each is some songs of
that artist or genre, under negative ids.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import String, cast, select
from sqlalchemy.orm import Session

from app.services import catalogue, listens
from app.services.text import artist_key
from app.tables import Listen, Song, now

if TYPE_CHECKING:
    from app.lm.asking import Own
    from app.lm.song_text import SongText

_DAY = 86_400
_YEAR = 365 * _DAY
_OLD_STILL = 0.3  # what a play of long ago keeps of its weight
_LOVE, _DISLIKE, _SKIP = 2.0, -0.3, -0.05
_PICK_FADES_AT = 10.0  # songs at which a pick counts half
_SONGS_A_PICK = 8
_MOST = 500


@dataclass(slots=True)
class _Tally:
    plays: float = 0.0
    skips: int = 0
    last: int | None = None
    ratings: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Entry:
    """One own song, or one pick (negative id, text and label already written)."""

    id: int
    weight: float
    label: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class History:
    """Everything of a listener that ranking and training need.

    known: songs that they played, skipped or spoke of; played: those that others may be told of, if they share. What
    somebody says of songs is for themself alone.
    """

    entries: tuple[Entry, ...]
    known: frozenset[int]
    played: frozenset[int]
    lately: frozenset[int]
    verdicts: dict[int, str]
    picked: tuple[str, ...] = ()

    def own(self, db: Session, write_text: SongText, make: type[Own], *, picks: bool = True) -> list[Own]:
        """The entries as the engine takes them, weightiest first; ``picks`` keeps a newcomer's picks."""
        chosen = [e for e in self.entries if picks or e.id > 0][:_MOST]
        texts = dict(catalogue.texts(db, write_text, [e.id for e in chosen if e.id > 0]))
        return [make(e.id, texts.get(e.id, e.text), e.weight) for e in chosen if e.id in texts or e.text]

    def artists(self, db: Session) -> set[str]:
        """Keys of the artists of liked songs and of those whom a newcomer picked."""
        liked = [e.id for e in self.entries if e.id > 0 and e.weight > 0]
        return set(catalogue.artist_keys(db, liked).values()) | {artist_key(name) for name in self.picked}


def _weight(tally: _Tally, verdict: str | None) -> float:
    if verdict == "dislike":
        return _DISLIKE
    weight = math.log2(1 + tally.plays)
    if verdict == "love":
        return max(weight, 1.0) * _LOVE
    if tally.ratings:
        rating = sum(tally.ratings) / len(tally.ratings)
        if rating <= 2:
            return _DISLIKE / 2
        weight = max(weight, 1.0) * rating / 4
    return weight if weight > 0 else _SKIP * math.log2(1 + tally.skips)


def read(db: Session, listener: str, write_text: SongText, *, lately_days: int = 14) -> History:
    """A listener's history as it stands now."""
    tallies: dict[int, _Tally] = defaultdict(_Tally)
    played: set[int] = set()
    clock = now()
    midnight = clock - clock % _DAY  # ages count from here, so that weights, and what follows from them, last a day
    columns = select(Listen.song_id, Listen.listened_at, Listen.plays, Listen.rating, Listen.ended, Listen.learn)
    for song, at, plays, rating, ended, learn in db.execute(columns.where(Listen.listener_id == listener)):
        tally = tallies[song]
        if ended == "played":
            played.add(song)
        if rating is not None and learn:
            tally.ratings.append(rating)
        if at is not None:
            tally.last = max(at, tally.last or 0)
        if not learn:
            continue  # known, but it says nothing of the taste
        if ended == "skipped":
            tally.skips += plays
        else:
            age = 0.0 if at is None else max(0, midnight - at) / _YEAR
            tally.plays += plays * (_OLD_STILL + (1 - _OLD_STILL) * 0.5**age)
    verdicts = listens.verdicts(db, listener)
    for song in verdicts:
        if verdicts[song] in ("love", "dislike", "know"):
            tallies.setdefault(song, _Tally())
    entries = [Entry(song, _weight(tally, verdicts.get(song))) for song, tally in tallies.items()]
    entries = [e for e in entries if e.weight != 0]
    entries += _picks(db, listener, sum(e.weight > 0 for e in entries), write_text)
    entries.sort(key=lambda e: (-abs(e.weight), e.id))
    lately = {s for s, t in tallies.items() if t.last is not None and t.last > clock - lately_days * _DAY}
    picked = tuple(listens.preferences(db, listener)[1])
    return History(tuple(entries), frozenset(tallies), frozenset(played), frozenset(lately), verdicts, picked)


def _picks(db: Session, listener: str, songs: int, write_text: SongText) -> Sequence[Entry]:
    genres, artists = listens.preferences(db, listener)
    weight = _PICK_FADES_AT / (_PICK_FADES_AT + songs)
    picks: list[Entry] = []

    def add(label: str, texts: Sequence[str], total: float) -> None:
        for text in texts:
            picks.append(Entry(-1 - len(picks), total / len(texts), label, text))

    for artist in artists:
        key = artist_key(artist)
        known = catalogue.texts_where(db, write_text, Song.artist_key == key, _SONGS_A_PICK)
        add(f"your pick {artist}", known or [artist], weight)
    for genre in genres:
        has_genre = cast(Song.genres, String).contains(json.dumps(genre), autoescape=True)
        known = catalogue.texts_where(db, write_text, has_genre, _SONGS_A_PICK)
        add(f"your liking for {genre}", known or [f"{genre} music"], weight / 2)
    return picks
