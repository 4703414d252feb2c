"""What friends play lifts songs in each other's lists: who speaks, how loud, and for how long that is kept."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import pytest
from sqlalchemy import select

from app.db import Database
from app.lm.asking import WISH_SHARE, Lift
from app.lm.engine import Engine
from app.services import lifting, listens
from app.services.recommending import EngineTypes, Recommended, recommend
from app.tables import AdapterVersion, Listen, Listener, new_id
from tests.lm.making import peft_tensors, write_adapter

HELD = {"ranks": [3], "gain": 0.5, "found": 1, "ndcg_10": 0.5, "of": 1, "within": 100}
BENS = 6  # songs that Ben plays


@pytest.fixture
def circle(db: Database, ana: Listener, ben: Listener, song_ids: Sequence[int]) -> tuple[str, str]:
    """Ana, who played nothing yet, and Ben, who plays some songs, take part."""
    with db.write() as session:
        for song in song_ids[:BENS]:
            listens.log(session, ben.id, song_id=song, at=1_700_000_000)
        for who in (ana, ben):
            session.get_one(Listener, who.id).in_circle = True
    return ana.id, ben.id


def as_dict(lift: Lift) -> dict[int, float]:
    """Voices by song."""
    voices: dict[int, float] = {}
    for songs, loud in lift:
        assert len(set(songs)) == len(songs)
        for song in songs:
            voices[song] = voices.get(song, 0.0) + loud
    return voices


def spoken_for(db: Database, listener: str, friends: lifting.Friends | None = None) -> set[int]:
    """Songs that others speak for in a listener's lists."""
    with db.read() as session:
        return set(
            as_dict(
                lifting.voices((lifting.Friends() if friends is None else friends).others(session, listener), set())
            )
        )


def plays(songs: Sequence[int], *artists: str) -> lifting.Plays:
    """What a friend plays."""
    return lifting.Plays(array("q", songs), frozenset(artists))


def test_voices_are_one_on_average_and_louder_for_friends_who_share_artists() -> None:
    friends = {"a": plays([1, 2], "x", "y", "z"), "b": plays([2], "w"), "c": plays([])}
    assert as_dict(lifting.voices(friends, {"x", "y", "z", "other"})) == pytest.approx({1: 4 / 2, 2: 5 / 2})
    assert as_dict(lifting.voices(friends, set())) == pytest.approx({1: 1, 2: 2})
    assert as_dict(lifting.voices({}, {"x"})) == {}


def test_voices_count_less_the_more_one_has_played_and_then_nothing() -> None:
    for rule in lifting.SHARE:
        whole, half = lifting.share(rule, 0), lifting.share(rule, int(lifting.FADES_AT[rule]))
        assert whole == lifting.SHARE[rule] and half == pytest.approx(whole / 2)
        assert lifting.share(rule, 10_000) == 0


def test_only_others_who_take_part_speak_and_not_for_what_they_dislike(
    db: Database, circle: tuple[str, str], song_ids: Sequence[int]
) -> None:
    ana, ben = circle
    with db.write() as session:
        listens.log(session, ana, song_id=song_ids[BENS], at=1_700_000_000)
        listens.say(session, ben, song_ids[1], "dislike")
    assert spoken_for(db, ana) == set(song_ids[:BENS]) - {song_ids[1]}
    assert spoken_for(db, ben) == {song_ids[BENS]}
    with db.write() as session:
        session.get_one(Listener, ben).in_circle = False
    assert spoken_for(db, ana) == set()


def test_skips_and_what_is_not_to_be_learnt_from_say_nothing_to_others(
    db: Database, circle: tuple[str, str], song_ids: Sequence[int]
) -> None:
    ana, ben = circle
    with db.write() as session:
        first, second, *_ = session.scalars(select(Listen).where(Listen.listener_id == ben).order_by(Listen.id))
        listens.set_learn(session, ben, first.id, False)
        second.ended = "skipped"
    assert spoken_for(db, ana) == set(song_ids[2:BENS])


def test_what_friends_play_is_kept_ten_minutes_and_who_stops_taking_part_not_a_moment(
    db: Database, circle: tuple[str, str], song_ids: Sequence[int]
) -> None:
    clock = [1000.0]
    friends = lifting.Friends(lambda: clock[0])
    ana, ben = circle
    assert spoken_for(db, ana, friends) == set(song_ids[:BENS])
    with db.write() as session:
        listens.log(session, ben, song_id=song_ids[BENS], at=1_700_000_000)
    clock[0] += 599
    assert spoken_for(db, ana, friends) == set(song_ids[:BENS])
    clock[0] += 2
    assert spoken_for(db, ana, friends) == set(song_ids[: BENS + 1])
    with db.write() as session:
        session.get_one(Listener, ben).in_circle = False
    assert spoken_for(db, ana, friends) == set() and ben not in friends.kept


