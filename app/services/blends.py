"""Lists for several people. Nobody's taste goes into one before they agreed; whoever takes that back is out at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.errors import BadInput, Conflict, NotFound
from app.services import catalogue, hiding, sharing
from app.services.recommending import EngineTypes
from app.services.text import clean, show
from app.services.voices import of as voice_of
from app.tables import Listener, Song, now
from app.tables_sharing import Blend, BlendMember

if TYPE_CHECKING:
    from app.lm.blending import Blended, Voice
    from app.lm.engine import Engine

MOST_PEOPLE = 8
_NAME_MOST = 60
_HEAVIEST = 9
_FOR_ALL = 0.6  # of an even part: whoever speaks less for a song than this is not named for it


@dataclass(frozen=True, slots=True)
class Person:
    """One person of a blend; ``agreed`` is whether their taste may be used."""

    id: str
    name: str
    agreed: bool
    weight: int


@dataclass(frozen=True, slots=True)
class Shown:
    """A blend as one of its people sees it."""

    id: str
    name: str
    mine: bool
    agreed: bool
    people: Sequence[Person]

    @property
    def ready(self) -> bool:
        """Whether everybody agreed."""
        return len(self.people) > 1 and all(person.agreed for person in self.people)

    @property
    def title(self) -> str:
        """The name it was given, or its people."""
        return self.name or " + ".join(person.name for person in self.people)


@dataclass(frozen=True, slots=True)
class Part:
    """One person's part in a song: how much they speak for it (0–1, all people together 1), the share of the catalogue
    that fits them less (0–1), and a song they played that speaks for it, if the viewer may see what they play."""

    person: Person
    share: float
    above: float
    because: Song | None


@dataclass(frozen=True, slots=True)
class BlendedSong:
    """A song, for whom it is (everybody if all are named), and everyone's part."""

    song: Song
    whom: tuple[str, ...]
    everyone: bool
    parts: tuple[Part, ...]


def start(db: Session, maker: str, friends: Collection[str], name: str = "") -> Blend:
    """Ask friends to a blend; whoever asks has agreed. Raises BadInput."""
    name = clean(name, "The name", most=_NAME_MOST, required=False)
    wanted = set(friends) - {maker}
    there = set(
        db.scalars(select(Listener.id).where(Listener.id.in_(f for f in wanted if f.isalnum() and f.isascii())))
    )
    if missing := wanted - there:
        raise BadInput(f"There is no listener {show(sorted(missing)[0])} to ask.")
    if not 1 <= len(wanted) < MOST_PEOPLE:
        raise BadInput(f"A blend is for 2 to {MOST_PEOPLE} people, so choose 1 to {MOST_PEOPLE - 1} friends.")
    made = Blend(made_by=maker, name=name)
    db.add(made)
    db.flush()
    db.add(BlendMember(blend_id=made.id, listener_id=maker, agreed_at=now()))
    db.add_all(BlendMember(blend_id=made.id, listener_id=friend, agreed_at=None) for friend in wanted)
    db.flush()
    return made


def _membership(db: Session, listener: str, blend: str) -> BlendMember:
    found = db.get(BlendMember, (blend, listener)) if blend.isascii() and blend.isalnum() else None
    if found is None:
        raise NotFound("You are in no such blend.")
    return found


def agree(db: Session, listener: str, blend: str) -> None:
    """Let one's taste be used for a blend. Raises NotFound for who was not asked."""
    member = _membership(db, listener, blend)
    member.agreed_at = member.agreed_at or now()


def leave(db: Session, listener: str, blend: str) -> None:
    """Say no, or take one's consent back; a blend of fewer than two people is gone. Raises NotFound."""
    db.delete(_membership(db, listener, blend))
    db.flush()
    left = list(db.scalars(select(BlendMember.listener_id).where(BlendMember.blend_id == blend)))
    if len(left) < 2:
        db.execute(delete(Blend).where(Blend.id == blend))
        return
    made = db.get_one(Blend, blend)
    if made.made_by == listener:
        made.made_by = left[0]


