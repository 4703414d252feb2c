"""Lists for several people: by consent only, taken back at any time; and two tastes compared."""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.db import Database
from app.lm.engine import Engine
from app.opening import KINDS
from app.services import accounts, blends, listens
from app.tables import Listener
from tests.web.conftest import browser

HOSTILE = "<b>x</b>\u202e💿"


@pytest.fixture
def played(db: Database, admin: Listener, ben: Listener, songs: list[int]) -> None:
    """Ana plays the first songs, Ben the last ones, and both play one."""
    with db.write() as session:
        for who, mine in ((admin, songs[:15]), (ben, songs[-15:])):
            for song in [*mine, songs[100]]:
                listens.log(session, who.id, song_id=song, at=1_700_000_000)


def asked(me: TestClient, *friends: Listener, name: str = "") -> str:
    """The address of a new blend."""
    answer = me.post("/blends", data={"friend": [f.id for f in friends], "name": name})
    assert answer.status_code == 303
    return answer.headers["location"]


def names(text: str) -> list[int]:
    """Ids of the songs that a page lists."""
    return [int(i) for i in re.findall(r'<strong dir="auto"><a href="/songs/(\d+)"', text)]


def test_a_blend_needs_everyones_word_and_ends_when_one_takes_it_back(
    me: TestClient, friend: TestClient, admin: Listener, ben: Listener, played: None, songs: list[int]
) -> None:
    path = asked(me, ben, name=HOSTILE)
    assert "once everybody has agreed" in me.get(path).text and HOSTILE not in me.get(path).text
    assert names(me.get(path).text) == []
    assert "waits for you" in friend.get("/blends").text
    assert friend.post(f"{path}/agree").status_code == 303
    made = names(me.get(path).text)
    assert len(made) == 20 and not set(made) & {*songs[:15], *songs[-15:], songs[100]}
    assert names(friend.get(path).text) == made
    assert friend.post(f"{path}/leave").status_code == 303
    assert me.get(path).status_code == 404, "one person alone is no blend"


def test_songs_of_who_does_not_share_are_not_named(
    me: TestClient, friend: TestClient, admin: Listener, ben: Listener, played: None
) -> None:
    path = asked(me, ben)
    friend.post(f"{path}/agree")
    hidden = me.get(path).text
    assert hidden.count("because of") == 20, "only her own"
    friend.post("/friends/sharing", data={"sharing": "friends", "friend": admin.id})
    assert me.get(path).text.count("because of") == 40
    assert "for all of you" in hidden or "most for" in hidden


def test_weights_move_the_list(
    me: TestClient, friend: TestClient, admin: Listener, ben: Listener, played: None
) -> None:
    path = asked(me, ben)
    friend.post(f"{path}/agree")
    even = names(me.get(path).text)
    for mine, theirs in ((9, 1), (1, 9)):
        data = {"person": [admin.id, ben.id], "weight": [str(mine), str(theirs)]}
        assert me.post(f"{path}/weights", data=data).status_code == 303
        assert names(me.get(path).text) != even
    for odd in (["0", "1"], ["10", "1"], ["x", "1"], ["1"], ["", "1"], ["٣", "1"]):
        data = {"person": [admin.id, ben.id], "weight": odd}
        assert me.post(f"{path}/weights", data=data).status_code == 422, odd
    assert me.post(f"{path}/weights", data={"person": ["f" * 16], "weight": ["2"]}).status_code == 404


def test_who_is_not_in_a_blend_learns_nothing_of_it(
    app: FastAPI, me: TestClient, db: Database, admin: Listener, ben: Listener
) -> None:
    path = asked(me, ben)
    with db.write() as session:
        cleo = accounts.add_listener(session, "Cleo", None)
    other = browser(app, db, cleo)
    assert other.get(path).status_code == 404
    for act in ("agree", "leave", "weights"):
        assert other.post(f"{path}/{act}", data={"person": [admin.id], "weight": ["2"]}).status_code == 404
    assert path not in other.get("/blends").text


def test_a_third_may_leave_and_the_others_keep_their_blend(
    app: FastAPI, me: TestClient, friend: TestClient, db: Database, ben: Listener, played: None
) -> None:
    with db.write() as session:
        cleo = accounts.add_listener(session, "Cleo", None)
    path = asked(me, ben, cleo)
    friend.post(f"{path}/agree")
    assert names(me.get(path).text) == []
    browser(app, db, cleo).post(f"{path}/leave")
    assert len(names(me.get(path).text)) == 20
    with db.write() as session:
        session.delete(session.get_one(Listener, ben.id))  # an account that is deleted takes its consent along
    assert names(me.get(path).text) == []


@pytest.mark.parametrize("friends", [[], ["f" * 16], ["\x00"], ["é"], ["x"] * 20])
def test_a_blend_with_nobody_is_refused(me: TestClient, friends: list[str]) -> None:
    assert me.post("/blends", data={"friend": friends}).status_code == 422


def test_two_tastes_are_compared_by_songs_if_the_other_shares(
    me: TestClient, friend: TestClient, admin: Listener, ben: Listener, played: None, songs: list[int]
) -> None:
    assert me.get(f"/friends/{ben.id}").status_code == 404
    friend.post("/friends/sharing", data={"sharing": "friends", "friend": admin.id})
    text = me.get(f"/friends/{ben.id}").text
    assert re.search(r"better than <strong>\d+ of 100</strong>", text)
    both, for_me, for_them = (
        text.split(f'id="{part}"')[1].split("</section>")[0] for part in ("both", "for-me", "for-them")
    )
    assert names(both) == [songs[100]]
    assert names(for_me) and set(names(for_me)) <= set(songs[-15:])
    assert names(for_them) and set(names(for_them)) <= set(songs[:15])
    assert friend.get(f"/friends/{admin.id}").status_code == 404, "seeing is not mutual"


def test_who_has_played_nothing_is_compared_with_nobody(me: TestClient, friend: TestClient, ben: Listener) -> None:
    friend.post("/friends/sharing", data={"sharing": "circle"})
    assert "need some songs logged" in me.get(f"/friends/{ben.id}").text


def test_what_a_friend_only_said_something_of_is_never_shown(
    me: TestClient,
    friend: TestClient,
    db: Database,
    engine: Engine,
    admin: Listener,
    ben: Listener,
    played: None,
    songs: list[int],
) -> None:
    """Sharing speaks of plays; love without a play is for oneself alone, though it counts most for one's taste."""
    loved = songs[120:140]
    with db.write() as session:
        for song in loved:
            listens.say(session, ben.id, song, "love")
        listens.say(session, ben.id, songs[0], "love")  # which she plays
        for song in songs[-15:]:
            listens.say(session, ben.id, song, "know")
    friend.post("/friends/sharing", data={"sharing": "friends", "friend": admin.id})
    shown = {int(song) for song in re.findall(r"/songs/(\d+)", me.get(f"/friends/{ben.id}").text)}
    assert shown & set(songs[-15:]) and not shown & set(loved)
    compared = me.get(f"/friends/{ben.id}").text
    assert names(compared.split('id="both"')[1].split("</section>")[0]) == [songs[100]]
    path = asked(me, ben)
    friend.post(f"{path}/agree")
    with db.read() as session:
        made = blends.songs(session, engine, KINDS, admin.id, path.rsplit("/", 1)[1])
    because = {part.because.id for one in made for part in one.parts if part.person.id == ben.id and part.because}
    assert because <= {*songs[-15:], songs[100]}, "as a reason neither"
