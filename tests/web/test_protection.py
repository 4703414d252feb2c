"""Who may come in, from where, and with what: every route, every form, every header."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.db import Database
from app.main import create_app
from app.settings import Settings
from app.tables import Listener
from app.web.rules import LINK, OPEN, RULES, TOKEN

# What tests/web/test_access.py proves to be all routes of the app. Those for API tokens have their own protection.
BROWSER = [key.split(" ", 1) for key, rule in RULES.items() if rule is not TOKEN]
PUBLIC = [key.split(" ", 1) for key, rule in RULES.items() if rule in (OPEN, LINK)]


def real(path: str) -> str:
    """A path with its parameters filled in."""
    return re.sub(r"\{(\w+)[^}]*\}", lambda found: "1" if found[1].endswith("_id") else "nonsense", path)


def test_a_stranger_gets_into_nothing_that_is_not_public(
    stranger: TestClient, admin: Listener, written: Callable[[], dict[str, int]]
) -> None:
    before = written()
    json_too = {"accept": "application/json"}
    for method, path in [r for r in BROWSER if r not in PUBLIC]:
        stranger.cookies.clear()
        page = stranger.request(method, real(path), headers={"accept": "text/html"})
        if method == "GET" and (path == "/api/auth/" or not path.startswith("/api/")):
            assert page.status_code == 303 and page.headers["location"].startswith("/login?next=%2F"), path
        else:
            assert page.status_code == 401, path
        answer = stranger.request(method, real(path), headers=json_too)
        assert (answer.status_code, answer.json()["error"]) == (401, "NotSignedIn"), path
        stranger.cookies.set("earshot", "guessed")
        assert stranger.request(method, real(path), headers=json_too).status_code == 401, path
    assert written() == before


ELSEWHERE = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site", "origin": "http://testserver"},
    {"sec-fetch-site": ""},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": ""},
    {"origin": "http://testserver.evil.example"},
    {"origin": "http://testserver@evil.example"},
    {"origin": "http://["},
    {"origin": "\xff"},
    {"referer": "http://testserver/"},
    {},
]


@pytest.mark.parametrize("headers", ELSEWHERE, ids=str)
def test_a_write_from_another_site_is_not_done(
    app: FastAPI, me: TestClient, written: Callable[[], dict[str, int]], headers: dict[str, str]
) -> None:
    before = written()
    client = TestClient(app, raise_server_exceptions=False, cookies={"earshot": me.cookies["earshot"]})
    sent = {name: value.encode("latin-1") for name, value in headers.items()}
    for method, path in [r for r in BROWSER if r[0] != "GET"]:
        assert client.request(method, real(path), headers=sent).status_code == 403, path  # type: ignore[arg-type]
    assert client.get("/listens", headers=sent).status_code == 200, "reading is open"  # type: ignore[arg-type]
    assert written() == before


@pytest.mark.parametrize(
    "headers", [{"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}, {"origin": "http://testserver"}]
)
def test_a_write_from_our_own_pages_is_done(app: FastAPI, me: TestClient, headers: dict[str, str]) -> None:
    client = TestClient(app, follow_redirects=False, cookies={"earshot": me.cookies["earshot"]})
    assert client.post("/listens", data={"artist": "Queen", "title": "39"}, headers=headers).status_code == 303


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/healthz"), ("GET", "/static/style.css"), ("GET", "/nowhere"), ("GET", "/listens"), ("POST", "/login"),
     ("POST", "/nowhere"), ("GET", "/api/songs"), ("PUT", "/listens"), ("GET", "/taste/events")],
)  # fmt: skip
def test_every_answer_carries_the_protecting_headers(stranger: TestClient, method: str, path: str) -> None:
    for headers in ({}, {"sec-fetch-site": "cross-site"}):
        found = stranger.request(method, path, headers=headers).headers
        policy = found["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert found["x-content-type-options"] == "nosniff" and found["x-frame-options"] == "DENY"
        assert found["referrer-policy"] == "same-origin"
        assert path.startswith("/static/") or found["cache-control"] in ("no-store", "no-cache")


@pytest.mark.parametrize(
    ("more", "is_warned"),
    [({"host": "0.0.0.0"}, True), ({"host": "0.0.0.0", "https": True}, False), ({"host": "127.0.0.1"}, False)],
)
def test_plain_http_to_others_is_warned_of_by_name(
    bare: Settings, caplog: pytest.LogCaptureFixture, more: dict[str, object], is_warned: bool
) -> None:
    with TestClient(create_app(bare.model_copy(update=more), warm=False)):
        assert ("plain-http: " in caplog.text) is is_warned


def test_over_https_the_cookie_is_bound_to_the_host(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"https": True}), warm=False)
    with TestClient(app, base_url="https://testserver", follow_redirects=False) as client:
        answer = client.post(
            "/setup", data={"name": "Ana", "password": "a good long password"}, headers={"origin": "https://testserver"}
        )
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-earshot=") and "Secure" in cookie and "Domain" not in cookie
        assert "max-age" in answer.headers["strict-transport-security"]
        assert client.get("/welcome").status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/nowhere", "/listens/x/edit", "/static/nowhere.css", "/static/../app/settings.py", "/static/%2e%2e/rendering.py",
     "/static/%00", "/docs", "/openapi.json", "/%00", "/%ff", "/listens/9999999999999999999999/edit", "/" + "x" * 5000],
)  # fmt: skip
def test_what_is_not_there_is_not_found(me: TestClient, path: str) -> None:
    answer = me.get(path)
    assert answer.status_code in (404, 422) and answer.status_code == (422 if "/x/" in path else 404)
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "FOO", "OPTIONS", "HEAD", "POST"])
def test_wrong_methods_are_refused(me: TestClient, method: str) -> None:
    for path in ("/", "/listens/new", "/healthz", "/static/style.css", "/recommend"):
        assert me.request(method, path).status_code in (200, 405), path


HOSTILE: dict[str, bytes] = {
    "nul": b"a%00b", "surrogate": b"%ED%A0%80", "bad utf-8": b"%FF%FE", "2**63": b"9223372036854775808",
    "huge": b"9" * 5000, "negative": b"-1", "nan": b"NaN", "float": b"1e999", "html": b"%3Cscript%3E",
    "long": b"x" * 50_000,
    "half escape": b"%", "newline": b"a%0Ab", "empty": b"", "bidi": b"%E2%80%AE", "full width": b"%EF%BC%91",
    "json": b"%7B%22a%22%3A1%7D", "path": b"..%2F..%2Fetc%2Fpasswd",
}  # fmt: skip
FIELDS = ["name", "password", "time_zone", "next", "artist", "title", "song_id", "when", "ended", "back", "verdict",
          "version", "genre", "artists"]  # fmt: skip
FORMS = [
    path
    for method, path in BROWSER
    if method == "POST" and path not in ("/logout", "/friends/invite", "/api/v1/invites")
]


@pytest.mark.parametrize("path", FORMS)
def test_hostile_fields_are_never_a_bug_of_ours(me: TestClient, path: str) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    plain = {"artist": b"Queen", "title": b"39", "song_id": b"", "when": b"", "ended": b"played", "verdict": b"love"}
    for hostile, value in HOSTILE.items():
        body = b"&".join(field.encode() + b"=" + value for field in FIELDS if field != "password")
        assert me.post(real(path), content=body, headers=form).status_code < 500, hostile
        for field in plain if path.startswith(("/listens", "/songs")) else ():
            mixed = b"&".join(f.encode() + b"=" + (value if f == field else v) for f, v in plain.items())
            assert me.post(real(path), content=mixed, headers=form).status_code < 500, (field, hostile)


def test_hostile_passwords_are_never_a_bug_of_ours(me: TestClient) -> None:
    for path in ("/login", "/setup", "/join/nonsense"):
        for hostile in ("nul", "surrogate", "long"):
            body = b"name=Ana&password=" + HOSTILE[hostile]
            form = {"content-type": "application/x-www-form-urlencoded"}
            assert me.post(path, content=body, headers=form).status_code in (401, 404, 409, 422), (path, hostile)


PART = b'--x\r\nContent-Disposition: form-data; name="title"'
WEIRD: list[tuple[str, bytes]] = [
    ("application/json", b'{"song_id": NaN}'),
    ("application/json", b"[" * 100_000),
    ("application/json", b"\xff"),
    ("multipart/form-data", b"--x"),
    ("multipart/form-data; boundary=x", PART + b"\r\n\r\nQ"),
    ("multipart/form-data; boundary=x; charset=nonsense", PART + b"\r\n\r\n\xff\r\n--x--"),
    ("multipart/form-data; boundary=x", PART + b'; filename="f"\r\n\r\nQ\r\n--x--'),
    ("multipart/form-data; boundary=x", b"--x\r\nnonsense\r\n\r\n--x--"),
    ("application/x-www-form-urlencoded", b"&=&=&" * 1000),
    ("application/x-www-form-urlencoded", b"a=1&" * 5000),
    ("text/plain", b"artist=Queen&title=39"),
    ("\xff/\xff", b"x"),
    ("", b""),
]


@pytest.mark.parametrize("path", [path for path in FORMS if path != "/welcome"])
def test_weird_bodies_are_refused_and_nothing_is_written(
    me: TestClient, written: Callable[[], dict[str, int]], path: str
) -> None:
    before = written()
    for kind, body in WEIRD:
        headers = {"content-type": kind.encode("latin-1")}
        assert me.post(real(path), content=body, headers=headers).status_code < 500, kind  # type: ignore[arg-type]
    assert written() == before


def test_a_body_of_ten_megabytes_is_refused_with_or_without_its_length(
    me: TestClient, written: Callable[[], dict[str, int]]
) -> None:
    before = written()
    form = {"content-type": "application/x-www-form-urlencoded"}
    for path in FORMS:
        answer = me.post(real(path), content=b"title=" + b"x" * 10_000_000, headers=form)
        assert answer.status_code == 413 or path.endswith(("/taste/retrain", "/taste/cancel", "/import", "/imports")), (
            path
        )  # these read no body, or files
    for path in ("/listens", "/login", "/welcome"):
        streamed = iter([b"title=", *[b"x" * 100_000] * 100])
        assert me.post(path, content=streamed, headers=form).status_code == 413, path
    assert written() == before


@pytest.mark.parametrize(
    "path",
    ["/listens?p=", "/listens/new?q=", "/api/songs?q=", "/recommend?mode=", "/recommend?wish=", "/recommend?part=",
     "/login?next=", "/join/", "/listens/1/edit?x="],
)  # fmt: skip
def test_hostile_queries_are_never_a_bug_of_ours(me: TestClient, path: str) -> None:
    for hostile, value in HOSTILE.items():
        assert me.get(path + value.decode()).status_code < 500, hostile


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"song_id": "9223372036854775808"}, 422),
        ({"song_id": "999999"}, 404),
        ({"song_id": "-1"}, 422),
        ({"song_id": "NaN"}, 422),
        ({"song_id": "１"}, 422),
        ({"artist": "Queen", "title": "a\x00b"}, 422),
        ({"artist": "Queen", "title": "x" * 501}, 422),
        ({"artist": "Queen", "title": ""}, 422),
        ({"artist": "Queen", "title": "39", "when": "2999-01-01T00:00"}, 422),
        ({"artist": "Queen", "title": "39", "when": "1999-01-01T00:00"}, 422),
        ({"artist": "Queen", "title": "39", "when": "soon"}, 422),
        ({"artist": "Queen", "title": "39", "ended": "halfway"}, 422),
        ({}, 422),
    ],
)
def test_a_listen_that_cannot_be_is_refused_in_words_and_nothing_is_written(
    me: TestClient, written: Callable[[], dict[str, int]], fields: dict[str, str], status: int
) -> None:
    before = written()
    answer = me.post("/listens", data=fields, headers={"accept": "application/json"})
    assert answer.status_code == status and answer.json()["message"]
    assert len(answer.json()["message"]) < 300
    assert written() == before


@pytest.mark.parametrize("cookie", ["", "x" * 5000, "\\ud800", "a b", '"', "é"])
def test_a_strange_cookie_is_nobodys(app: FastAPI, stranger: TestClient, admin: Listener, cookie: str) -> None:
    headers = {"cookie": f"earshot={cookie}".encode("latin-1")}
    assert stranger.get("/listens", headers=headers).status_code == 303  # type: ignore[arg-type]


def test_the_health_page_tells_strangers_nothing_but_that_it_is_up(stranger: TestClient, db: Database) -> None:
    assert stranger.get("/healthz").json() == {"status": "ok", "base": "loaded"}
