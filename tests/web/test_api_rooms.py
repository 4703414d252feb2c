"""The JSON API does what the pages do: lists, playlists, taste, circle, blends, account, coming in, administration."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from app.db import Database
from app.lm.engine import Engine
from app.services import accounts, chores, listens, passwords
from app.tables import Chore, Job, Listen, Listener, Song
from app.web.api.document import document
from tests.web.conftest import browser
from tests.web.test_api import V1, message, with_token
from tests.web.test_blends import played as played  # a fixture: Ana's and Ben's songs
from tests.web.test_many_at_once import give_adapter


@pytest.fixture
def player(me: TestClient, songs: list[int]) -> TestClient:
    """Ana's browser, after fifteen songs."""
    for song in songs[:15]:
        assert me.post(f"{V1}/listens", json={"song_id": song}).status_code == 201
    return me


# -- lists and playlists ----------------------------------------------------------------------------


def test_a_list_is_kept_seen_with_what_came_of_it_handed_out_and_forgotten(player: TestClient) -> None:
    made = player.post(f"{V1}/lists", json={"wish": "slow  and warm", "adventure": 1, "count": 5}).json()
    again = player.post(f"{V1}/lists", json={"wish": "slow and warm", "adventure": 1, "count": 5}).json()
    assert again["list_id"] == made["list_id"] and len(made["songs"]) == 5
    asked = player.get(f"{V1}/recommendations", params={"wish": "slow and warm", "adventure": 1, "count": 5}).json()
    assert asked["songs"] == made["songs"] and asked["list_id"] is None
    first, second = (one["song"]["id"] for one in made["songs"][:2])
    player.put(f"{V1}/songs/{first}/feedback", json={"verdict": "love"})
    player.put(f"{V1}/songs/{second}/feedback", json={"verdict": "dislike"})
    (line,) = player.get(f"{V1}/lists").json()["lists"]
    assert (line["wish"], line["songs"], line["loved"], line["disliked"]) == ("slow and warm", 5, 1, 1)
    where = f"{V1}/lists/{made['list_id']}"
    opened = player.get(where).json()["songs"]
    assert [(one["song"]["id"], one["verdict"]) for one in opened[:3]] == [
        (first, "love"), (second, "dislike"), (made["songs"][2]["song"]["id"], None),
    ]  # fmt: skip
    file = player.get(f"{where}/jspf")
    assert file.headers["content-type"] == "application/jspf+json"
    assert len(file.json()["playlist"]["track"]) == 4, "without what was disliked"
    message(player.get(f"{where}/pdf"), 422, "BadInput")
    assert player.delete(where).status_code == 204 and player.get(where).status_code == 404


def test_a_verdict_is_undone_to_the_one_before(player: TestClient, songs: list[int]) -> None:
    where = f"{V1}/songs/{songs[30]}/feedback"
    assert player.put(where, json={"verdict": "love"}).json()["was"] is None
    changed = player.put(where, json={"verdict": "dislike"}).json()
    assert (changed["verdict"], changed["was"]) == ("dislike", "love")
    assert player.put(where, json={"verdict": changed["was"]}).json()["was"] == "dislike"
    assert player.get(f"{V1}/feedback").json()["feedback"] == [{"song_id": songs[30], "verdict": "love"}]


def test_a_hidden_artist_is_in_no_list_until_shown_again(player: TestClient) -> None:
    artist = player.get(f"{V1}/recommendations").json()["songs"][0]["song"]["artist"]
    hidden = player.post(f"{V1}/hidden-artists", json={"artist": artist}).json()
    assert player.get(f"{V1}/hidden-artists").json() == {"artists": [hidden]}
    assert player.get(f"{V1}/artists/{hidden['key']}").json()["hidden"]
    made = player.get(f"{V1}/recommendations", params={"count": 100}).json()["songs"]
    assert artist not in {one["song"]["artist"] for one in made}
    assert player.delete(f"{V1}/hidden-artists/{hidden['key']}").status_code == 204
    assert not player.get(f"{V1}/artists/{hidden['key']}").json()["hidden"]
    message(player.delete(f"{V1}/hidden-artists/{hidden['key']}"), 404, "NotFound")


