"""How much each of a listener's songs counts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import select

from app.db import Database
from app.lm.asking import Own
from app.lm.song_text import song_text
from app.services import catalogue, history, listens
from app.services.history import History
from app.tables import Artist, Listen, Listener, Song, now

DAY = 86_400


def past(db: Database, listener: Listener) -> History:
    """The listener's history."""
    with db.read() as session:
        return history.read(session, listener.id, song_text)


def weights(db: Database, listener: Listener) -> dict[int, float]:
    """Weight by song."""
    return {entry.id: entry.weight for entry in past(db, listener).entries}


def test_love_counts_more_than_a_play_a_play_more_than_a_skip_and_dislike_turns_against(
    db: Database, ana: Listener, song_ids: Sequence[int]
) -> None:
    loved, plain, skipped, disliked = song_ids[:4]
    with db.write() as session:
        for song in (loved, plain, disliked):
            listens.log(session, ana.id, song_id=song)
        listens.log(session, ana.id, song_id=skipped, ended="skipped")
        listens.say(session, ana.id, loved, "love")
        listens.say(session, ana.id, disliked, "dislike")
    found = weights(db, ana)
    assert found[loved] > found[plain] > 0 > found[skipped] > found[disliked]


def test_a_song_loved_without_a_listen_counts_too(db: Database, ana: Listener, song_ids: Sequence[int]) -> None:
    with db.write() as session:
        listens.say(session, ana.id, song_ids[0], "love")
    assert weights(db, ana)[song_ids[0]] > 0
    assert past(db, ana).known == {song_ids[0]}


def test_recent_plays_count_more_but_old_ones_never_vanish(
    db: Database, ana: Listener, song_ids: Sequence[int]
) -> None:
    new, old, ancient = song_ids[:3]
    with db.write() as session:
        for song, age in ((new, 0), (old, 2 * 365), (ancient, 15 * 365)):
            listens.log(session, ana.id, song_id=song, at=now() - age * DAY)
    found = weights(db, ana)
    assert found[new] > found[old] > found[ancient] > 0.2 * found[new]


def test_plays_count_with_falling_weight(db: Database, ana: Listener, song_ids: Sequence[int]) -> None:
    once, ten, thousand = song_ids[:3]
    with db.write() as session:
        for song, plays in ((once, 1), (ten, 10), (thousand, 1000)):
            session.add(Listen(listener_id=ana.id, song_id=song, listened_at=None, plays=plays))
    found = weights(db, ana)
    assert found[once] < found[ten] < found[thousand] < 100 * found[once]


def test_a_low_rating_speaks_against_and_a_high_one_for(db: Database, ana: Listener, song_ids: Sequence[int]) -> None:
    low, none, high = song_ids[:3]
    with db.write() as session:
        for song, rating in ((low, 1.0), (none, None), (high, 5.0)):
            session.add(Listen(listener_id=ana.id, song_id=song, listened_at=None, plays=1, rating=rating))
    found = weights(db, ana)
    assert found[high] > found[none] > 0 > found[low]


def test_know_keeps_a_song_out_of_discovery_without_a_weight(
    db: Database, ana: Listener, song_ids: Sequence[int]
) -> None:
    with db.write() as session:
        listens.say(session, ana.id, song_ids[0], "know")
    assert weights(db, ana) == {}
    assert past(db, ana).known == {song_ids[0]}


def test_lately_is_the_last_fortnight(db: Database, ana: Listener, song_ids: Sequence[int]) -> None:
    with db.write() as session:
        listens.log(session, ana.id, song_id=song_ids[0], at=now() - 13 * DAY)
        listens.log(session, ana.id, song_id=song_ids[1], at=now() - 15 * DAY)
        session.add(Listen(listener_id=ana.id, song_id=song_ids[2], listened_at=None, plays=9))
    assert past(db, ana).lately == {song_ids[0]}


def test_nobody_elses_listens_are_in_it(db: Database, ana: Listener, ben: Listener, song_ids: Sequence[int]) -> None:
    with db.write() as session:
        listens.log(session, ben.id, song_id=song_ids[0])
        listens.say(session, ben.id, song_ids[1], "love")
        listens.set_preferences(session, ben.id, ["rock"], ["Queen"])
    found = past(db, ana)
    assert (found.entries, found.known, found.verdicts) == ((), frozenset(), {})


def test_picks_are_songs_of_that_artist_and_fade_as_listens_come(
    db: Database, ana: Listener, song_ids: Sequence[int]
) -> None:
    with db.write() as session:
        listens.set_preferences(session, ana.id, ["rock"], ["queen"])
    before = [e for e in past(db, ana).entries if e.id < 0]
    queen = [e for e in before if "queen" in e.label]
    rock = [e for e in before if "rock" in e.label]
    assert queen and all("Queen" in e.text for e in queen) and rock
    assert sum(e.weight for e in queen) > sum(e.weight for e in rock) > 0
    with db.write() as session:
        for song in song_ids[:30]:
            listens.log(session, ana.id, song_id=song)
    after = [e for e in past(db, ana).entries if e.id < 0]
    assert sum(e.weight for e in after) < sum(e.weight for e in before) / 2
    assert past(db, ana).known == set(song_ids[:30]), "picks are not songs that the listener knows"


def test_a_pick_that_the_catalogue_lacks_stands_as_its_name(db: Database, ana: Listener) -> None:
    with db.write() as session:
        listens.set_preferences(session, ana.id, ["music of the spheres"], ["Nobody We Know"])
    assert sorted(e.text for e in past(db, ana).entries) == ["Nobody We Know", "music of the spheres music"]


def test_a_genre_with_accents_is_picked_like_any_other(db: Database, ana: Listener, song_ids: Sequence[int]) -> None:
    with db.write() as session:
        song = catalogue.song(session, song_ids[0])
        song.genres = ["tropicália"]
        title = song.title
        listens.set_preferences(session, ana.id, ["tropicália"], [])
    assert [e.text for e in past(db, ana).entries if title in e.text], "the pick found no song of its genre"


def test_a_genre_is_not_found_inside_another(db: Database, ana: Listener, song_ids: Sequence[int]) -> None:
    with db.write() as session:
        for song in session.scalars(select(Song)):
            song.genres = ["k-pop"]
        catalogue.song(session, song_ids[0]).genres = ["pop"]
        listens.set_preferences(session, ana.id, ["pop"], [])
    assert len(past(db, ana).entries) == 1


@pytest.mark.parametrize("wild", ["%", "_", '"', "\\", "rock%"])
def test_wildcards_in_a_pick_are_only_characters(db: Database, ana: Listener, wild: str) -> None:
    with db.write() as session:
        listens.set_preferences(session, ana.id, [wild], [])
    assert [e.text for e in past(db, ana).entries] == [f"{wild} music"]


def test_training_sees_songs_only_and_asking_sees_the_picks(
    db: Database, ana: Listener, song_ids: Sequence[int]
) -> None:
    with db.write() as session:
        listens.set_preferences(session, ana.id, ["rock"], [])
        listens.log(session, ana.id, song_id=song_ids[0])
    with db.read() as session:
        found = history.read(session, ana.id, song_text)
        train = found.own(session, song_text, Own, picks=False)
        ask = found.own(session, song_text, Own)
        assert [own.id for own in train] == [song_ids[0]]
        assert len(ask) > 1 and {own.id for own in ask if own.id > 0} == {song_ids[0]}
        assert train[0].text == catalogue.texts(session, song_text, [song_ids[0]])[0][1]
        assert session.scalars(select(Artist)).first() is not None