def places(made: Recommended, songs: Sequence[int]) -> int:
    """The sum of some songs' places in a list."""
    order = [suggestion.song.id for suggestion in made.suggestions]
    return sum(order.index(song) if song in order else 999 for song in songs)


def test_friends_lift_a_newcomer_s_first_list_only_if_they_take_part(
    db: Database, engine: Engine, kinds: EngineTypes, circle: tuple[str, str], song_ids: Sequence[int]
) -> None:
    ana, _ = circle
    with db.write() as session:
        listens.set_preferences(session, ana, [], ["Nina Simone"])
        lifted = recommend(session, engine, kinds, ana, count=200)
        session.get_one(Listener, ana).in_circle = False
        session.flush()
        plain = recommend(session, engine, kinds, ana, count=200)
    assert not lifted.by_circle and lifted.version is None  # there is no version yet: the base answers
    assert places(lifted, song_ids[:BENS]) < places(plain, song_ids[:BENS])


@pytest.fixture
def own_version(db: Database, engine: Engine, circle: tuple[str, str], song_ids: Sequence[int]) -> str:
    """Ana's own live adapter; she has played twenty songs that are none of Ben's."""
    ana, version = circle[0], new_id()
    tensors = {name: 0.02 * tensor for name, tensor in peft_tensors(engine.bank.shapes, 8, seed=5).items()}
    config = {"target_modules": sorted(engine.bank.shapes), "task_type": "FEATURE_EXTRACTION", "lora_dropout": 0.0}
    files = write_adapter(
        engine.store, ana, version, tensors, fingerprint=engine.fingerprint, rank=8, config=config
    )  # fmt: skip
    with db.write() as session:
        for song in song_ids[-20:]:
            listens.log(session, ana, song_id=song, at=1_700_000_000)
        session.add(AdapterVersion(
            id=version, listener_id=ana, number=1, promoted=True, why="better", base_fingerprint=engine.fingerprint,
            before=HELD, after=HELD, difference=0.1, low=0.0, high=0.2, learnt_from=20, trainable_parameters=24_576,
            base_parameters=22_000_000, size=files.size, seconds=1.0,
        ))  # fmt: skip
        session.get_one(Listener, ana).live_version = version
    return version


@pytest.mark.parametrize("mode", ["discover", "familiar"])
def test_friends_lift_songs_beside_one_s_own_adapter_in_discoveries_alone(
    db: Database, engine: Engine, kinds: EngineTypes, circle: tuple[str, str], own_version: str,
    song_ids: Sequence[int], mode: str,
) -> None:  # fmt: skip
    ana, _ = circle
    with db.write() as session:
        lifted = recommend(session, engine, kinds, ana, count=200, mode=mode)
        session.get_one(Listener, ana).in_circle = False
        session.flush()
        plain = recommend(session, engine, kinds, ana, count=200, mode=mode)
    assert lifted.version == plain.version == own_version and not lifted.by_circle
    if mode == "discover":
        assert places(lifted, song_ids[:BENS]) < places(plain, song_ids[:BENS])
    else:
        assert lifted == plain


@pytest.mark.parametrize(("wish", "part"), [("", 1.0), ("slow piano for the night", 1 - WISH_SHARE)])
def test_beside_a_wish_friends_count_as_much_less_as_the_taste_does(
    engine: Engine, kinds: EngineTypes, song_ids: Sequence[int], wish: str, part: float
) -> None:
    own = [kinds.own(song, f"song {song}", 1.0) for song in song_ids[-20:]]
    lift = lifting.voices({"b": plays(song_ids[:BENS])}, set())

    def scores(share: float) -> dict[int, float]:
        ask = kinds.ask(count=200, per_artist=200, wish=wish, lift=lift, lift_share=share)
        return {entry.song: entry.score for entry in engine.recommend("a" * 16, None, own, ask, lambda songs: {})[0]}

    some, more = scores(9.0), scores(10.0)
    spoken = set(song_ids[:BENS]) & set(some) & set(more)
    assert spoken
    for song in set(some) & set(more):
        assert more[song] - some[song] == pytest.approx(part * (song in spoken), abs=1e-4)