def weigh(db: Session, listener: str, blend: str, weights: dict[str, int]) -> None:
    """Set how much people count, 1 to 9; anybody of the blend may. Raises NotFound or BadInput."""
    _membership(db, listener, blend)
    for person, weight in weights.items():
        if not 1 <= weight <= _HEAVIEST:
            raise BadInput(f"Somebody counts 1 to {_HEAVIEST}, not {weight}.")
        _membership(db, person, blend).weight = weight


def of(db: Session, listener: str, blend: str) -> Shown:
    """A blend that one is in. Raises NotFound, also for one of others."""
    _membership(db, listener, blend)
    return _shown(db, listener, db.get_one(Blend, blend))


def all_of(db: Session, listener: str) -> list[Shown]:
    """Every blend that one is in or asked to, newest first."""
    mine = select(BlendMember.blend_id).where(BlendMember.listener_id == listener)
    found = db.scalars(select(Blend).where(Blend.id.in_(mine)).order_by(Blend.created_at.desc(), Blend.id))
    return [_shown(db, listener, blend) for blend in found]


def _shown(db: Session, listener: str, blend: Blend) -> Shown:
    rows = db.execute(
        select(BlendMember, Listener.name)
        .join(Listener, Listener.id == BlendMember.listener_id)
        .where(BlendMember.blend_id == blend.id)
        .order_by(Listener.name_key)
    )
    people = [Person(m.listener_id, name, m.agreed_at is not None, m.weight) for m, name in rows]
    me = next(person for person in people if person.id == listener)
    return Shown(blend.id, blend.name, blend.made_by == listener, me.agreed, people)


def songs(
    db: Session, engine: Engine, kinds: EngineTypes, viewer: str, blend: str, count: int = 20
) -> list[BlendedSong]:
    """The list of a blend: songs that none of its people knows, each with for whom it is.

    Somebody's own songs are named as reasons only if they share what they play with the viewer, and of those only what
    they played: what they said of songs is for themself alone. Raises NotFound, or Conflict as long as somebody has not
    agreed.
    """
    shown = of(db, viewer, blend)
    if waiting := [person.name for person in shown.people if not person.agreed]:
        raise Conflict(f"{', '.join(waiting)} has not agreed yet.")
    voices: list[Voice] = []
    without: set[int] = set()
    played: dict[str, Collection[int]] = {}
    for person in shown.people:
        voice, past = voice_of(db, engine, kinds, person.id, float(person.weight))
        without |= past.known | {s for s, verdict in past.verdicts.items() if verdict in ("dislike", "not_now")}
        without |= hiding.hidden_songs(db, person.id)
        voices.append(voice)
        played[person.id] = past.played if person.id != viewer else past.known
    found = engine.blend(voices, kinds.ask(count=count, without=without), lambda ids: catalogue.artist_keys(db, ids))
    open_to_me = {who: played[who] for who in db.scalars(sharing.visible(viewer)) if who in played}
    named = {song for entry in found for speaks in entry.speaks for song, _ in speaks if song > 0}
    rows = catalogue.songs(db, {entry.song for entry in found} | named)
    return [_blended(entry, shown.people, rows, open_to_me) for entry in found if entry.song in rows]


def _blended(
    entry: Blended, people: Sequence[Person], rows: dict[int, Song], open_to_me: Mapping[str, Collection[int]]
) -> BlendedSong:
    parts = []
    for person, share, above, speaks in zip(people, entry.parts, entry.above, entry.speaks, strict=True):
        may_be_named = open_to_me.get(person.id, ())
        because = next((rows[song] for song, _ in speaks if song in rows and song in may_be_named), None)
        parts.append(Part(person, share, above, because))
    heard = sum(part.share > 0 for part in parts)
    whom = tuple(p.person.name for p in parts if p.share > 0 and p.share >= _FOR_ALL / max(heard, 1))
    return BlendedSong(rows[entry.song], whom, len(whom) == len(people), tuple(parts))
