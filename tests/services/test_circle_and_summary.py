"""What of others is seen on the first page, and one's own taste in a line."""

from __future__ import annotations

from sqlalchemy import select

from app.db import Database
from app.lm.song_text import song_text
from app.services import accounts, circle, elsewhere, history, listens, summary
from app.services.catalogue import new_song
from app.tables import Listener, Song, now


def test_only_friends_who_share_are_seen_and_none_fills_the_page(db: Database, ana: Listener) -> None:
    with db.write() as session:
        songs = list(session.scalars(select(Song.id).limit(4)))
        open_, closed = (accounts.add_listener(session, name, None) for name in ("Open", "Closed"))
        open_.sharing = "circle"
        for n, song in enumerate(songs):
            for who in (open_, closed, ana):
                listens.log(session, who.id, song_id=song, at=now() - 100 * n - 10)
        listens.log(session, open_.id, song_id=songs[0], at=now() - 5, ended="skipped")
        seen = circle.lately(session, ana.id)
        assert [(heard.friend, heard.song.id) for heard in seen] == [("Open", songs[0]), ("Open", songs[1])]
        assert [heard.friend for heard in circle.lately(session, open_.id)] == []
        open_.sharing = "off"
        session.flush()
        assert circle.lately(session, ana.id) == []


def test_what_was_long_ago_is_not_lately(db: Database, ana: Listener) -> None:
    with db.write() as session:
        ben = accounts.add_listener(session, "Ben", None)
        ben.sharing = "circle"
        listens.log(session, ben.id, song_id=session.scalar(select(Song.id)), at=now() - 31 * 86_400)
        assert circle.lately(session, ana.id) == []


def test_a_taste_in_a_line_names_what_is_played_most(db: Database, ana: Listener) -> None:
    with db.write() as session:
        made = [
            new_song("Loud", f"Noise {n}", year=1991 + n, genres=["grunge", "rock"], source="log") for n in range(3)
        ] + [new_song("Soft", "Hush", year=1964, genres=["folk"], source="log")]
        session.add_all(made)
        session.flush()
        assert summary.taste_line(session, ana.id) is None
        for n, song in enumerate(made):
            listens.log(session, ana.id, song_id=song.id, at=now() - n)
        line = summary.taste_line(session, ana.id)
        assert line is not None
        assert line.genres == ("grunge", "rock", "folk") and line.decade == 1990
        assert line.artists == (("loud", "Loud"), ("soft", "Soft"))


def test_a_listen_that_is_not_learnt_from_counts_as_known_and_nothing_else(db: Database, ana: Listener) -> None:
    with db.write() as session:
        learnt, party = session.scalars(select(Song.id).limit(2)).all()
        listens.log(session, ana.id, song_id=learnt)
        listen, _ = listens.log(session, ana.id, song_id=party, learn=False)
        past = history.read(session, ana.id, song_text)
        assert [entry.id for entry in past.entries] == [learnt] and past.known == {learnt, party}
        assert listens.songs_liked(session, ana.id) == 1
        listens.set_learn(session, ana.id, listen.id, True)
        session.flush()
        assert {entry.id for entry in history.read(session, ana.id, song_text).entries} == {learnt, party}
        assert listens.songs_liked(session, ana.id) == 2


def test_feedback_tells_what_undoes_it(db: Database, ana: Listener) -> None:
    with db.write() as session:
        song = session.scalars(select(Song.id)).first()
        assert song is not None
        assert listens.say(session, ana.id, song, "love") == "clear"
        assert listens.say(session, ana.id, song, "dislike") == "love"
        assert listens.say(session, ana.id, song, "love") == "dislike"
        assert listens.say(session, ana.id, song, "clear") == "love"
        assert listens.verdicts(session, ana.id) == {}


def test_search_links_carry_any_words_safely() -> None:
    song = new_song('AC/DC & "Co"', "T.N.T. #1?💿", source="log")
    found = dict(elsewhere.links(song))
    assert len(found) == 8 and all(address.startswith("https://") for address in found.values())
    assert found["Spotify"] == "https://open.spotify.com/search/AC%2FDC%20%26%20%22Co%22%20T.N.T.%20%231%3F%F0%9F%92%BF"
    assert found["YouTube"].endswith("search_query=AC%2FDC+%26+%22Co%22+T.N.T.+%231%3F%F0%9F%92%BF")
