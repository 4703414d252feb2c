"""One's own account: see and end sessions, change the password, leave; and what the administrator sees and does."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from sqlalchemy import select, update
from starlette.testclient import TestClient

from app.db import Database
from app.main import create_app
from app.services import accounts, listens, passwords
from app.services.passwords import verify
from app.settings import Settings
from app.tables import BrowserSession, Chore, Invite, Job, Listener
from tests.web.conftest import SAME_SITE, browser

GOOD, NEW = "a good long password", "another one of those"


@pytest.fixture
def pages(bare: Settings) -> FastAPI:
    """The app without a base: these pages need none."""
    return create_app(bare, warm=False)


@pytest.fixture
def ana(bare_db: Database) -> Listener:
    """The administrator, with a password."""
    with bare_db.write() as db:
        return accounts.first_listener(db, "Ana", GOOD)


@pytest.fixture
def ben(bare_db: Database) -> Listener:
    """A friend."""
    with bare_db.write() as db:
        return accounts.add_listener(db, "Ben", GOOD)


@pytest.fixture
def mine(pages: FastAPI, bare_db: Database, ana: Listener) -> Iterator[TestClient]:
    """Ana's browser."""
    with TestClient(pages, headers=SAME_SITE):
        yield browser(pages, bare_db, ana)


def keys(client: TestClient) -> list[str]:
    """The sessions that the page offers to end, in its order."""
    page = client.get("/settings").text
    return [key for key in re.findall(r'name="session" value="(\w+)"', page) if key != "others"]


def test_sessions_are_seen_and_ended_one_by_one(
    pages: FastAPI, mine: TestClient, bare_db: Database, ana: Listener
) -> None:
    phone = browser(pages, bare_db, ana)
    shown = keys(mine)
    assert len(shown) == 2 and keys(phone) == shown[::-1], "this browser comes first"
    assert mine.post("/settings/sessions/end", data={"session": shown[1]}).status_code == 303
    assert phone.get("/settings").status_code == 303 and mine.get("/settings").status_code == 200
    assert keys(mine) == shown[:1]
    assert mine.post("/settings/sessions/end", data={"session": shown[1]}).status_code == 404


def test_what_names_a_session_does_not_open_it(pages: FastAPI, mine: TestClient) -> None:
    for key in keys(mine):
        thief = TestClient(pages, follow_redirects=False, cookies={"earshot": key})
        assert thief.get("/settings").status_code == 303


def test_all_others_are_ended_at_once(pages: FastAPI, mine: TestClient, bare_db: Database, ana: Listener) -> None:
    others = [browser(pages, bare_db, ana) for _ in range(2)]
    mine.post("/settings/sessions/end", data={"session": "others"})
    assert [client.get("/settings").status_code for client in (mine, *others)] == [200, 303, 303]


def test_a_new_password_ends_every_session_but_gives_this_browser_a_new_one(
    pages: FastAPI, mine: TestClient, bare_db: Database, ana: Listener
) -> None:
    phone, before = browser(pages, bare_db, ana), mine.cookies["earshot"]
    for current, new in [("wrong", NEW), (GOOD, "password123"), (GOOD, "short"), (GOOD, ""), ("", "")]:
        assert mine.post("/settings/password", data={"current": current, "new": new}).status_code == 422
    assert phone.get("/settings").status_code == 200, "nothing has changed yet"
    answer = mine.post("/settings/password", data={"current": GOOD, "new": NEW})
    assert answer.status_code == 303 and "earshot=" in answer.headers["set-cookie"]
    mine.cookies.clear()
    mine.cookies.set("earshot", re.findall(r"earshot=([^;]+)", answer.headers["set-cookie"])[0])
    assert phone.get("/settings").status_code == 303 and mine.get("/settings").status_code == 200
    with bare_db.read() as db:
        assert accounts.whose_session(db, before) is None
        stored = db.get_one(Listener, ana.id).password_hash
        assert verify(stored, NEW) and not verify(stored, GOOD)


