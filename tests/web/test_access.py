"""Every route of the app, tried as everybody: who gets in, who does not, and what they leave untouched."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from httpx import Response
from sqlalchemy import Connection, select
from starlette.routing import Mount
from starlette.testclient import TestClient

from app import logs
from app.db import Database
from app.services import accounts
from app.tables import Listener, Table
from app.web.rules import ADMIN, LINK, MEMBER, OPEN, OWN, RULES, SHARED, TOKEN, Rule
from tests.web.conftest import browser
from tests.web.things import FORMS, MAKERS, SECRET, filled, furnish


def keys_of(app: FastAPI) -> list[str]:
    """Every route that the app answers, as RULES names it."""
    found = []
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, Mount):
            assert context.path == "/static", f"{context.path} is mounted past the rules of app/web/rules.py"
            continue
        assert isinstance(context.original_route, APIRoute), f"{context.path} is no route that the rules know of"
        found += [f"{method} {context.path}" for method in sorted(context.methods or ())]
    return found


def test_every_route_has_a_rule_and_every_rule_a_route(app: FastAPI) -> None:
    there = set(keys_of(app))
    assert len(there) > 30
    assert sorted(there - set(RULES)) == [], "add a line for each to RULES in app/web/rules.py"
    assert sorted(set(RULES) - there) == [], "RULES in app/web/rules.py speaks of routes that are gone"


def test_whatever_names_a_thing_in_its_path_is_tried_with_a_real_one(app: FastAPI) -> None:
    named = {name for key in keys_of(app) for name in re.findall(r"\{([^}]+)\}", key)}
    assert sorted(named - set(MAKERS)) == [], "add a maker for each to tests/web/things.py"
    assert sorted(set(FORMS) - set(keys_of(app))) == []


def test_a_route_without_a_rule_is_refused_to_everybody(app: FastAPI, me: TestClient, stranger: TestClient) -> None:
    @app.get("/without-a-rule")
    def forgotten() -> str:
        return "open"

    assert me.get("/without-a-rule").status_code == stranger.get("/without-a-rule").status_code == 403
    assert "GET /without-a-rule" in keys_of(app)


@dataclass(frozen=True)
class Scene:
    """An owner with one of everything, and those who try."""

    db: Database
    owner: str
    browsers: dict[str, TestClient]
    watching: Connection
    seen: dict[int, dict[str, list[Any]]]

    def attempt(self, role: str, key: str) -> Response:
        """Ask a route for a thing of the owner's, made for this attempt."""
        method, path = key.split(" ", 1)
        made: dict[str, str] = {}
        with self.db.write() as session:
            session.get_one(Listener, self.owner).sharing = "circle" if role == "friend with sharing" else "off"

            def make(name: str) -> str:
                return MAKERS[name](session, self.owner)

            def fill(value: Any) -> Any:
                if isinstance(value, dict):
                    return {fill(name): fill(inner) for name, inner in value.items()}
                return filled(value, made, make)

            url, form = filled(path, made, make), fill(FORMS.get(key, {}))
        kept = role != "owner" and RULES[key] not in (LINK, ADMIN if role == "administrator" else LINK)
        before = self.rows() if kept else {}
        sent = {} if method == "GET" else {"json": form} if path.startswith("/api/v1/") else {"data": form}
        answer = self.browsers[role].request(method, url, headers={"accept": "text/html"}, **sent)
        if kept:
            assert self.rows() == before, f"{key} as {role} changed what belongs to somebody else"
        return answer

    def rows(self) -> dict[str, list[Any]]:
        """Everything of the owner's in every table that has a listener; read anew once somebody has committed."""
        version = self.watching.exec_driver_sql("PRAGMA data_version").scalar_one()
        self.watching.rollback()
        if version in self.seen:
            return self.seen[version]
        found: dict[str, list[Any]] = {}
        with self.db.read() as session:
            for table in Table.metadata.sorted_tables:
                column = table.c.get("listener_id", table.c.id if table.name == "listeners" else None)
                if column is not None:
                    rows = session.execute(select(table).where(column == self.owner))
                    found[table.name] = sorted(repr(tuple(row)) for row in rows)
        self.seen.clear()
        self.seen[version] = found
        return found


