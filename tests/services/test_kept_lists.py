"""Lists are kept, with what came of them; playlists and their files; artists that are hidden."""

from __future__ import annotations

import json
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.db import Database
from app.errors import BadInput, NotFound
from app.services import accounts, hiding, kept, listens, playlist_files, playlists, submitting
from app.services.catalogue import new_song
from app.tables import Feedback, KeptList, KeptSong, Listen, Listener, Song, now

XSPF = "{http://xspf.org/ns/0/}"


def songs(db: Session, count: int) -> list[int]:
    """Some song ids."""
    return list(db.scalars(select(Song.id).order_by(Song.id).limit(count)))


def keep(db: Session, listener: str, shown: list[int], wish: str = "", version: str | None = None) -> KeptList:
    """Keep a list for a question."""
    return kept.keep(db, listener, mode="discover", wish=wish, adventure=0, version=version, songs=shown)


def test_the_same_question_asked_again_adds_what_is_new_and_loses_nothing(db: Database, ana: Listener) -> None:
    with db.write() as session:
        first, second, third = songs(session, 3)
        one = keep(session, ana.id, [first, second])
        again = keep(session, ana.id, [second, third])
        assert again.id == one.id
        assert [came.song.id for came in kept.opened(session, one)] == [first, second, third]


def test_another_wish_another_version_or_another_day_is_another_list(db: Database, ana: Listener) -> None:
    with db.write() as session:
        shown = songs(session, 2)
        one = keep(session, ana.id, shown)
        ids = {one.id, keep(session, ana.id, shown, "rain").id, keep(session, ana.id, shown, version="a" * 16).id}
        session.execute(update(KeptList).where(KeptList.id == one.id).values(created_at=now() - 90_000))
        ids.add(keep(session, ana.id, shown).id)
        assert len(ids) == 4


def test_a_kept_list_tells_what_came_of_it_since_and_not_before(db: Database, ana: Listener) -> None:
    with db.write() as session:
        ben = accounts.add_listener(session, "Ben", None)
        before, played, loved, disliked, untouched = songs(session, 5)
        listens.log(session, ana.id, song_id=before, at=now() - 1000)
        listens.say(session, ana.id, before, "love")
        session.execute(update(Feedback).values(created_at=now() - 1000))
        made = keep(session, ana.id, [before, played, loved, disliked, untouched])
        session.execute(update(KeptList).values(created_at=now() - 500))
        listens.log(session, ana.id, song_id=played, at=now() - 100)
        listens.log(session, ana.id, song_id=played, at=now() - 50)
        listens.log(session, ana.id, song_id=untouched, ended="skipped")
        listens.log(session, ben.id, song_id=untouched)
        listens.say(session, ana.id, loved, "love")
        listens.say(session, ana.id, disliked, "dislike")
        session.refresh(made)
        came = {c.song.id: (c.plays, c.verdict) for c in kept.opened(session, made)}
        assert came == {
            before: (0, ""), played: (2, ""), loved: (0, "love"), disliked: (0, "dislike"), untouched: (0, ""),
        }  # fmt: skip
        (line,) = kept.overview(session, ana.id)
        assert (line.songs, line.played, line.loved, line.disliked) == (5, 1, 1, 1)
        assert kept.overview(session, ben.id) == []


def test_a_forgotten_list_leaves_plays_and_verdicts(db: Database, ana: Listener) -> None:
    with db.write() as session:
        shown = songs(session, 2)
        made = keep(session, ana.id, shown)
        listens.log(session, ana.id, song_id=shown[0])
        kept.remove(session, ana.id, made.id)
        session.flush()
        assert kept.overview(session, ana.id) == [] and session.scalars(select(KeptSong)).all() == []
        assert len(session.scalars(select(Listen)).all()) == 1


@pytest.mark.parametrize("wrong", ["", "x", "0" * 16, "\x00", "../" * 20])
def test_other_peoples_lists_and_playlists_are_not_there(db: Database, ana: Listener, wrong: str) -> None:
    with db.write() as session:
        ben = accounts.add_listener(session, "Ben", None)
        made, named = keep(session, ana.id, songs(session, 2)), playlists.make(session, ana.id, "Mine")
        for list_id in (made.id, wrong):
            with pytest.raises(NotFound):
                kept.own(session, ben.id, list_id)
        for playlist_id in (named.id, wrong):
            with pytest.raises(NotFound):
                playlists.own(session, ben.id, playlist_id)


# -- playlists --------------------------------------------------------------------------------------


def order(db: Session, playlist: playlists.Playlist) -> list[int]:
    """Song ids as they stand."""
    return [song.id for song in playlists.songs_of(db, playlist)]


def test_a_playlist_keeps_its_order_and_each_song_once(db: Database, ana: Listener) -> None:
    with db.write() as session:
        a, b, c, d = songs(session, 4)
        made = playlists.make(session, ana.id, " Sunday ", [c, a, c])
        assert made.name == "Sunday" and order(session, made) == [c, a]
        assert playlists.add(session, made, [a, b, d]) == 2
        assert order(session, made) == [c, a, b, d]
        playlists.move(session, made, d, 1)
        playlists.move(session, made, c, 99)
        assert order(session, made) == [d, a, b, c]
        playlists.take_out(session, made, a)
        assert order(session, made) == [d, b, c]
        assert [(p.name, n) for p, n in playlists.of(session, ana.id)] == [("Sunday", 3)]
        playlists.remove(session, made)
        session.flush()
        assert playlists.of(session, ana.id) == []