@pytest.mark.parametrize("act", ["password", "delete", "join", "setup"])
def test_nobody_s_write_waits_while_a_password_waits_for_its_turn(
    pages: FastAPI, mine: TestClient, bare_db: Database, ana: Listener, ben: Listener,
    monkeypatch: pytest.MonkeyPatch, act: str,
) -> None:  # fmt: skip
    """With every turn taken, the request gives up, and it had no write open: another one begins at once."""
    with bare_db.write() as db:
        link = accounts.invite(db, ana.id, 1)
        if act == "setup":
            db.execute(update(Listener).values(is_admin=False))
    his, quick = browser(pages, bare_db, ben), Database(f"{bare_db.url}?timeout=0")
    seen: list[str] = []

    class Taken:
        def acquire(self, timeout: float) -> bool:
            with quick.write() as db:  # fails at once if anybody holds the lock
                seen.append(db.scalars(select(Listener.name).order_by(Listener.name)).first() or "")
            return False

    monkeypatch.setattr(passwords, "_TURNS", Taken())
    cleo = {"name": "Cleo", "password": NEW}
    path, form = {
        "password": ("/settings/password", {"current": GOOD, "new": NEW}), "join": (f"/join/{link}", cleo),
        "delete": ("/settings/delete", {"current": GOOD}), "setup": ("/setup", cleo),
    }[act]  # fmt: skip
    assert his.post(path, data=form).status_code == 503 and seen == ["Ana"]
    quick.close()


def test_leaving_asks_for_the_password_and_then_everything_is_gone(
    pages: FastAPI, mine: TestClient, bare_db: Database, bare: Settings, ana: Listener, ben: Listener
) -> None:
    his = browser(pages, bare_db, ben)
    with bare_db.write() as db:
        listens.log(db, ben.id, artist="Only his", title="Song")
    (bare.adapters / ben.id / ("0" * 16)).mkdir(parents=True)
    assert "songs that only you know: 1" in his.get("/settings").text
    assert his.post("/settings/delete", data={"current": "wrong"}).status_code == 422
    assert his.get("/settings").status_code == 200
    assert his.post("/settings/delete", data={"current": GOOD}).headers["location"] == "/login"
    assert his.get("/settings").status_code == 303 and not (bare.adapters / ben.id).exists()
    with bare_db.read() as db:
        assert [who.name for who in accounts.everyone(db)] == ["Ana"] and db.get_one(Chore, "shred").due_at
    assert mine.post("/login", data={"name": "Ben", "password": GOOD}).status_code == 401


def test_the_only_administrator_cannot_leave_the_others(mine: TestClient, ana: Listener, ben: Listener) -> None:
    assert mine.post("/settings/delete", data={"current": GOOD}).status_code == 409
    assert mine.get("/settings").status_code == 200


# -- the administrator ------------------------------------------------------------------------------


def test_the_page_shows_people_links_jobs_and_storage_and_no_titles(
    mine: TestClient, bare_db: Database, ana: Listener, ben: Listener
) -> None:
    with bare_db.write() as db:
        listens.log(db, ben.id, artist="Zyxo", title="What Ben plays")
        db.add(Job(listener_id=ben.id, state="queued"))
        accounts.invite(db, ben.id, 1)
    page = mine.get("/admin").text
    for words in ("Ben", "1 listens", "queued", "by Ben", "Not ready: base", "free on the disk", "There is none yet"):
        assert words in page, words
    assert "Zyxo" not in page and "What Ben plays" not in page


def test_rights_are_given_and_taken_but_not_from_the_last(
    pages: FastAPI, mine: TestClient, bare_db: Database, ana: Listener, ben: Listener
) -> None:
    his = browser(pages, bare_db, ben)
    assert his.get("/admin").status_code == 403
    assert mine.post(f"/admin/people/{ana.id}/rights", data={"admin": "no"}).status_code == 409
    mine.post(f"/admin/people/{ben.id}/rights", data={"admin": "yes"})
    assert his.get("/admin").status_code == 200
    assert his.post(f"/admin/people/{ana.id}/rights", data={"admin": "no"}).status_code == 303
    assert mine.get("/admin").status_code == 403


def test_a_reset_gives_a_link_that_works_once_and_signs_out(
    pages: FastAPI, mine: TestClient, bare_db: Database, ben: Listener
) -> None:
    his = browser(pages, bare_db, ben)
    path = re.findall(r'value="http://testserver(/join/[\w-]+)"', mine.post(f"/admin/people/{ben.id}/reset").text)[0]
    assert his.get("/settings").status_code == 303
    assert his.post("/login", data={"name": "Ben", "password": GOOD}).status_code == 401
    assert his.post(path, data={"password": NEW}).status_code == 303
    assert his.post(path, data={"password": NEW}).status_code == 404


