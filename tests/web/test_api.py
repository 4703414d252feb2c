"""The JSON API: what the pages do, by session or token; its document; every route under schemathesis' fire."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from httpx import Response
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app.db import Database
from app.services import accounts, listens, tokens
from app.tables import Listener
from app.web.api.document import document
from app.web.rules import ADMIN, RULES, SUBMITS
from tests.web.conftest import SAME_SITE, browser
from tests.web.test_pages import served
from tests.web.things import MAKERS, filled

V1 = "/api/v1"


def with_token(app: FastAPI, db: Database, listener: Listener, *scopes: str) -> TestClient:
    """A program that sends a token, and nothing of a browser."""
    with db.write() as session:
        token = tokens.add(session, listener.id, " ".join(scopes), scopes)[1]
    return TestClient(app, raise_server_exceptions=False, headers={"Authorization": f"Token {token}"})


def message(answer: Response, status: int, error: str) -> str:
    """An error's words, checked for status and name."""
    found = answer.json()
    assert (answer.status_code, found["error"]) == (status, error), found
    return str(found["message"])


# -- what one can do --------------------------------------------------------------------------------


def test_a_listen_is_logged_found_changed_and_deleted(me: TestClient, songs: list[int]) -> None:
    made = me.post(f"{V1}/listens", json={"song_id": songs[0], "listened_at": 1_700_000_000})
    assert made.status_code == 201 and made.json()["song"]["id"] == songs[0] and made.json()["source"] == "api"
    where = f"{V1}/listens/{made.json()['id']}"
    assert me.get(where).json() == made.json()
    assert me.get(f"{V1}/listens").json() == {"listens": [made.json()], "total": 1, "number": 1, "pages": 1}
    changed = me.put(where, json={"listened_at": 1_700_000_500, "ended": "skipped"}).json()
    assert (changed["listened_at"], changed["ended"]) == (1_700_000_500, "skipped")
    again = me.post(f"{V1}/listens", json={"song_id": songs[0], "listened_at": 1_700_000_500})
    assert "already" in message(again, 409, "Conflict")
    assert me.delete(where).status_code == 204 and me.get(where).status_code == 404


def test_a_song_by_name_joins_the_catalogue_and_is_found(app: FastAPI, me: TestClient) -> None:
    made = me.post(f"{V1}/listens", json={"artist": "Nobody At All", "title": "A Song Nobody Knows"}).json()
    app.state.earshot.later.wait()
    found = me.get(f"{V1}/songs", params={"q": "nobody knows"}).json()["songs"]
    assert made["song"]["id"] in [song["id"] for song in found]
    facts = me.get(f"{V1}/songs/{made['song']['id']}").json()
    assert facts["players"] == [{"name": "Ana", "plays": 1, "is_me": True}] and len(facts["nearest"]) == 8


def test_feedback_is_said_listed_and_taken_back_and_lists_respect_it(me: TestClient, songs: list[int]) -> None:
    for song_id in songs[:15]:
        me.post(f"{V1}/listens", json={"song_id": song_id})
    first = me.get(f"{V1}/recommendations").json()
    assert len(first["songs"]) == 20 and first["version"] is None and first["songs"][0]["reasons"][0]["song_id"]
    best = first["songs"][0]["song"]["id"]
    assert me.put(f"{V1}/songs/{best}/feedback", json={"verdict": "dislike"}).json()["verdict"] == "dislike"
    assert me.get(f"{V1}/feedback").json() == {"feedback": [{"song_id": best, "verdict": "dislike"}]}
    assert best not in [one["song"]["id"] for one in me.get(f"{V1}/recommendations").json()["songs"]]
    assert me.delete(f"{V1}/songs/{best}/feedback").status_code == 204
    assert me.get(f"{V1}/feedback").json() == {"feedback": []}
    wished = me.get(f"{V1}/recommendations", params={"wish": "rainy Sunday", "count": 5}).json()["songs"]
    assert len(wished) == 5


def test_genres_decades_and_artists_lead_to_songs(me: TestClient) -> None:
    genre = me.get(f"{V1}/genres").json()["items"][0]
    found = me.get(f"{V1}/genres/{genre['name']}/songs").json()
    assert found["total"] == genre["songs"] and all(genre["name"] in song["genres"] for song in found["songs"])
    decade = me.get(f"{V1}/decades").json()["items"][-1]
    assert me.get(f"{V1}/decades/{decade['name']}/songs", params={"page": 999}).json()["total"] == decade["songs"]
    artist = me.get(f"{V1}/artists").json()["artists"][0]
    facts = me.get(f"{V1}/artists/{artist['key']}").json()
    assert facts["name"] == artist["name"] and facts["songs"]["total"] == artist["songs"]