def test_a_playlist_refuses_what_it_cannot_take(db: Database, ana: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playlists, "MOST_SONGS", 3)
    with db.write() as session:
        known = songs(session, 4)
        made = playlists.make(session, ana.id, "Few", known[:2])
        with pytest.raises(BadInput, match="at most 3"):
            playlists.add(session, made, known)
        with pytest.raises(NotFound, match="no song 999999"):
            playlists.add(session, made, [999_999])
        with pytest.raises(NotFound):
            playlists.take_out(session, made, known[3])
        for name in ("", "  ", "x" * 101, "a\x00b"):
            with pytest.raises(BadInput):
                playlists.make(session, ana.id, name)
        assert order(session, made) == known[:2]


HOSTILE = ["<b>&amp;\"'", "\u202eright", "💿" * 5, "w" * 500, "a\ufffeb", "-->]]>", "#EXTM3U", "../../etc/passwd"]


@pytest.fixture
def hostile() -> list[Song]:
    """Songs whose names try to break out of a file."""
    return [new_song(name, name, source="log") for name in HOSTILE]


@pytest.fixture
def session(bare_db: Database) -> Iterator[Session]:
    """What is asked for MusicBrainz ids; it knows none of the songs."""
    with bare_db.read() as reading:
        yield reading


def test_an_xspf_is_xml_with_every_title_as_it_is(session: Session, hostile: list[Song]) -> None:
    file = playlist_files.write(session, "xspf", "My <list>", 1_700_000_000, hostile)
    root = ElementTree.fromstring(file.content)
    assert root.tag == f"{XSPF}playlist" and root.get("version") == "1"
    assert root.findtext(f"{XSPF}title") == "My <list>" and root.findtext(f"{XSPF}date") == "2023-11-14T22:13:20+00:00"
    tracks = root.findall(f"{XSPF}trackList/{XSPF}track")
    assert [t.findtext(f"{XSPF}title") for t in tracks] == [name.replace("\ufffe", "\ufffd") for name in HOSTILE]
    assert tracks[0].findtext(f"{XSPF}creator") == HOSTILE[0]


def test_a_jspf_says_the_same_in_json(session: Session, hostile: list[Song]) -> None:
    playlist = json.loads(playlist_files.write(session, "jspf", "Mine", 1_700_000_000, hostile).content)["playlist"]
    assert playlist["title"] == "Mine"
    assert [(t["creator"], t["title"]) for t in playlist["track"]] == [(name, name) for name in HOSTILE]


def test_an_m3u_has_two_lines_a_song_and_no_place_outside(session: Session, hostile: list[Song]) -> None:
    lines = playlist_files.write(session, "m3u", "Mine", 1_700_000_000, hostile).content.decode().splitlines()
    assert lines[:2] == ["#EXTM3U", "#PLAYLIST:Mine"] and len(lines) == 2 + 2 * len(HOSTILE)
    names, places = lines[2::2], lines[3::2]
    assert names == [f"#EXTINF:-1,{name} - {name}" for name in HOSTILE]
    assert not any(place.startswith(("#", ".", "/")) or "/" in place or "\\" in place for place in places)


def test_a_song_is_named_by_its_recording_where_that_is_known(bare_db: Database) -> None:
    mbid = "8f3471b5-7e6a-48da-86a9-c1c07a0f47ae"
    with bare_db.write() as db:
        songs = list(db.scalars(select(Song).order_by(Song.id).limit(2)))
        submitting.note_recording(db, mbid, songs[1].id)
        tracks = json.loads(playlist_files.write(db, "jspf", "Mine", 0, songs).content)["playlist"]["track"]
        xspf = ElementTree.fromstring(playlist_files.write(db, "xspf", "Mine", 0, songs).content)
    assert "identifier" not in tracks[0] and tracks[1]["identifier"] == [f"https://musicbrainz.org/recording/{mbid}"]
    found = [track.findtext(f"{XSPF}identifier") for track in xspf.iter(f"{XSPF}track")]
    assert found == [None, f"https://musicbrainz.org/recording/{mbid}"]


def test_a_file_has_a_safe_name_and_another_kind_is_refused(session: Session) -> None:
    assert playlist_files.write(session, "m3u", "../a:b\n", 0, []).name == "a b.m3u"
    assert playlist_files.write(session, "jspf", "..", 0, []).name == "list.jspf"
    with pytest.raises(NotFound, match="exe"):
        playlist_files.write(session, "exe", "x", 0, [])


# -- hidden artists ---------------------------------------------------------------------------------


def test_an_artist_is_hidden_by_name_for_one_listener_and_shown_again(db: Database, ana: Listener) -> None:
    with db.write() as session:
        song = session.get_one(Song, songs(session, 1)[0])
        hiding.hide(session, ana.id, song.artist)
        hiding.hide(session, ana.id, song.artist_key)
        session.flush()
        assert [one.artist_key for one in hiding.hidden(session, ana.id)] == [song.artist_key]
        ours = session.scalars(select(Song.id).where(Song.artist_key == song.artist_key)).all()
        assert hiding.hidden_songs(session, ana.id) == set(ours)
        ben = accounts.add_listener(session, "Ben", None)
        assert hiding.hidden_songs(session, ben.id) == set()
        hiding.show_again(session, ana.id, song.artist)
        assert hiding.hidden_songs(session, ana.id) == set()
        with pytest.raises(NotFound):
            hiding.show_again(session, ana.id, song.artist)
        with pytest.raises(NotFound):
            hiding.hide(session, ana.id, "Nobody Of That Name")
