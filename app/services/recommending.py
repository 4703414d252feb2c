"""Ask: a ranked list over the whole catalogue, with reasons in the listener's own songs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from sqlalchemy.orm import Session

from app.errors import BadInput
from app.services import catalogue, circle_adapter, hiding, history, lifting
from app.services.text import clean, show
from app.tables import Listener, Song

if TYPE_CHECKING:
    from app.lm.asking import Ask, Own
    from app.lm.engine import Engine
    from app.lm.ranking import Ranked
    from app.lm.song_text import SongText
    from app.services.remembering import Remembered

Mode = Literal["discover", "familiar"]
WISH_MOST = 200
PER_ARTIST = {-2: 4, -1: 3, 0: 2, 1: 1, 2: 1}  # songs of one artist that a list may have, from safe to adventurous
_REASONS = 5


@dataclass(frozen=True, slots=True)
class Reason:
    """One of the listener's own songs (or picks) and its part of what speaks for a song, 0–1."""

    label: str
    share: float
    song_id: int | None = None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One song of a list."""

    song: Song
    score: float
    reasons: tuple[Reason, ...]
    loved: bool


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Recommended:
    """A list, and the adapter version that made it (None: the base); ``by_circle``: it is the circle's."""

    suggestions: tuple[Suggestion, ...]
    version: str | None
    has_history: bool
    by_circle: bool = False


@dataclass(frozen=True, slots=True)
class EngineTypes:
    """What services need of the engine's vocabulary without importing torch: handed in where things are wired."""

    own: type[Own]
    ask: type[Ask]
    song_text: SongText


def recommend(
    db: Session,
    engine: Engine,
    kinds: EngineTypes,
    listener_id: str,
    *,
    mode: str = "discover",
    wish: str = "",
    count: int = 20,
    adventure: int = 0,
    remembered: Remembered | None = None,
    friends: lifting.Friends | None = None,
) -> Recommended:
    """A list for a listener; the one that was ``remembered``, if nothing that lists are made of was changed since.

    friends: where what friends play is kept for a while; without it, it is read now.

    discover leaves out what they know; familiar takes only what they played, but not in the last fortnight. Feedback
    counts at once: dislikes, "not now" and hidden artists are out, loves pull. adventure: -2 (safe) to 2 (adventurous).
    Raises BadInput.
    """
    wish = checked(mode, wish, adventure)
    if not 1 <= count <= 200:
        raise BadInput(f"A list has 1 to 200 songs, not {count}.")

    def make() -> tuple[Recommended, bool]:
        return _make(db, engine, kinds, listener_id, mode, wish, count, adventure, friends)

    if remembered is None:
        return make()[0]
    return remembered.ask(db, engine, (listener_id, mode, wish, adventure, count), make)


def checked(mode: str, wish: str, adventure: int) -> str:
    """The wish of a question, cleaned. Raises BadInput for a question that is none."""
    if mode not in get_args(Mode):
        raise BadInput(f"A list is discover or familiar, not {show(mode)}.")
    if adventure not in PER_ARTIST:
        raise BadInput(f"A list is from -2 (safe) to 2 (adventurous), not {adventure}.")
    return clean(wish, "The wish", most=WISH_MOST, required=False)


def _make(
    db: Session, engine: Engine, kinds: EngineTypes, listener_id: str, mode: str, wish: str, count: int, adventure: int,
    friends: lifting.Friends | None,
) -> tuple[Recommended, bool]:  # fmt: skip
    """The list, and whether the version answered that is live: one that was refused may be mended any time."""
    listener = db.get_one(Listener, listener_id)
    past = history.read(db, listener_id, kinds.song_text)
    own = past.own(db, kinds.song_text, kinds.own)
    hidden = {song for song, verdict in past.verdicts.items() if verdict in ("dislike", "not_now")}
    hidden |= hiding.hidden_songs(db, listener_id)
    venture = kinds.ask(count=count, wish=wish, adventure=adventure / 2)
    if mode == "familiar":
        only = {e.id for e in past.entries if e.id > 0 and e.weight > 0} - past.lately - hidden
        ask = replace(venture, only=only, per_artist=4)
    else:
        near = catalogue.same_artists(db, past.known) if adventure else set()
        ask = replace(venture, without=past.known | hidden, per_artist=PER_ARTIST[adventure], familiar=near)
    whose, live = listener_id, listener.live_version
    if live is None and listener.in_circle:
        whose, live = engine.circle, circle_adapter.live_version(db, engine.fingerprint)
    if mode == "discover" and listener.in_circle:
        songs_liked = sum(e.id > 0 and e.weight > 0 for e in past.entries)
        if share := lifting.share(engine.settings.rule, songs_liked):
            others = (lifting.Friends() if friends is None else friends).others(db, listener_id)
            ask = replace(ask, lift=lifting.voices(others, past.artists(db)), lift_share=share)
    ranked, version = engine.recommend(whose, live, own, ask, lambda ids: catalogue.artist_keys(db, ids))
    songs = catalogue.songs(db, [entry.song for entry in ranked])
    labels = catalogue.names(db, {song for entry in ranked for song in _speaking(entry)})
    labels |= {e.id: e.label for e in past.entries if e.id < 0}
    suggestions = tuple(
        Suggestion(songs[entry.song], entry.score, _reasons(entry, labels), past.verdicts.get(entry.song) == "love")
        for entry in ranked
        if entry.song in songs
    )
    by_circle = version is not None and whose != listener_id
    return Recommended(suggestions, version, bool(own), by_circle), version == live


def _speaking(entry: Ranked) -> list[int]:
    """The songs, not picks, of which the reasons are chosen: with each pick standing for itself no more are needed."""
    return [own for own, _ in entry.speaks if own > 0 and own != entry.song][:_REASONS]


def _reasons(entry: Ranked, labels: dict[int, str]) -> tuple[Reason, ...]:
    """The own songs and picks that speak most for a song; the several songs of one pick count together."""
    shares: dict[str, float] = {}
    named: dict[str, int] = {}
    for own, share in entry.speaks:
        if own == entry.song or own not in labels:
            continue
        label = labels[own]
        shares[label] = shares.get(label, 0.0) + share
        if own > 0:
            named[label] = own
    # What rounds to nothing is no reason, unless nothing else is one.
    best = [x for n, x in enumerate(sorted(shares, key=lambda label: -shares[label])) if not n or shares[x] >= 0.005]
    return tuple(Reason(label, shares[label], named.get(label)) for label in best[:_REASONS])