def test_a_corrected_genre_is_the_listeners_word(me: TestClient, songs: list[int]) -> None:
    changed = me.put(f"{V1}/songs/{songs[0]}/genres", json={"genres": ["jazz"]}).json()
    assert (changed["genres"], changed["genres_from"]) == (["jazz"], "listener")
    message(me.put(f"{V1}/songs/{songs[0]}/genres", json={"genres": ["no such thing"]}), 422, "BadInput")


def test_a_retrain_is_asked_for_watched_and_cancelled(me: TestClient, songs: list[int]) -> None:
    assert me.get(f"{V1}/taste").json()["job"] is None and me.get(f"{V1}/taste/job").status_code == 404
    assert "missing" in message(me.post(f"{V1}/taste/retrain"), 409, "TooFewListens")
    for song_id in songs[:15]:
        me.post(f"{V1}/listens", json={"song_id": song_id})
    asked = me.post(f"{V1}/taste/retrain")
    assert asked.status_code == 202 and asked.json()["active"]
    assert me.post(f"{V1}/taste/retrain").json()["id"] == asked.json()["id"], "a second press is the same retrain"
    assert me.get(f"{V1}/taste/job").json()["state"] == "queued"
    assert me.post(f"{V1}/taste/cancel").json()["state"] == "cancelled"
    message(me.post(f"{V1}/taste/cancel"), 404, "NotFound")
    message(me.put(f"{V1}/taste/live", json={"version": "0" * 16}), 404, "NotFound")
    assert me.put(f"{V1}/taste/live", json={"version": None}).json() == {"version": None}


def test_settings_picks_invites_and_tokens(me: TestClient, ben: Listener) -> None:
    assert me.patch(f"{V1}/me", json={"time_zone": "Europe/Vienna"}).json()["time_zone"] == "Europe/Vienna"
    changed = me.patch(f"{V1}/me", json={"sharing": "circle"}).json()
    assert (changed["sharing"], changed["time_zone"]) == ("circle", "Europe/Vienna")
    message(me.patch(f"{V1}/me", json={"time_zone": "Mars"}), 422, "BadInput")
    picks = {"genres": ["soul"], "artists": ["Nina Simone"]}
    assert me.put(f"{V1}/me/picks", json=picks).json() == picks == me.get(f"{V1}/me/picks").json()
    people = me.get(f"{V1}/friends").json()["friends"]
    assert [(one["name"], one["shares"], one["is_me"]) for one in people] == [
        ("Ana", True, True),
        ("Ben", False, False),
    ]
    link = me.post(f"{V1}/invites")
    assert link.status_code == 201 and "/join/" in link.json()["link"]
    assert len(me.get(f"{V1}/invites").json()["invites"]) == 1
    made = me.post(f"{V1}/tokens", json={"name": "Phone", "scopes": ["submit"]}).json()
    (kept,) = me.get(f"{V1}/tokens").json()["tokens"]
    assert kept == {name: value for name, value in made.items() if name != "token"} and made["token"] not in str(kept)
    assert me.delete(f"{V1}/tokens/{made['id']}").status_code == 204
    assert me.get(f"{V1}/tokens").json() == {"tokens": []}


def test_sessions_are_seen_and_ended(app: FastAPI, me: TestClient, db: Database, admin: Listener) -> None:
    other = browser(app, db, admin)
    assert other.get(f"{V1}/me").status_code == 200
    mine, its = me.get(f"{V1}/sessions").json()["sessions"]
    assert (mine["is_this"], its["is_this"]) == (True, False)
    assert me.delete(f"{V1}/sessions/{its['key']}").status_code == 204
    assert other.get(f"{V1}/me").status_code == 401 and me.get(f"{V1}/me").status_code == 200
    message(me.delete(f"{V1}/sessions/{its['key']}"), 404, "NotFound")


# -- who may ----------------------------------------------------------------------------------------