def test_a_playlist_is_made_of_a_list_filled_ordered_renamed_handed_out_and_deleted(
    player: TestClient, songs: list[int]
) -> None:
    kept = player.post(f"{V1}/lists", json={"count": 3}).json()
    ids = [one["song"]["id"] for one in kept["songs"]]
    made = player.post(f"{V1}/playlists", json={"name": "Mine", "list_id": kept["list_id"], "songs": [songs[0]]})
    assert made.status_code == 201 and [song["id"] for song in made.json()["songs"]] == [*ids, songs[0]]
    where = f"{V1}/playlists/{made.json()['id']}"
    assert [s["id"] for s in player.post(f"{where}/songs", json={"song_id": songs[1]}).json()["songs"]][-1] == songs[1]
    moved = player.put(f"{where}/songs/{songs[1]}", json={"place": 1}).json()["songs"]
    assert [song["id"] for song in moved] == [songs[1], *ids, songs[0]]
    assert player.delete(f"{where}/songs/{ids[0]}").status_code == 204
    assert player.patch(where, json={"name": "Ours"}).json()["name"] == "Ours"
    (line,) = player.get(f"{V1}/playlists").json()["playlists"]
    assert (line["name"], line["songs"]) == ("Ours", 4)
    assert player.get(f"{where}/m3u").text.startswith("#EXTM3U\n#PLAYLIST:Ours\n")
    message(player.post(f"{where}/songs", json={"song_id": 0}), 404, "NotFound")
    message(player.patch(where, json={"name": " "}), 422, "BadInput")
    assert player.delete(where).status_code == 204 and player.get(where).status_code == 404


def test_a_token_that_submits_makes_lists_and_playlists_and_no_more(
    app: FastAPI, player: TestClient, db: Database, admin: Listener
) -> None:
    program = with_token(app, db, admin, "submit")
    made = program.post(f"{V1}/lists", json={"count": 2}).json()
    assert program.post(f"{V1}/playlists", json={"name": "By cron", "list_id": made["list_id"]}).status_code == 201
    message(program.get(f"{V1}/playlists"), 403, "Forbidden")
    message(program.put(f"{V1}/circle", json={"join": True}), 403, "Forbidden")
    both = with_token(app, db, admin, "submit", "read")
    message(both.get(f"{V1}/admin/people"), 403, "Forbidden")


def test_what_is_not_to_be_learnt_from_is_said_and_stays_said(player: TestClient, songs: list[int]) -> None:
    made = player.post(f"{V1}/listens", json={"song_id": songs[40], "learn": False}).json()
    where, change = f"{V1}/listens/{made['id']}", {"listened_at": 1_700_000_000, "ended": "played"}
    assert made["learn"] is False and player.put(where, json=change).json()["learn"] is False
    assert player.put(where, json={**change, "learn": True}).json()["learn"] is True


# -- taste ------------------------------------------------------------------------------------------


def test_versions_are_proved_compared_gone_back_to_and_seen_on_the_map(
    player: TestClient, db: Database, engine: Engine, admin: Listener
) -> None:
    version = give_adapter(db, engine, admin, 1)
    proof = player.get(f"{V1}/taste/versions/{version}/proof").json()
    assert (proof["of"], proof["before"], proof["after"], proof["sure"]) == (1, 1, 1, False)
    message(player.get(f"{V1}/taste/versions/{'0' * 16}/proof"), 404, "NotFound")
    shown = player.get(f"{V1}/taste/compare", params={"a": version}).json()
    assert (shown["a"]["version"], shown["b"]["version"]) == (version, None) and shown["a"]["answered"]
    places = {one["song"]["id"]: one["place"] for one in shown["b"]["songs"]}
    assert all(one["there"] == places.get(one["song"]["id"]) for one in shown["a"]["songs"])
    message(player.get(f"{V1}/taste/compare", params={"a": "x"}), 404, "NotFound")
    assert player.get(f"{V1}/recommendations").json()["version"] == version
    assert player.put(f"{V1}/taste/live", json={"version": None}).status_code == 200
    assert player.get(f"{V1}/recommendations").json()["version"] is None
    engine.lay_out()
    found = player.get(f"{V1}/taste/map").json()
    assert found["ready"] and len(found["mine"]) == 15 and len(found["others"]) > 100 and found["regions"]


