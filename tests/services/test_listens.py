"""Log, look back, correct, delete; and what a listener says of a song."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import func, select, update

from app.db import Database
from app.errors import BadInput, Conflict, NotFound
from app.services import catalogue, listens
from app.tables import Artist, Feedback, Listen, Listener, Song, now

AT = 1_700_000_000
HOSTILE_TEXT = ["", "  ", "a\x00b", "\ud800", "x" * 10_000_000, "\x1b[2J"]


def rows(db: Database) -> int:
    """Listens in the database."""
    with db.read() as session:
        return session.scalar(select(func.count()).select_from(Listen)) or 0


def test_a_song_of_the_catalogue_is_logged_by_its_id(db: Database, ana: Listener, song_ids: Sequence[int]) -> None:
    with db.write() as session:
        listen, added = listens.log(session, ana.id, song_id=song_ids[0], at=AT)
    assert (listen.song_id, listen.listened_at, listen.ended, added) == (song_ids[0], AT, "played", False)


def test_a_song_by_name_joins_the_catalogue_with_its_artists_genres(db: Database, ana: Listener) -> None:
    with db.write() as session:
        artist = session.scalars(select(Artist)).first()
        assert artist is not None
        listen, added = listens.log(session, ana.id, artist=artist.name.upper(), title="A Song Nobody Wrote", at=AT)
        song = session.get_one(Song, listen.song_id)
        assert added and song.genres == artist.genres != [] and song.country == artist.country
        assert song.source == "log"


def test_a_name_that_is_there_already_is_the_same_song(db: Database, ana: Listener, song_ids: Sequence[int]) -> None:
    with db.write() as session:
        known = catalogue.song(session, song_ids[0])
        again, added = listens.log(
            session, ana.id, artist=known.artist.upper(), title=f"{known.title} (2011 Remaster)", at=AT
        )
        assert again.song_id == known.id and not added
        count = catalogue.count(session)
    assert count == len(song_ids)


def test_one_song_twice_in_one_second_is_a_conflict_and_other_people_do_not_collide(
    db: Database, ana: Listener, ben: Listener, song_ids: Sequence[int]
) -> None:
    with db.write() as session:
        listens.log(session, ana.id, song_id=song_ids[0], at=AT)
        listens.log(session, ben.id, song_id=song_ids[0], at=AT)
        listens.log(session, ana.id, song_id=song_ids[0], at=AT + 1)
        listens.log(session, ana.id, song_id=song_ids[1], at=AT)
    with pytest.raises(Conflict, match="very second"), db.write() as session:
        listens.log(session, ana.id, song_id=song_ids[0], at=AT)
    assert rows(db) == 4


@pytest.mark.parametrize("at", [0, -1, listens.EARLIEST - 1, -(2**63), 2**63, 10**30])
def test_a_time_that_cannot_be_is_refused_and_nothing_is_written(db: Database, ana: Listener, at: int) -> None:
    with pytest.raises(BadInput), db.write() as session:
        listens.log(session, ana.id, artist="Nobody", title="Nothing", at=at)
    with pytest.raises(BadInput, match="future"), db.write() as session:
        listens.log(session, ana.id, artist="Nobody", title="Nothing", at=now() + listens.AHEAD + 60)
    with db.read() as session:
        assert session.scalar(select(Song).where(Song.artist == "Nobody")) is None
    assert rows(db) == 0


def test_a_clock_that_is_a_little_ahead_is_forgiven(db: Database, ana: Listener, song_ids: Sequence[int]) -> None:
    assert listens.check_time(listens.EARLIEST) == listens.EARLIEST
    with db.write() as session:
        listens.log(session, ana.id, song_id=song_ids[0], at=now() + 60)
    assert rows(db) == 1


@pytest.mark.parametrize("text", HOSTILE_TEXT)
def test_a_name_that_is_no_text_is_refused_and_nothing_is_written(db: Database, ana: Listener, text: str) -> None:
    for artist, title in [(text, "Title"), ("Artist of None", text)]:
        with pytest.raises(BadInput), db.write() as session:
            listens.log(session, ana.id, artist=artist, title=title)
    with db.read() as session:
        assert session.scalar(select(Song).where(Song.source == "log")) is None


@pytest.mark.parametrize("song", [0, -1, 10**9, 2**63, -(2**63), 10**40])
def test_a_song_that_is_not_there_is_not_found(db: Database, ana: Listener, song: int) -> None:
    with pytest.raises(NotFound), db.write() as session:
        listens.log(session, ana.id, song_id=song)
    with pytest.raises(NotFound), db.write() as session:
        listens.say(session, ana.id, song, "love")


@pytest.mark.parametrize("ended", ["", "finished", "\ud800", "PLAYED"])
def test_a_listen_ends_as_played_or_skipped(db: Database, ana: Listener, song_ids: Sequence[int], ended: str) -> None:
    with pytest.raises(BadInput), db.write() as session:
        listens.log(session, ana.id, song_id=song_ids[0], ended=ended)
    assert rows(db) == 0


def test_a_listen_is_corrected_made_undated_and_deleted(db: Database, ana: Listener, song_ids: Sequence[int]) -> None:
    with db.write() as session:
        listen, _ = listens.log(session, ana.id, song_id=song_ids[0], at=AT)
        changed = listens.edit(session, ana.id, listen.id, at=AT + 60, ended="skipped")
        assert (changed.listened_at, changed.ended) == (AT + 60, "skipped")
        assert listens.edit(session, ana.id, listen.id, at=None, ended="played").listened_at is None
        assert listens.remove(session, ana.id, listen.id).song.title
    assert rows(db) == 0


def test_a_correction_that_fails_leaves_the_listen_as_it_was(
    db: Database, ana: Listener, song_ids: Sequence[int]
) -> None:
    with db.write() as session:
        one, _ = listens.log(session, ana.id, song_id=song_ids[0], at=AT)
        listens.log(session, ana.id, song_id=song_ids[0], at=AT + 1)
    with pytest.raises(Conflict), db.write() as session:
        listens.edit(session, ana.id, one.id, at=AT + 1, ended="skipped")
    for at, ended in [(2**63, "played"), (AT, "half")]:
        with pytest.raises(BadInput), db.write() as session:
            listens.edit(session, ana.id, one.id, at=at, ended=ended)
    with db.read() as session:
        kept = listens.own_listen(session, ana.id, one.id)
        assert (kept.listened_at, kept.ended) == (AT, "played")


def test_other_peoples_listens_are_not_there(
    db: Database, ana: Listener, ben: Listener, song_ids: Sequence[int]
) -> None:
    with db.write() as session:
        hers, _ = listens.log(session, ana.id, song_id=song_ids[0], at=AT)
    for number in (hers.id, 0, -1, 2**63, 10**40):
        with pytest.raises(NotFound), db.write() as session:
            listens.edit(session, ben.id, number, at=None, ended="skipped")
        with pytest.raises(NotFound), db.write() as session:
            listens.remove(session, ben.id, number)
    with db.read() as session:
        assert listens.own_listen(session, ana.id, hers.id).ended == "played"
        assert listens.page(session, ben.id) == ([], 0)


def test_a_page_has_the_newest_first_and_undated_last(db: Database, ana: Listener, song_ids: Sequence[int]) -> None:
    with db.write() as session:
        session.add(Listen(listener_id=ana.id, song_id=song_ids[9], listened_at=None, plays=3))
        for i in range(5):
            listens.log(session, ana.id, song_id=song_ids[i], at=AT + i)
    with db.read() as session:
        first, total = listens.page(session, ana.id, 1, 4)
        second, _ = listens.page(session, ana.id, 2, 4)
        assert total == 6
        assert [r.listened_at for r in [*first, *second]] == [AT + 4, AT + 3, AT + 2, AT + 1, AT, None]
        assert listens.page(session, ana.id, 10**30)[0] == []
        assert len(listens.page(session, ana.id, -5)[0]) == 6


def test_songs_only_skipped_or_disliked_do_not_count_as_liked(
    db: Database, ana: Listener, song_ids: Sequence[int]
) -> None:
    with db.write() as session:
        for i in range(4):
            listens.log(session, ana.id, song_id=song_ids[i], at=AT, ended="skipped" if i == 0 else "played")
        listens.log(session, ana.id, song_id=song_ids[3], at=AT + 5)
        listens.say(session, ana.id, song_ids[1], "dislike")
        assert listens.songs_liked(session, ana.id) == 2


@pytest.mark.parametrize(
    ("value", "zone", "at"),
    [
        ("2023-11-14T22:13:20", "UTC", AT),
        ("2023-11-14T23:13:20", "Europe/Berlin", AT),
        ("2023-11-14T22:13:20+00:00", "Asia/Tokyo", AT),
        ("2023-11-14 22:13:20", "UTC", AT),
    ],
)
def test_a_time_is_read_in_the_listeners_zone(value: str, zone: str, at: int) -> None:
    assert listens.parse_when(value, zone) == at


@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        "9999-12-31T23:59",
        "0001-01-01T00:00",
        "2023-13-01",
        "NaN",
        "\ud800",
        "a\x00",
        "1" * 5000,
        "2999-01-01",
    ],
)
def test_a_time_that_is_none_is_refused(value: str) -> None:
    for zone in ("UTC", "America/New_York", "Pacific/Kiritimati"):
        with pytest.raises(BadInput):
            listens.parse_when(value, zone)


# -- feedback ---------------------------------------------------------------------------------------


def test_the_last_word_on_a_song_counts_and_can_be_taken_back(
    db: Database, ana: Listener, ben: Listener, song_ids: Sequence[int]
) -> None:
    song = song_ids[0]
    with db.write() as session:
        for verdict in ("love", "not_now", "know", "dislike"):
            listens.say(session, ana.id, song, verdict)
            assert listens.verdicts(session, ana.id) == {song: verdict}
        assert listens.verdicts(session, ben.id) == {}
        listens.say(session, ana.id, song, "clear")
        assert listens.verdicts(session, ana.id) == {}


def test_not_now_passes(db: Database, ana: Listener, song_ids: Sequence[int]) -> None:
    with db.write() as session:
        listens.say(session, ana.id, song_ids[0], "not_now")
        session.execute(update(Feedback).values(until=now() - 1))
        assert listens.verdicts(session, ana.id) == {}


@pytest.mark.parametrize("verdict", ["", "LOVE", "hate", "\ud800", "x" * 10_000])
def test_an_unknown_verdict_is_refused(db: Database, ana: Listener, song_ids: Sequence[int], verdict: str) -> None:
    with pytest.raises(BadInput), db.write() as session:
        listens.say(session, ana.id, song_ids[0], verdict)


def test_picks_are_replaced_as_a_whole_and_repeats_fold(db: Database, ana: Listener, ben: Listener) -> None:
    with db.write() as session:
        listens.set_preferences(session, ana.id, ["rock", "rock", "jazz"], ["Queen"])
        assert listens.preferences(session, ana.id) == (["jazz", "rock"], ["Queen"])
        listens.set_preferences(session, ana.id, [], ["Drake"])
        assert listens.preferences(session, ana.id) == ([], ["Drake"])
        assert listens.preferences(session, ben.id) == ([], [])


def test_a_listen_that_is_gone_leaves_its_number_to_no_other(
    db: Database, ana: Listener, song_ids: Sequence[int]
) -> None:
    with db.write() as session:
        first = listens.log(session, ana.id, artist="Nobody", title="Nothing", at=AT)[0]
    with db.write() as session:
        listens.remove(session, ana.id, first.id)
        session.flush()
        session.delete(session.get_one(Song, first.song_id))
    with db.write() as session:
        second = listens.log(session, ana.id, artist="Somebody", title="Something", at=AT)[0]
    assert second.id != first.id and second.song_id != first.song_id
    with db.read() as session, pytest.raises(NotFound):
        listens.own_listen(session, ana.id, first.id)