def test_a_token_reads_or_submits_and_changes_nothing_of_the_account(
    app: FastAPI, stranger: TestClient, db: Database, admin: Listener, written: Callable[[], dict[str, int]]
) -> None:
    reads, submits = with_token(app, db, admin, "read"), with_token(app, db, admin, "submit")
    everything = with_token(app, db, admin, "submit", "read")
    before = written()
    for key in [key for key in RULES if " /api/v1/" in key and not key.endswith("openapi.json")]:
        method, path = key.split(" ")
        url = path.replace("{song_id}", "0").replace("{listen_id}", "0").replace("{key:path}", "x")
        codes = [client.request(method, url).status_code for client in (reads, submits, everything)]
        reading = method == "GET" and RULES[key] is not ADMIN
        allowed = [reading, key in SUBMITS, reading or key in SUBMITS]
        assert [code != 403 for code in codes] == allowed, key
    assert written() == before


def test_a_token_counts_alone_and_a_bad_one_is_refused_even_beside_a_session(me: TestClient) -> None:
    wrong = me.get(f"{V1}/me", headers={"Authorization": "Token nonsense"})
    message(wrong, 401, "NotSignedIn")
    assert me.get(f"{V1}/me").json()["name"] == "Ana"
    assert me.get("/listens", headers={"Authorization": "Token nonsense"}).status_code == 200, "pages know no tokens"


def test_with_a_token_a_program_may_write_from_anywhere_and_a_session_only_from_our_pages(
    app: FastAPI, db: Database, me: TestClient, admin: Listener, written: Callable[[], dict[str, int]]
) -> None:
    program = with_token(app, db, admin, "submit")
    new = {"artist": "Queen", "title": "39"}
    assert program.post(f"{V1}/listens", json=new).status_code == 201
    before = written()
    elsewhere = {"sec-fetch-site": "cross-site"}
    message(me.post(f"{V1}/listens", json={**new, "listened_at": 1_700_000_000}, headers=elsewhere), 403, "Forbidden")
    assert written() == before


def test_nobody_reads_or_changes_the_listens_of_somebody_else(
    app: FastAPI, db: Database, me: TestClient, friend: TestClient, ben: Listener
) -> None:
    mine = me.post(f"{V1}/listens", json={"artist": "Queen", "title": "39"}).json()["id"]
    program = with_token(app, db, ben, "submit", "read")
    for client in (friend, program):
        for answer in (
            client.get(f"{V1}/listens/{mine}"), client.delete(f"{V1}/listens/{mine}"),
            client.put(f"{V1}/listens/{mine}", json={"listened_at": None, "ended": "played"}),
        ):  # fmt: skip
            message(answer, 404, "NotFound")
    assert me.get(f"{V1}/listens/{mine}").status_code == 200


# -- what it says of itself -------------------------------------------------------------------------


def test_the_document_names_every_route_with_its_errors_and_pages_are_not_in_it(
    app: FastAPI, stranger: TestClient
) -> None:
    made = stranger.get(f"{V1}/openapi.json").json()
    there = {f"{method.upper()} {path}" for path, methods in made["paths"].items() for method in methods}
    wanted = {key.replace("{key:path}", "{key}") for key in RULES if " /api/v1/" in key} - {f"GET {V1}/openapi.json"}
    assert there == wanted
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            assert operation["description"], (method, path)
            assert {"401", "403", "404", "409", "422", "503"} <= set(operation["responses"]), (method, path)
            assert "HTTPValidationError" not in json.dumps(operation), (method, path)


def test_the_document_says_which_routes_a_token_opens() -> None:
    ways = {
        f"{method.upper()} {path}": [next(iter(way)) for way in operation["security"]]
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    }
    assert ways[f"POST {V1}/sessions"] == ways[f"GET {V1}/join/{{token}}"] == []
    assert ways[f"GET {V1}/listens"] == ways[f"DELETE {V1}/hidden-artists/{{key}}"] == ["session", "token"]
    assert ways[f"GET {V1}/admin/people"] == ways[f"PUT {V1}/taste/live"] == ["session"]


def test_every_shape_and_every_error_has_an_example() -> None:
    made = document()
    for name, shape in made["components"]["schemas"].items():
        assert shape["examples"] and shape["examples"][0] is not None, name
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            for code, answer in operation["responses"].items():
                told = answer.get("content", {}).get("application/json", {})
                if code >= "400":
                    assert set(told["example"]) == {"error", "message"}, (method, path, code)