def test_the_map_says_when_it_is_not_laid_out_yet(player: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.mapping.start", lambda engine: False)
    assert player.get(f"{V1}/taste/map").json() == {
        "ready": False, "version": None, "others": [], "mine": [], "regions": [],
    }  # fmt: skip


def test_what_was_played_is_counted(player: TestClient) -> None:
    found = player.get(f"{V1}/taste/profile").json()
    assert sum(day["plays"] for day in found["days"]) == 15 and found["undated"] == 0
    assert found["artists"] and found["genres"]


# -- circle and blends ------------------------------------------------------------------------------


def test_sharing_by_name_lets_one_friend_see_how_alike_two_are(
    me: TestClient, friend: TestClient, admin: Listener, ben: Listener, played: None, songs: list[int]
) -> None:
    message(me.get(f"{V1}/friends/{ben.id}"), 404, "NotFound")
    changed = friend.patch(f"{V1}/me", json={"sharing": "friends", "friends": [admin.id]}).json()
    assert changed["sharing"] == "friends"
    named = {one["name"]: one["named"] for one in friend.get(f"{V1}/friends").json()["friends"]}
    assert named == {"Ana": True, "Ben": False}
    found = me.get(f"{V1}/friends/{ben.id}").json()
    assert found["friend"] == "Ben" and 0 <= found["agreement"] <= 1
    assert [song["id"] for song in found["both"]] == [songs[100]] and found["for_me"] and found["apart"]
    friend.post(f"{V1}/listens", json={"song_id": songs[50]})
    (heard,) = me.get(f"{V1}/lately").json()["heard"]
    assert (heard["friend"], heard["song"]["id"]) == ("Ben", songs[50])
    friend.patch(f"{V1}/me", json={"friends": []})
    assert me.get(f"{V1}/friends/{ben.id}").status_code == 404 and me.get(f"{V1}/lately").json()["heard"] == []
    message(friend.patch(f"{V1}/me", json={"friends": ["x"]}), 422, "BadInput")


def test_a_blend_is_asked_for_agreed_weighed_and_left(
    me: TestClient, friend: TestClient, admin: Listener, ben: Listener, played: None
) -> None:
    made = me.post(f"{V1}/blends", json={"friends": [ben.id]}).json()
    where = f"{V1}/blends/{made['id']}"
    assert (made["title"], made["mine"], made["ready"], made["songs"]) == ("Ana + Ben", True, False, [])
    assert friend.post(f"{where}/agree").json()["ready"]
    songs = me.get(where).json()["songs"]
    assert len(songs) == 20 and [part["name"] for part in songs[0]["parts"]] == ["Ana", "Ben"]
    weighed = me.put(f"{where}/weights", json={"weights": {ben.id: 9}}).json()
    assert {one["name"]: one["weight"] for one in weighed["people"]} == {"Ana": 1, "Ben": 9}
    message(me.put(f"{where}/weights", json={"weights": {ben.id: 10}}), 422, "BadInput")
    message(me.put(f"{where}/weights", json={"weights": {"0" * 16: 1}}), 404, "NotFound")
    assert len(me.get(f"{V1}/blends").json()["blends"]) == 1
    assert friend.post(f"{where}/leave").status_code == 204 and me.get(where).status_code == 404


def test_the_circle_is_joined_trained_and_left(
    me: TestClient, friend: TestClient, admin: Listener, ben: Listener, played: None
) -> None:
    message(me.post(f"{V1}/circle/retrain"), 403, "Forbidden")
    assert me.put(f"{V1}/circle", json={"join": True}).json()["mine"]
    message(me.post(f"{V1}/circle/retrain"), 409, "CircleTooSmall")
    both = friend.put(f"{V1}/circle", json={"join": True}).json()
    assert (both["opted"], both["ready"], both["job"]) == (2, 2, "queued")
    assert me.post(f"{V1}/circle/retrain").status_code == 202
    assert friend.put(f"{V1}/circle", json={"join": False}).json()["opted"] == 1
    assert me.get(f"{V1}/circle").json()["job"] is None


def test_an_invite_lasts_as_asked_and_is_ended_by_its_key(me: TestClient, friend: TestClient) -> None:
    made = me.post(f"{V1}/invites", params={"days": 1}).json()
    (kept,) = me.get(f"{V1}/invites").json()["invites"]
    assert abs(kept["expires_at"] - made["expires_at"]) <= 2 and kept["expires_at"] - kept["created_at"] == 86_400
    message(me.post(f"{V1}/invites", params={"days": 365}), 422, "BadInput")
    message(friend.delete(f"{V1}/invites/{kept['key']}"), 404, "NotFound")
    assert me.delete(f"{V1}/invites/{kept['key']}").status_code == 204
    path = "/join/" + made["link"].rsplit("/", 1)[1]
    message(me.get(V1 + path), 404, "NotFound")


# -- coming, staying, leaving -----------------------------------------------------------------------


def example(name: str) -> dict[str, str]:
    """The documented example of a shape."""
    (found,) = document()["components"]["schemas"][name]["examples"]
    return dict(found)


def test_one_comes_signs_in_changes_the_password_and_leaves_by_the_documented_examples(
    app: FastAPI, stranger: TestClient, db: Database
) -> None:
    cleo = example("Newcomer")
    made = stranger.post(f"{V1}/setup", json=cleo)
    assert made.status_code == 201 and made.json()["is_admin"] and made.json()["time_zone"] == "Europe/Vienna"
    assert stranger.get(f"{V1}/me").json()["name"] == "Cleo", "the cookie came with the answer"
    message(stranger.post(f"{V1}/setup", json=cleo), 409, "Conflict")
    stranger.cookies.clear()
    message(stranger.get(f"{V1}/me"), 401, "NotSignedIn")
    message(stranger.post(f"{V1}/sessions", json=example("SignIn")), 401, "NotSignedIn")
    entered = {"name": "cleo", "password": cleo["password"]}
    assert stranger.post(f"{V1}/sessions", json=entered).json()["name"] == "Cleo"
    change = {"current": cleo["password"], "new": example("NewPassword")["new"] + " and more"}
    assert stranger.put(f"{V1}/me/password", json=change).status_code == 204
    assert stranger.get(f"{V1}/me").status_code == 200, "this browser goes on"
    message(stranger.put(f"{V1}/me/password", json=change), 422, "BadInput")
    stranger.post(f"{V1}/listens", json={"artist": "Nobody", "title": "Nothing"})
    assert stranger.get(f"{V1}/me/leaving").json()["goes"]["listens"] == 1
    message(stranger.post(f"{V1}/me/leave", json=example("Leaving")), 422, "BadInput")
    assert stranger.post(f"{V1}/me/leave", json={"current": change["new"]}).status_code == 204
    with db.read() as session:
        assert session.scalars(select(Listen.id)).all() == []
        assert session.scalar(select(Listener.id).where(Listener.name == "Cleo")) is None
    assert stranger.get(f"{V1}/me").status_code == 401


def test_a_link_lets_in_once_and_tells_who_made_it(app: FastAPI, me: TestClient) -> None:
    path = V1 + "/join/" + me.post(f"{V1}/invites").json()["link"].rsplit("/", 1)[1]
    newcomer = TestClient(app, headers={"sec-fetch-site": "same-origin"})
    assert newcomer.get(path).json() | {"expires_at": 0} == {"known": None, "host": "Ana", "expires_at": 0}
    message(newcomer.post(path, json={**example("Newcomer"), "password": "12345678"}), 422, "BadInput")
    joined = newcomer.post(path, json=example("Newcomer"))
    assert joined.status_code == 201 and not joined.json()["is_admin"]
    assert newcomer.get(f"{V1}/me").json()["name"] == "Cleo"
    message(newcomer.post(path, json=example("Newcomer")), 404, "NotFound")


def test_one_signs_out_everywhere_else_and_then_here(
    app: FastAPI, me: TestClient, db: Database, admin: Listener
) -> None:
    other = browser(app, db, admin)
    assert me.delete(f"{V1}/sessions").status_code == 204
    assert other.get(f"{V1}/me").status_code == 401
    (this,) = me.get(f"{V1}/sessions").json()["sessions"]
    assert this["is_this"] and me.delete(f"{V1}/sessions/{this['key']}").status_code == 204
    assert me.get(f"{V1}/me").status_code == 401


def test_signing_in_from_another_site_is_refused(stranger: TestClient, db: Database, admin: Listener) -> None:
    with db.write() as session:
        session.get_one(Listener, admin.id).password_hash = passwords.hash_password("stately plump violin 83")
    known = {"name": "Ana", "password": "stately plump violin 83"}
    elsewhere = stranger.post(f"{V1}/sessions", json=known, headers={"sec-fetch-site": "cross-site"})
    message(elsewhere, 403, "Forbidden")
    assert stranger.post(f"{V1}/sessions", json=known).status_code == 201


# -- administration ---------------------------------------------------------------------------------


def test_the_administrator_sees_people_links_jobs_and_health_and_acts(
    app: FastAPI, me: TestClient, friend: TestClient, db: Database, admin: Listener, ben: Listener, songs: list[int]
) -> None:
    with db.write() as session:
        title = session.get_one(Song, songs[0]).title
        for song in songs[:15]:
            listens.log(session, ben.id, song_id=song)
        session.add(Job(listener_id=ben.id))
        accounts.invite(session, ben.id, 7)
        chores.ask(session, "tidy")
    rooms = ("people", "invites", "jobs", "health")
    told = {room: me.get(f"{V1}/admin/{room}") for room in rooms}
    assert all(answer.status_code == 200 and title not in answer.text for answer in told.values())
    assert {one["name"]: one["listens"] for one in told["people"].json()["people"]} == {"Ana": 0, "Ben": 15}
    (job,) = told["jobs"].json()["jobs"]
    assert (job["name"], job["active"]) == ("Ben", True)
    assert told["health"].json()["missing"] == [] and told["health"].json()["storage"][0]["size"] > 0
    (cancelled,) = me.post(f"{V1}/admin/jobs/{ben.id}/cancel").json()["jobs"]
    assert cancelled["state"] == "cancelled"
    (link,) = told["invites"].json()["invites"]
    assert link["by"] == "Ben" and me.delete(f"{V1}/admin/invites/{link['key']}").status_code == 204
    assert "backup" in [one["name"] for one in me.post(f"{V1}/admin/backup").json()["chores"]]
    with db.read() as session:
        assert session.get_one(Chore, "backup").due_at is not None
    message(me.put(f"{V1}/admin/people/{admin.id}/rights", json={"admin": False}), 409, "Conflict")
    assert me.put(f"{V1}/admin/people/{ben.id}/rights", json={"admin": True}).status_code == 200
    assert friend.get(f"{V1}/admin/people").status_code == 200
    reset = me.post(f"{V1}/admin/people/{ben.id}/reset").json()
    assert friend.get(f"{V1}/me").status_code == 401, "they are signed out everywhere"
    known = TestClient(app).get(V1 + "/join/" + reset["link"].rsplit("/", 1)[1]).json()
    assert (known["known"], known["host"]) == ("Ben", None)
