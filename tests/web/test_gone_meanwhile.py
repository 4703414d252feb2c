"""An account is deleted while a request of its own is under way: whatever route it is, no bug and nothing of theirs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Request
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app.db import Database
from app.main import create_app
from app.services import accounts, listens, privacy, tokens
from app.services.accounts import SignedIn
from app.services.listenbrainz_format import msid_of
from app.services.privacy import referring
from app.services.tokens import Holder
from app.settings import Settings
from app.tables import Listener
from app.web.access import Shared, anyone
from app.web.rules import ADMIN, LINK, OPEN, RULES, TOKEN
from tests.web.conftest import browser
from tests.web.test_access import keys_of
from tests.web.things import FORMS, MAKERS, filled, furnish

HERS = sorted(key for key, rule in RULES.items() if rule not in (OPEN, LINK, TOKEN, ADMIN))


@pytest.fixture
def vanishing(app: FastAPI, db: Database, stranger: TestClient, admin: Listener) -> Iterator[list[str]]:
    """Whom the list names is deleted as soon as a request is known to be theirs."""
    going: list[str] = []

    def known(request: Request, state: Shared) -> SignedIn | None:
        who = anyone(request, state)
        if who is not None and who.id in going:
            going.remove(who.id)
            with db.write() as session:
                privacy.delete_account(session, who.id)
        return who

    app.dependency_overrides[anyone] = known
    yield going
    app.dependency_overrides.clear()


def test_every_route_is_answered_to_who_is_deleted_while_it_is(
    app: FastAPI, db: Database, vanishing: list[str]
) -> None:
    assert set(HERS) <= set(keys_of(app))
    listeners, wrong = Listener.__table__, []
    for number, key in enumerate(HERS):
        method, path = key.split(" ", 1)
        made: dict[str, str] = {}
        with db.write() as session:
            who = accounts.add_listener(session, f"Gone {number}", None)
            furnish(session, who.id)

            def make(name: str, owner: str = who.id, opened: object = session) -> str:
                return MAKERS[name](opened, owner)  # type: ignore[arg-type]

            url = filled(path, made, make)
            form = {
                name: filled(text, made, make) for name, text in FORMS.get(key, {}).items() if isinstance(text, str)
            }
        client = browser(app, db, who)
        vanishing.append(who.id)
        sent = {} if method == "GET" else {"json": form} if path.startswith("/api/v1/") else {"data": form}
        answer = client.request(method, url, **sent)  # type: ignore[arg-type]
        assert vanishing == [], f"{key} does not ask who it is"
        if answer.status_code >= 500:
            wrong.append(f"{key}: {answer.status_code}")
        with db.read() as session:
            assert session.get(Listener, who.id) is None
            for table, column in referring(listeners.c.id):
                assert not session.scalar(select(func.count()).select_from(table).where(column == who.id)), (key, table)
    assert wrong == []


TRACK = {"artist_name": "Queen", "track_name": "39"}
BY_TOKEN: list[tuple[str, dict[str, Any]]] = [
    ("/1/submit-listens", {"json": {"listen_type": "single", "payload": [
        {"listened_at": 1_700_000_000, "track_metadata": TRACK}]}}),
    ("/1/submit-listens", {"json": {"listen_type": "playing_now", "payload": [{"track_metadata": TRACK}]}}),
    ("/1/feedback/recording-feedback", {"json": {"recording_msid": "{msid}", "score": 1}}),
    ("/2.0/", {"data": {"method": "track.scrobble", "sk": "{token}", "artist": "Queen", "track": "39",
                        "timestamp": "1700000000", "format": "json"}}),
    ("/2.0/", {"data": {"method": "track.love", "sk": "{token}", "artist": "Queen", "track": "39", "format": "json"}}),
    ("/api/v1/listens", {"json": {"artist": "Queen", "title": "39"}}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "sent"), BY_TOKEN, ids=str)
def test_so_are_players(
    bare: Settings, bare_db: Database, monkeypatch: pytest.MonkeyPatch, path: str, sent: dict[str, Any]
) -> None:
    with bare_db.write() as db:
        who = accounts.add_listener(db, "Gone", None)
        token = tokens.add(db, who.id, "Phone", ["submit", "read"])[1]
        song, _ = listens.log(db, accounts.add_listener(db, "Friend", None).id, artist="Queen", title="39")
    filled_in = json.loads(json.dumps(sent).replace("{token}", token).replace("{msid}", msid_of(song.song_id)))

    def knows(find: Callable[[Session, str], Holder | None]) -> Callable[[Session, str], Holder | None]:
        def known(db: Session, sent: str) -> Holder | None:
            holder = find(db, sent)
            with bare_db.write() as other:
                privacy.delete_account(other, who.id)
            return holder

        return known

    monkeypatch.setattr(tokens, "whose", knows(tokens.whose))
    monkeypatch.setattr(tokens, "whose_session", knows(tokens.whose_session))
    with TestClient(create_app(bare, warm=False), raise_server_exceptions=False) as player:
        answer = player.post(path, headers={"authorization": f"Token {token}"}, **filled_in)
    assert 400 <= answer.status_code < 500, answer.text
    with bare_db.read() as db:
        assert [one.name for one in accounts.everyone(db)] == ["Friend"]
        for table, column in referring(Listener.__table__.c.id):
            assert not db.scalar(select(func.count()).select_from(table).where(column == who.id)), table.name