# What an example names, which a test must make first; and those that end or change the session (test_api_rooms.py).
NEEDS: dict[str, Callable[[Session, str], dict[str, Any]]] = {
    f"PUT {V1}/taste/live": lambda db, who: {"version": MAKERS["version"](db, who)},
    f"POST {V1}/blends": lambda db, who: {"friends": [accounts.add_listener(db, "Dora", None).id]},
    f"PUT {V1}/blends/{{blend}}/weights": lambda db, who: {"weights": {who: 3}},
}
ELSEWHERE = {
    f"POST {V1}/setup", f"POST {V1}/join/{{token}}", f"POST {V1}/sessions", f"PUT {V1}/me/password",
    f"POST {V1}/me/leave",
}  # fmt: skip


def test_each_example_of_a_body_is_one_that_is_taken(
    me: TestClient, db: Database, admin: Listener, songs: list[int]
) -> None:
    made = document()
    tried = 0
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            body, key = operation.get("requestBody"), f"{method.upper()} {path}"
            if body is None or "application/json" not in body["content"] or key in ELSEWHERE:
                continue
            name = body["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
            (example,) = made["components"]["schemas"][name]["examples"]
            with db.write() as session:
                url = filled(path, {}, lambda named: MAKERS[named](session, admin.id))
                example = example | (NEEDS[key](session, admin.id) if key in NEEDS else {})
            answer = me.request(method, url, json=example)
            assert answer.status_code < 300, (method, path, answer.text)
            tried += 1
    assert tried >= 18


WEIRD: list[bytes] = [
    b"", b"{", b"[" * 100_000, b'{"artist": NaN, "title": "x"}', b'{"artist": "\\ud800", "title": "x"}', b"\xff",
    b'{"artist": "a\\u0000b", "title": "x"}', b'{"song_id": 9223372036854775808}', b'{"song_id": 1e999}',
    b'{"song_id": ' + b"9" * 5_000 + b"}", b'{"artist": "a", "title": "b", "listened_at": 1e308}', b"null", b"[]",
    b'{"artist": "' + b"x" * 600 + b'", "title": "x"}', b'{"unknown": 1}', b'{"artist": "a", "artist": 5}',
]  # fmt: skip


@pytest.mark.parametrize("body", WEIRD, ids=range(len(WEIRD)))
def test_a_weird_body_is_an_error_in_words_and_nothing_is_written(
    me: TestClient, written: Callable[[], dict[str, int]], body: bytes
) -> None:
    before = written()
    for method, path in [key.split(" ") for key in RULES if key.startswith(("POST /api/v1/lis", "PATCH", "PUT /api"))]:
        url = path.replace("{song_id}", "1").replace("{listen_id}", "1")
        answer = me.request(method, url, content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 404, 422), (method, path, answer.status_code)
        assert answer.json()["message"] and len(answer.json()["message"]) < 300
    assert written() == before


@pytest.mark.slow
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fitting", "unfitting"])
def test_schemathesis_finds_no_5xx_and_no_answer_that_the_document_does_not_name(
    app: FastAPI, me: TestClient, db: Database, admin: Listener, songs: list[int], mode: GenerationMode
) -> None:
    with db.write() as session:
        for song_id in songs[:20]:
            listens.log(session, admin.id, song_id=song_id)
    described = document()
    del described["components"]["securitySchemes"]  # the session below is the way in
    for methods in described["paths"].values():
        for operation in methods.values():
            del operation["security"]
    cookie = browser(app, db, admin).cookies["earshot"]
    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    tried: list[str] = []
    sent = 0
    with served(app) as url:
        schema = schemathesis.openapi.from_dict(described)
        for found in schema.get_all_operations():
            operation = found.ok()

            @settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def attack(case: Any) -> None:
                nonlocal sent
                sent += 1
                answer = case.call(base_url=url, headers=SAME_SITE, cookies={"earshot": cookie})
                asks = (case.operation.method, case.operation.path) == ("post", f"{V1}/sessions")
                assert answer.status_code != 401 or asks, "the way in is open"
                case.validate_response(answer, checks=checks)

            with suppress(Unsatisfiable):  # what takes no values at all cannot be sent wrong ones
                attack()
            tried.append(f"{operation.method.upper()} {operation.path}")
    app.state.earshot.later.wait()
    assert len(tried) >= 80 and sent >= 300
