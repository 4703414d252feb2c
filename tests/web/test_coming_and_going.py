"""Set up, sign in and out, join by invite."""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI
from sqlalchemy import select, update
from starlette.testclient import TestClient

from app.db import Database
from app.services import accounts
from app.tables import BrowserSession, Invite, Listener

GOOD = "a good long password"


def set_up(client: TestClient, name: str = "Ana") -> None:
    """The first visit."""
    answer = client.post("/setup", data={"name": name, "password": GOOD, "time_zone": "Europe/Berlin"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/welcome")


def test_the_first_visit_makes_the_administrator_and_is_over_then(stranger: TestClient, db: Database) -> None:
    assert stranger.get("/").headers["location"] == "/setup"
    assert stranger.get("/login").headers["location"] == "/setup"
    assert "first one here" in stranger.get("/setup").text
    set_up(stranger)
    assert "Ana" in stranger.get("/welcome").text
    with db.read() as session:
        who = accounts.by_name(session, "ana")
        assert who.is_admin and who.time_zone == "Europe/Berlin"
    assert stranger.get("/setup").headers["location"] == "/login"
    refused = stranger.post("/setup", data={"name": "Ben", "password": GOOD})
    assert refused.status_code == 409
    with db.read() as session:
        assert [w.name for w in accounts.everyone(session)] == ["Ana"]


@pytest.mark.parametrize("fields", [{}, {"name": "Ana"}, {"name": "Ana", "password": "short"}, {"password": GOOD}])
def test_a_first_visit_with_something_missing_is_asked_again(
    stranger: TestClient, db: Database, fields: dict[str, str]
) -> None:
    answer = stranger.post("/setup", data=fields)
    assert answer.status_code == 422 and 'role="alert"' in answer.text
    with db.read() as session:
        assert accounts.everyone(session) == []


@pytest.mark.parametrize("zone", ["Mars/Olympus", " UTC ", "", "../../etc/passwd", "utc", "Europe"])
def test_a_strange_zone_never_breaks_the_pages(stranger: TestClient, zone: str) -> None:
    stranger.post("/setup", data={"name": "Ana", "password": GOOD, "time_zone": zone})
    assert stranger.post("/listens", data={"artist": "Queen", "title": "39"}).status_code == 303
    for path in ("/", "/listens", "/friends", "/taste"):
        assert stranger.get(path).status_code == 200


def test_signing_in_gives_a_new_session_and_signing_out_ends_it(stranger: TestClient, db: Database) -> None:
    set_up(stranger)
    first = stranger.cookies["earshot"]
    again = stranger.post("/login", data={"name": "ANA", "password": GOOD, "next": "/taste"})
    assert (again.status_code, again.headers["location"]) == (303, "/taste")
    second = stranger.cookies["earshot"]
    assert first != second
    with db.read() as session:
        assert accounts.whose_session(session, first) is None, "the session before is over"
    cookie = again.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie and "path=/" in cookie
    assert stranger.post("/logout").headers["location"] == "/login"
    with db.read() as session:
        assert accounts.whose_session(session, second) is None
    stranger.cookies.set("earshot", second)
    assert stranger.get("/taste").headers["location"] == "/login?next=%2Ftaste"


def test_a_wrong_name_and_a_wrong_password_look_alike(stranger: TestClient) -> None:
    set_up(stranger)
    stranger.cookies.clear()
    pages = []
    for name, password in [("Ana", "wrong password"), ("Eve", GOOD)]:
        answer = stranger.post("/login", data={"name": name, "password": password})
        assert answer.status_code == 401 and "earshot" not in stranger.cookies
        pages.append(answer.text.replace(name, "X"))
    assert pages[0] == pages[1]


def test_a_session_fixed_by_somebody_else_is_not_taken_over(stranger: TestClient, db: Database) -> None:
    chosen = "chosen-by-an-attacker"
    stranger.cookies.set("earshot", chosen)
    answer = stranger.post("/setup", data={"name": "Ana", "password": GOOD})
    assert answer.status_code == 303 and chosen not in answer.headers["set-cookie"]
    with db.read() as session:
        assert accounts.whose_session(session, chosen) is None


def test_an_ended_session_is_signed_out(me: TestClient, db: Database) -> None:
    assert me.get("/listens").status_code == 200
    with db.write() as session:
        session.execute(update(BrowserSession).values(expires_at=1))
    assert me.get("/listens").headers["location"] == "/login?next=%2Flistens"


def test_a_session_in_use_outlives_its_cookie(me: TestClient, db: Database) -> None:
    def later(path: str) -> str:
        """What is set by an answer some minutes after the last one."""
        with db.write() as session:
            session.execute(update(BrowserSession).values(seen_at=1))
        return me.get(path).headers.get("set-cookie", "")

    token = me.cookies["earshot"]
    for path in ("/", "/login", "/listens/999/edit", "/api/songs?q=a", "/live/events", "/export/listens.csv"):
        cookie = later(path)
        assert cookie.startswith(f"earshot={token};") and "Max-Age=5184000" in cookie, path
        assert "HttpOnly" in cookie and "SameSite=lax" in cookie, path
    assert "set-cookie" not in me.get("/").headers, "and not with every answer"
    with db.write() as session:
        session.execute(update(BrowserSession).values(seen_at=1))
    ended = me.post("/logout").headers.get_list("set-cookie")
    assert len(ended) == 1 and "Max-Age=0" in ended[0]


def test_a_friend_joins_by_a_link_that_works_once(
    me: TestClient, app: FastAPI, stranger: TestClient, db: Database
) -> None:
    made = me.post("/friends/invite")
    found = re.search(r'value="(http://testserver(/join/[\w-]+))"', made.text)
    assert found
    path = found[2]
    with db.read() as session:
        (link,) = session.scalars(select(Invite)).all()
        assert path.split("/")[-1] not in link.token_hash
    assert "Ana invites you" in stranger.get(path).text
    taken = stranger.post(path, data={"name": "ana", "password": GOOD})
    assert taken.status_code == 409 and "taken" in taken.text
    joined = stranger.post(path, data={"name": "Ben", "password": GOOD})
    assert (joined.status_code, joined.headers["location"]) == (303, "/welcome")
    assert "Ben" in stranger.get("/friends").text
    assert (
        stranger.get(path).status_code == stranger.post(path, data={"name": "C", "password": GOOD}).status_code == 404
    )
    with db.read() as session:
        assert not accounts.by_name(session, "Ben").is_admin


def test_somebody_added_from_the_shell_sets_a_password_and_keeps_the_name(
    stranger: TestClient, db: Database, ana: Listener
) -> None:
    with db.write() as session:
        token = accounts.invite(session, None, 1, for_listener=ana.id)
    assert "Welcome, Ana" in stranger.get(f"/join/{token}").text
    sent = {"name": "Eve", "password": GOOD, "time_zone": "Europe/Berlin"}
    assert stranger.post(f"/join/{token}", data=sent).status_code == 303
    with db.read() as session:
        assert [(w.name, w.time_zone) for w in accounts.everyone(session)] == [("Ana", "Europe/Berlin")]


@pytest.mark.parametrize("api", [False, True], ids=["page", "API"])
@pytest.mark.parametrize("chosen", ["Europe/Vienna", "UTC"])
def test_a_new_password_leaves_the_time_zone_alone(
    stranger: TestClient, db: Database, ana: Listener, chosen: str, api: bool
) -> None:
    with db.write() as session:
        who = session.get_one(Listener, ana.id)
        who.created_at -= 86_400
        accounts.set_time_zone(session, who, chosen)
        token = accounts.reset_password(session, who, 1)
    sent = {"name": "Ana", "password": GOOD, "time_zone": "Asia/Tokyo"}
    if api:
        assert stranger.post(f"/api/v1/join/{token}", json=sent).status_code == 201
    else:
        assert stranger.post(f"/join/{token}", data=sent).status_code == 303
    with db.read() as session:
        assert session.get_one(Listener, ana.id).time_zone == chosen


ELSEWHERE = [
    "https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)",
    "/\t/evil.example", "http:evil.example", "", "evil", " //evil.example", "/\n/evil.example", "x" * 10_000,
]  # fmt: skip


def test_nobody_is_sent_to_another_host(stranger: TestClient) -> None:
    set_up(stranger)
    for number, target in enumerate(ELSEWHERE):
        song = stranger.post("/listens", data={"artist": "Queen", "title": f"Song {number}", "back": target})
        assert (song.status_code, song.headers["location"].partition("?")[0]) == (303, "/"), target
    for target in ELSEWHERE[:3]:
        answer = stranger.post("/login", data={"name": "Ana", "password": GOOD, "next": target})
        assert (answer.status_code, answer.headers["location"]) == (303, "/"), target
    stranger.cookies.clear()
    for target in ELSEWHERE:
        assert "evil" not in stranger.get("/login", params={"next": target}).text, target