@pytest.mark.parametrize("way", ["reset again", "joined", "changed"])
def test_older_links_to_set_a_password_end_with_a_reset_and_with_a_new_password(
    pages: FastAPI, mine: TestClient, bare_db: Database, ben: Listener, way: str
) -> None:
    with bare_db.write() as db:
        links = [accounts.invite(db, None, 1, for_listener=ben.id) for _ in range(2)]
        friends = accounts.invite(db, ben.id, 1)
    if way == "reset again":
        assert mine.post(f"/admin/people/{ben.id}/reset").status_code == 200
    elif way == "joined":
        assert mine.post(f"/join/{links[1]}", data={"password": NEW}).status_code == 303
    else:
        browser(pages, bare_db, ben).post("/settings/password", data={"current": GOOD, "new": NEW})
    for link in links:
        assert mine.post(f"/join/{link}", data={"password": "yet another long one"}).status_code == 404
    with bare_db.read() as db:
        assert accounts.open_invite(db, friends).made_by == ben.id, "a link for friends stays"
        assert way != "joined" or db.get_one(Invite, accounts.token_hash(links[1])).used_by == ben.id


def test_links_and_jobs_are_ended_and_a_backup_is_asked_for(mine: TestClient, bare_db: Database, ben: Listener) -> None:
    with bare_db.write() as db:
        token = accounts.invite(db, ben.id, 1)
        db.add(Job(listener_id=ben.id, state="queued"))
    assert mine.post(f"/admin/invites/{accounts.token_hash(token)[:16]}/end").status_code == 303
    assert mine.get(f"/join/{token}").status_code == 404
    assert mine.post(f"/admin/jobs/{ben.id}/cancel").status_code == 303
    assert mine.post(f"/admin/jobs/{ben.id}/cancel").status_code == 404
    assert mine.post("/admin/backup").status_code == 303
    with bare_db.read() as db:
        assert db.scalar(select(Job.state)) == "cancelled" and db.get_one(Chore, "backup").due_at
        assert db.scalars(select(Invite)).all() == []


def test_cancelling_a_training_of_the_circle_leaves_its_owners_own_retrain(
    mine: TestClient, bare_db: Database, ana: Listener, ben: Listener
) -> None:
    with bare_db.write() as db:
        shared, own = Job(listener_id=ben.id, kind="circle"), Job(listener_id=ben.id)
        db.add_all([shared, own])
    offered = re.findall(r'action="/admin/jobs/(\w+)/cancel"', mine.get("/admin").text)
    assert sorted(offered) == sorted([shared.id, own.id])
    assert mine.post(f"/admin/jobs/{shared.id}/cancel").status_code == 303
    assert mine.post(f"/admin/jobs/{shared.id}/cancel").status_code == 404
    with bare_db.read() as db:
        assert [db.get_one(Job, one).state for one in (shared.id, own.id)] == ["cancelled", "queued"]


def test_where_the_worker_makes_no_backup_none_can_be_asked_for(
    bare: Settings, bare_db: Database, ana: Listener
) -> None:
    shared = create_app(bare.model_copy(update={"storage": str(bare.home / "share")}), warm=False)
    with TestClient(shared, headers=SAME_SITE):
        client = browser(shared, bare_db, ana)
        assert "Back up now" not in client.get("/admin").text
        assert client.post("/admin/backup").status_code == 409
    with bare_db.read() as db:
        assert db.get(Chore, "backup") is None


@pytest.mark.parametrize("person", ["0" * 16, "x", "%00", "9" * 5000, "%ED%A0%80"])
def test_nobody_is_found_under_a_strange_id(mine: TestClient, person: str) -> None:
    for path in (f"/admin/people/{person}/rights", f"/admin/people/{person}/reset", f"/admin/jobs/{person}/cancel"):
        assert mine.post(path).status_code == 404


def test_a_session_that_has_ended_is_not_shown(mine: TestClient, bare_db: Database, ana: Listener) -> None:
    with bare_db.write() as db:
        old = accounts.start_session(db, ana.id, 1)
        db.get_one(BrowserSession, accounts.token_hash(old)).expires_at = 1
    assert len(keys(mine)) == 1
