"""Recommend and what goes with it: the question, undo, kept lists, playlists and their files, hidden artists."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from app.db import Database
from app.services import kept
from app.tables import HiddenArtist, KeptList, KeptSong, Listen, Listener, Song
from app.web.rendering import with_query
from tests.web.test_pages import version

JSON = {"accept": "application/json"}


@pytest.fixture
def player(me: TestClient, songs: list[int]) -> TestClient:
    """Ana's browser, after a few songs."""
    for song in songs[:6]:
        me.post("/listens", data={"song_id": str(song)})
    return me


def shown(text: str) -> list[int]:
    """Song ids of a page's list."""
    return [int(found) for found in re.findall(r'data-song="(\d+)"', text)]


def the_list(db: Database) -> str:
    """The id of the only kept list."""
    with db.read() as session:
        (found,) = session.scalars(select(KeptList.id)).all()
        return found


def test_the_slider_wish_and_kind_stand_in_the_form_and_change_the_list(player: TestClient) -> None:
    plain = shown(player.get("/recommend").text)
    text = player.get("/recommend?mode=discover&adventure=2&wish=quiet+piano").text
    assert 'value="2"' in text and 'value="quiet piano"' in text and shown(text) != plain
    assert shown(player.get("/recommend?adventure=2").text) != plain


@pytest.mark.parametrize(
    "query", ["adventure=3", "adventure=x", "mode=x", "wish=" + "x" * 201, "logged=x", "said=999999"]
)
def test_a_question_that_is_none_is_refused(player: TestClient, query: str) -> None:
    assert player.get(f"/recommend?{query}").status_code in (404, 422)


def test_a_page_that_told_of_a_listen_shows_itself_when_it_is_deleted(player: TestClient, songs: list[int]) -> None:
    for back in ("/", "/recommend"):
        there = player.post("/listens", data={"song_id": str(songs[9]), "back": back}).headers["location"]
        told = player.get(there)
        assert "Logged:" in told.text
        player.post(re.findall(r'action="(/listens/\d+/delete)"', told.text)[0])
        again = player.get(there)  # by the browser's Back
        assert again.status_code == 200 and "Logged:" not in again.text and "<h1" in again.text


def test_a_verdict_that_is_sent_twice_is_taken_back_by_one_undo(player: TestClient, songs: list[int]) -> None:
    said = [player.post(f"/songs/{songs[9]}/feedback", data={"verdict": "love"}, headers=JSON).json() for _ in "12"]
    assert [one["was"] for one in said] == ["clear", "clear"]


def test_a_list_names_whose_adapter_made_it(me: TestClient, db: Database, admin: Listener, songs: list[int]) -> None:
    own = version(admin)
    words = {None: "by the shared base", own.id: "by your own adapter", "c" * 16: "by an adapter that is not your own"}
    with db.write() as session:
        session.add(own)
    for made_by, said in words.items():
        with db.write() as session:
            shown = kept.keep(
                session, admin.id, mode="discover", wish="", adventure=0, version=made_by, songs=songs[:3]
            )
        text = me.get(f"/lists/{shown.id}").text
        assert [one for one in words.values() if one in text] == [said]


def test_feedback_without_scripts_shows_what_was_done_and_undoes_it(player: TestClient, db: Database) -> None:
    first = shown(player.get("/recommend").text)[0]
    sent = player.post(f"/songs/{first}/feedback", data={"verdict": "dislike", "back": "/recommend?adventure=1"})
    assert sent.headers["location"] == f"/recommend?adventure=1&said={first}&was=clear"
    text = player.get(sent.headers["location"]).text
    assert "Disliked" in text and first not in shown(text)
    undo = re.search(r'action="(/songs/\d+/feedback)"><input type="hidden" name="verdict" value="(\w+)"', text)
    assert undo is not None
    player.post(undo[1], data={"verdict": undo[2]})
    assert first in shown(player.get("/recommend").text)


def test_a_verdict_that_replaced_another_is_undone_to_that_one(player: TestClient) -> None:
    first = shown(player.get("/recommend").text)[0]
    player.post(f"/songs/{first}/feedback", data={"verdict": "love"}, headers=JSON)
    answer = player.post(f"/songs/{first}/feedback", data={"verdict": "know"}, headers=JSON)
    assert answer.json() == {"song": first, "verdict": "know", "was": "love"}


