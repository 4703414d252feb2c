"""The page of the circle: who shares with whom, and invite links."""

from __future__ import annotations

import re

from sqlalchemy import select
from starlette.testclient import TestClient

from app.db import Database
from app.tables import Invite, Listener, now

TOKEN = re.compile(r'value="http://testserver(/join/[\w-]+)"')


def test_a_friend_is_named_and_unnamed_by_the_form(
    me: TestClient, friend: TestClient, admin: Listener, ben: Listener
) -> None:
    assert "shares with you" not in me.get("/friends").text
    assert friend.post("/friends/sharing", data={"sharing": "friends", "friend": admin.id}).status_code == 303
    assert f'href="/friends/{ben.id}"' in me.get("/friends").text
    friend.post("/friends/sharing", data={"sharing": "off", "friend": admin.id})
    assert f'href="/friends/{ben.id}"' not in me.get("/friends").text
    assert re.search(rf'value="{admin.id}" checked', friend.get("/friends").text), "the ticks are remembered"
    friend.post("/friends/sharing", data={"sharing": "friends"})
    assert not re.search(rf'value="{admin.id}" checked', friend.get("/friends").text)


def test_an_invite_lasts_as_long_as_was_asked_for(me: TestClient, db: Database) -> None:
    me.post("/friends/invite", data={"days": "1"})
    with db.read() as session:
        (link,) = session.scalars(select(Invite))
        assert abs(link.expires_at - now() - 86_400) < 60
    assert me.post("/friends/invite", data={"days": "5000"}).status_code == 422


def test_an_unused_invite_can_be_ended_by_its_maker_alone(
    me: TestClient, friend: TestClient, stranger: TestClient, db: Database
) -> None:
    path = TOKEN.search(me.post("/friends/invite").text)
    assert path
    with db.read() as session:
        (link,) = session.scalars(select(Invite.token_hash))
    assert friend.post("/friends/invite/revoke", data={"link": link}).status_code == 404
    assert stranger.get(path[1]).status_code == 200
    assert me.post("/friends/invite/revoke", data={"link": link}).status_code == 303
    assert stranger.get(path[1]).status_code == 404
    for odd in (link, "x", "é" * 64, "\x00" * 64):
        assert me.post("/friends/invite/revoke", data={"link": odd}).status_code == 404