@pytest.fixture
def scene(app: FastAPI, db: Database, stranger: TestClient, admin: Listener) -> Iterator[Scene]:
    """Everybody, signed in."""
    people = {}
    with db.write() as session:
        for role in ("owner", "other listener", "friend without sharing", "friend with sharing"):
            people[role] = accounts.add_listener(session, f"{role.title()}", None)
        furnish(session, people["owner"].id)
    browsers = {role: browser(app, db, person) for role, person in people.items()}
    browsers |= {"stranger": stranger, "administrator": browser(app, db, admin)}
    with db.engine.connect() as watching:
        yield Scene(db, people["owner"].id, browsers, watching, {})


ALLOWED: dict[Rule, set[str]] = {
    OPEN: {"stranger", "other listener", "friend without sharing", "friend with sharing", "owner", "administrator"},
    LINK: {"stranger"},
    MEMBER: {"other listener", "friend without sharing", "friend with sharing", "owner", "administrator"},
    OWN: {"owner"},
    SHARED: {"owner", "friend with sharing"},
    TOKEN: set(),
    ADMIN: {"administrator"},
}
ROLES = ("stranger", "other listener", "friend without sharing", "friend with sharing", "administrator", "owner")


def _to_login(answer: Response) -> bool:
    return answer.status_code == 303 and answer.headers["location"].startswith("/login?next=")


def _wrong(rule: Rule, role: str, key: str, answer: Response) -> str:
    if answer.status_code >= 500:
        return f"{key} as {role}: {answer.status_code}"
    refused = answer.status_code in ((403,) if rule is OPEN else (401, 403)) or _to_login(answer)
    if rule is TOKEN:  # the protocols say it in their own numbers
        refused = 400 <= answer.status_code < 500
    if rule in (OWN, SHARED):
        refused = refused or answer.status_code == 404
        if role in ALLOWED[rule] and answer.status_code >= 400:
            return f"{key} as {role}: {answer.status_code}, though it is theirs to use"
    if refused == (role in ALLOWED[rule]):
        return f"{key} ({rule.name}) as {role}: {answer.status_code}"
    return ""


NEEDS_ANOTHER_LOGIN = {"POST /logout"}  # ends the session that the next attempt needs


@pytest.mark.parametrize("role", ROLES)
def test_each_route_lets_in_whom_its_rule_names_and_nobody_else(
    app: FastAPI, scene: Scene, role: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # the test's own client
    wrong, told = [], []
    cookies = [cookie for client in scene.browsers.values() for cookie in client.cookies.values()]
    keys = sorted(keys_of(app), key=lambda key: key in NEEDS_ANOTHER_LOGIN)
    for key in keys:
        if RULES[key] is LINK and role != "stranger":
            continue  # the secret decides, whoever holds it
        answer = scene.attempt(role, key)
        wrong.append(_wrong(RULES[key], role, key, answer))
        if role not in ("owner", "friend with sharing") and RULES[key] is not TOKEN and SECRET in answer.text:
            told.append(key)
    assert [problem for problem in wrong if problem] == []
    assert told == [], f"these tell {role} what is the owner's own"
    written = "\n".join(logs.AsText().format(record) for record in caplog.records)
    assert "POST /playlists/{playlist_id}/rename" in written and "a bug" not in written
    for private in (SECRET, "Owner", "Renamed", "testclient", "Other Listener", *cookies):
        assert private not in written, f"the log holds {private!r}"


def test_the_owners_pages_do_show_the_planted_words(scene: Scene) -> None:
    assert SECRET in scene.attempt("owner", "GET /taste").text, "else the search for them above proves nothing"


def test_administrators_alone_get_into_what_is_theirs(
    app: FastAPI, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RULES, "GET /listens", ADMIN)
    codes = {role: scene.attempt(role, "GET /listens").status_code for role in ROLES}
    assert codes == dict.fromkeys(ROLES, 403) | {"stranger": 303, "administrator": 200}