def test_a_hidden_artist_is_in_no_list_until_shown_again(player: TestClient, db: Database) -> None:
    before = shown(player.get("/recommend").text)
    with db.read() as session:
        artist = session.get_one(Song, before[0]).artist_key
        theirs = set(session.scalars(select(Song.id).where(Song.artist_key == artist)))
    sent = player.post("/artists/hide", data={"artist": artist, "back": "/recommend"})
    text = player.get(sent.headers["location"]).text
    assert "is hidden from your lists" in text and not theirs & set(shown(text))
    assert not theirs & set(shown(player.get("/recommend?mode=familiar").text))
    assert "Show again" in player.get("/settings").text
    assert player.post("/artists/show", data={"artist": artist}, headers=JSON).json()["hidden"] is False
    assert shown(player.get("/recommend").text) == before
    assert player.post("/artists/hide", data={"artist": "nobody at all"}).status_code == 404
    with db.read() as session:
        assert session.scalars(select(HiddenArtist)).all() == []


def test_each_reason_is_an_own_song_with_its_part(player: TestClient, db: Database) -> None:
    text = player.get("/recommend").text
    why = re.findall(r'<details class="why">.*?</details>', text, re.DOTALL)
    assert len(why) == len(shown(text))
    with db.read() as session:
        own = set(session.scalars(select(Listen.song_id)))
    for one in why:
        assert {int(song) for song in re.findall(r'href="/songs/(\d+)"', one)} <= own
        parts = [float(part) for part in re.findall(r'<meter min="0" max="1" value="([\d.]+)"', one)]
        assert sum(parts) == pytest.approx(1, abs=0.01)


def test_a_list_is_kept_with_what_came_of_it_and_can_be_forgotten(
    player: TestClient, friend: TestClient, db: Database
) -> None:
    first, second, *_ = shown(player.get("/recommend").text)
    player.post("/listens", data={"song_id": str(first), "back": "/recommend"})
    player.post(f"/songs/{second}/feedback", data={"verdict": "dislike"})
    more = shown(player.get("/recommend").text)
    assert not {first, second} & set(more)
    path = f"/lists/{the_list(db)}"
    text = player.get(path).text
    with db.read() as session:
        kept = session.scalars(select(KeptSong.song_id).order_by(KeptSong.place)).all()
    assert kept[:2] == [first, second] and set(more) <= set(kept)
    assert re.search(r"played since</dt><dd>1<", text) and re.search(r"disliked</dt><dd>1<", text)
    assert "1 played" in player.get("/lists").text
    assert friend.get(path).status_code == 404 and friend.post(f"{path}/delete").status_code == 404
    assert "/lists/" not in friend.get("/lists").text.split("<main")[1]
    assert player.post(f"{path}/delete").status_code == 303 and player.get(path).status_code == 404


def test_a_list_and_a_playlist_come_as_files_without_what_was_disliked(
    player: TestClient, friend: TestClient, db: Database
) -> None:
    first, second, *_ = shown(player.get("/recommend?wish=caf%C3%A9").text)
    player.post(f"/songs/{second}/feedback", data={"verdict": "dislike"})
    path = f"/lists/{the_list(db)}"
    made = player.post("/playlists", data={"list_id": path[7:], "name": "Añejo 💿"}).headers["location"]
    with db.read() as session:
        titles = [session.get_one(Song, song).title for song in (first, second)]
    assert friend.post("/playlists", data={"list_id": path[7:], "name": "Mine now"}).status_code == 404
    for place, name in ((path, "caf%C3%A9"), (made, "A%C3%B1ejo%20%F0%9F%92%BF")):
        answer = player.get(f"{place}/jspf")
        assert answer.headers["content-disposition"].endswith(f"filename*=UTF-8''{name}.jspf")
        tracks = [track["title"] for track in json.loads(answer.content)["playlist"]["track"]]
        assert tracks[0] == titles[0] and titles[1] not in tracks
        assert player.get(f"{place}/xspf").headers["content-type"].startswith("application/xspf+xml")
        assert player.get(f"{place}/m3u").text.startswith("#EXTM3U\n")
        assert player.get(f"{place}/exe").status_code == 404
        assert friend.get(f"{place}/m3u").status_code == 404


