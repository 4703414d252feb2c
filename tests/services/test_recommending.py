"""Ask: what is left out, what pulls, what is named as a reason. With the real base."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import select

from app.db import Database
from app.errors import BadInput
from app.lm.engine import Engine
from app.services import catalogue, listens
from app.services.recommending import EngineTypes, Recommended, recommend
from app.tables import Listener, Song, now

DAY = 86_400


class Asking:
    """One listener who asks."""

    def __init__(self, db: Database, engine: Engine, kinds: EngineTypes, listener: Listener) -> None:
        self.db, self.engine, self.kinds, self.listener = db, engine, kinds, listener

    def __call__(self, **how: object) -> Recommended:
        """The list as it is now."""
        with self.db.read() as session:
            return recommend(session, self.engine, self.kinds, self.listener.id, **how)  # type: ignore[arg-type]

    def ids(self, **how: object) -> list[int]:
        """Song ids of the list."""
        return [entry.song.id for entry in self(**how).suggestions]

    def log(self, songs: Sequence[int], days_ago: int = 30) -> None:
        """Log a play of each."""
        with self.db.write() as session:
            for song in songs:
                listens.log(session, self.listener.id, song_id=song, at=now() - days_ago * DAY)

    def say(self, song: int, verdict: str) -> None:
        """Give feedback."""
        with self.db.write() as session:
            listens.say(session, self.listener.id, song, verdict)


@pytest.fixture
def ask(db: Database, engine: Engine, kinds: EngineTypes, ana: Listener) -> Asking:
    """Ana asks."""
    return Asking(db, engine, kinds, ana)


@pytest.fixture
def liked(db: Database) -> list[int]:
    """Songs of two artists who have enough in the slice."""
    with db.read() as session:
        wanted = select(Song.id).where(Song.artist.in_(["Elvis Presley", "Johnny Horton"])).order_by(Song.id)
        return list(session.scalars(wanted))[:8]


def test_discover_leaves_out_every_known_song(ask: Asking, liked: list[int]) -> None:
    ask.log(liked)
    found = ask.ids(count=100)
    assert len(found) == len(set(found)) > 50
    assert not set(found) & set(liked)


def test_familiar_has_only_songs_not_heard_in_a_fortnight(ask: Asking, liked: list[int]) -> None:
    ask.log(liked[:5], days_ago=40)
    ask.log(liked[5:], days_ago=2)
    assert ask.ids(mode="familiar") and set(ask.ids(mode="familiar")) <= set(liked[:5])
    ask.say(liked[0], "dislike")
    assert liked[0] not in ask.ids(mode="familiar")


@pytest.mark.parametrize("verdict", ["dislike", "not_now", "know"])
def test_what_is_not_wanted_is_gone_at_once(ask: Asking, liked: list[int], verdict: str) -> None:
    ask.log(liked)
    first = ask.ids()
    ask.say(first[0], verdict)
    assert first[0] not in ask.ids()
    ask.say(first[0], "clear")
    assert ask.ids() == first


def test_love_changes_the_list_at_once(ask: Asking, liked: list[int], song_ids: Sequence[int]) -> None:
    ask.log(liked)
    first = ask.ids()
    ask.say(song_ids[-1], "love")
    assert ask.ids() != first
    labels = {r.song_id for s in ask(count=60).suggestions for r in s.reasons if r.song_id}
    assert song_ids[-1] in labels


def test_a_wish_changes_the_list_and_pulls_its_way(ask: Asking, liked: list[int]) -> None:
    ask.log(liked)
    plain = ask()
    wished = ask(wish="aggressive hip hop, gangsta rap")

    def rap(made: Recommended) -> int:
        return sum("rap" in " ".join(s.song.genres) or "hip hop" in s.song.genres for s in made.suggestions)

    assert [s.song.id for s in wished.suggestions] != [s.song.id for s in plain.suggestions]
    assert rap(wished) > rap(plain)


def test_a_wish_alone_is_enough_for_a_list(ask: Asking) -> None:
    made = ask(wish="rainy Sunday")
    assert len(made.suggestions) == 20 and not made.has_history


def test_a_newcomer_without_anything_gets_no_list(ask: Asking) -> None:
    made = ask()
    assert made.suggestions == () and not made.has_history and made.version is None


def test_a_newcomer_gets_a_list_from_picks_alone_and_the_picks_are_the_reasons(
    db: Database, ana: Listener, ask: Asking
) -> None:
    with db.write() as session:
        listens.set_preferences(session, ana.id, ["trap"], ["Drake"])
    made = ask()
    assert len(made.suggestions) == 20
    named = {r.label for s in made.suggestions for r in s.reasons}
    assert named and named <= {"your pick Drake", "your liking for trap"}


def test_reasons_are_the_listeners_own_songs_with_their_share(ask: Asking, liked: list[int]) -> None:
    ask.log(liked)
    with ask.db.read() as session:
        own = {f"{s.title} by {s.artist}" for s in catalogue.songs(session, liked).values()}
    for entry in ask().suggestions:
        assert 1 <= len(entry.reasons) <= 5
        assert {r.label for r in entry.reasons} <= own
        assert all(0 < r.share <= 1.0001 for r in entry.reasons)
        assert [r.share for r in entry.reasons] == sorted((r.share for r in entry.reasons), reverse=True)
        assert sum(r.share for r in entry.reasons) <= 1.0001
        assert all(r.share >= 0.005 for r in entry.reasons[1:])  # none that says 0 %


def test_no_artist_takes_the_list_over(ask: Asking, liked: list[int]) -> None:
    ask.log(liked)
    artists = [entry.song.artist_key for entry in ask().suggestions]
    assert max(artists.count(a) for a in artists) <= 2


def test_asking_twice_gives_the_same_list(ask: Asking, liked: list[int]) -> None:
    ask.log(liked)
    assert ask.ids() == ask.ids()


def test_another_listeners_feedback_changes_nothing(db: Database, ben: Listener, ask: Asking, liked: list[int]) -> None:
    ask.log(liked)
    first = ask.ids()
    with db.write() as session:
        for song in first[:5]:
            listens.say(session, ben.id, song, "dislike")
    assert ask.ids() == first


def test_a_song_that_joins_can_be_recommended_to_others(ask: Asking, liked: list[int], ben: Listener) -> None:
    ask.log(liked)
    with ask.db.write() as session:
        listen, added = listens.log(session, ben.id, artist="Elvis and the Hound Dogs", title="Heartbreak Hotel")
        texts = catalogue.texts(session, ask.kinds.song_text, [listen.song_id])
    assert added and listen.song_id not in ask.ids(count=200)
    ask.engine.encode_songs(texts)
    assert listen.song_id in ask.ids(count=200)


def test_a_live_version_that_is_gone_leaves_the_base_answering(ask: Asking, liked: list[int]) -> None:
    ask.log(liked)
    first = ask.ids()
    with ask.db.write() as session:
        session.get_one(Listener, ask.listener.id).live_version = "0123456789abcdef"
    made = ask()
    assert made.version is None and [s.song.id for s in made.suggestions] == first
    assert ask(wish="rainy Sunday").suggestions


@pytest.mark.parametrize("count", [0, -1, 201, 2**63])
def test_a_count_out_of_bounds_is_refused(ask: Asking, count: int) -> None:
    with pytest.raises(BadInput, match="1 to 200"):
        ask(count=count)


@pytest.mark.parametrize("mode", ["", "Discover", "both", "\ud800"])
def test_an_unknown_mode_is_refused(ask: Asking, mode: str) -> None:
    with pytest.raises(BadInput, match="discover or familiar"):
        ask(mode=mode)


@pytest.mark.parametrize("wish", ["a\x00b", "\ud800", "x" * 201, "x" * 10_000_000])
def test_a_wish_that_is_no_text_is_refused(ask: Asking, wish: str) -> None:
    with pytest.raises(BadInput, match="The wish"):
        ask(wish=wish)