def test_a_playlist_is_filled_ordered_renamed_and_deleted(
    player: TestClient, friend: TestClient, songs: list[int]
) -> None:
    made = player.post("/playlists", data={"name": "Mine", "song": str(songs[0])}).headers["location"]
    added = {"playlist": made.rpartition("/")[2], "song": str(songs[1])}
    assert player.post("/playlists/add", data=added).headers["location"] == made
    assert friend.post("/playlists/add", data=added).status_code == 404
    assert player.post(f"{made}/move", data={"song": str(songs[1]), "to": "1"}).status_code == 303
    assert re.findall(r'id="song-(\d+)"', player.get(made).text) == [str(songs[1]), str(songs[0])]
    assert player.post(f"{made}/take-out", data={"song": str(songs[0])}).status_code == 303
    assert player.post(f"{made}/rename", data={"name": "<b>New</b>"}).status_code == 303
    assert "&lt;b&gt;New&lt;/b&gt;" in player.get(made).text and "<b>New" not in player.get("/playlists").text
    for what in ("move", "take-out", "rename", "delete"):
        assert friend.post(f"{made}/{what}", data={"name": "x", "song": str(songs[1])}).status_code == 404
    assert player.post(f"{made}/delete").status_code == 303
    assert player.get(made).status_code == 404


@pytest.mark.parametrize("song", ["0", "-1", str(2**63), str(2**70), "x", "999999"])
def test_a_song_that_is_none_goes_into_no_playlist(player: TestClient, song: str) -> None:
    made = player.post("/playlists", data={"name": "Mine"}).headers["location"]
    sent = player.post("/playlists/add", data={"playlist": made.rpartition("/")[2], "song": song})
    assert sent.status_code in (404, 422)
    assert re.findall(r'id="song-(\d+)"', player.get(made).text) == []


def test_while_the_base_loads_the_last_list_for_the_question_stands_in(
    app: FastAPI, player: TestClient, db: Database
) -> None:
    first = shown(player.get("/recommend?adventure=1").text)[0]

    class Loading:
        """An engine that is not there yet."""

        ready = False

        def get(self) -> Any:
            raise AssertionError("the page must not wait")

    app.state.earshot = dataclasses.replace(app.state.earshot, engine=Loading())
    text = player.get("/recommend?adventure=1").text
    assert "loading its language model" in text and f"/songs/{first}" in text
    other = player.get("/recommend").text
    assert "loading its language model" in other and "/songs/" not in other.split("<main")[1]


def test_home_tells_what_to_do_next_and_shows_who_shares(
    me: TestClient, friend: TestClient, db: Database, ben: Listener, songs: list[int]
) -> None:
    assert "Pick artists and genres" in me.get("/").text
    friend.post("/listens", data={"song_id": str(songs[0])})
    assert "Nobody who shares" in me.get("/").text
    friend.post("/friends/sharing", data={"sharing": "circle"})
    circle = me.get("/").text.split('id="circle"')[1]
    assert f'href="/songs/{songs[0]}"' in circle and "Ben" in circle
    for song in songs[:3]:
        me.post("/listens", data={"song_id": str(song)})
    text = me.get("/").text
    assert "You play" in text and "3 of 12 different songs logged" in text


def test_a_logged_song_comes_with_its_undo(me: TestClient, db: Database, songs: list[int]) -> None:
    sent = me.post("/listens", data={"song_id": str(songs[0])})
    text = me.get(sent.headers["location"]).text
    undo = re.search(r'action="(/listens/\d+/delete)"', text)
    assert "Logged:" in text and undo is not None
    assert me.post(undo[1], headers=JSON).json()["removed"]
    with db.read() as session:
        assert session.scalars(select(Listen)).all() == []


def test_a_listen_is_set_not_to_be_learnt_from_when_logged_edited_or_listed(
    me: TestClient, db: Database, songs: list[int]
) -> None:
    def learn() -> bool:
        with db.read() as session:
            return session.scalars(select(Listen.learn)).one()

    number = me.post("/listens", data={"song_id": str(songs[0]), "learn": "no"}, headers=JSON).json()["listen"]
    assert learn() is False and "not learnt from" in me.get("/listens").text
    me.post(f"/listens/{number}/learn", data={"learn": "yes"})
    assert learn() is True
    me.post(f"/listens/{number}/edit", data={"when": "", "learn": "no"})
    assert learn() is False and "checked" in me.get(f"/listens/{number}/edit").text


def test_what_goes_into_a_query_replaces_what_was_there() -> None:
    assert with_query("/recommend?wish=a%26b&said=1#x", said=2) == "/recommend?wish=a%26b&said=2#x"
    assert with_query("/", logged=3) == "/?logged=3"
