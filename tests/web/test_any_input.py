"""Whatever is sent to any route that takes something, the answer is never a bug of ours and never half a write.

Routes and the names of what they take come from the app itself; values are drawn from what breaks programs: as many
for each route as tests/inputs.py says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_from_bytes, urlencode

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text
from starlette.testclient import TestClient

from app.db import Database
from app.tables import Listener, Table
from app.web.limits import LIMITS
from app.web.rules import RULES, TOKEN
from tests.inputs import A_ROUTE

pytestmark = pytest.mark.slow

TABLES = [table for table in Table.metadata.sorted_tables if table.name != "sessions"]
HOSTILE = [
    b"", b" ", b"\x00", b"a\x00b", b"\xed\xa0\x80", b"\xff\xfe", b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-0",
    b"9223372036854775807", b"9223372036854775808", b"-9223372036854775809", b"9" * 400, "１".encode(), b"0x10",
    b"true", b"null", b"[]", b"{}", b'{"a":1,"a":2}', b"[" * 5000, b"../../etc/passwd", b"<script>", b"%", b"%00",
    b"'; DROP TABLE songs; --", b"=cmd|'/c calc'!A1", "\u202e\ufeff\u2028".encode(), "🎺".encode() * 200, b"x" * 70_000,
    b"2024-01-01T00:00", b"0001-01-01T00:00", b"9999-12-31T23:59:59+14:00", b"love", b"circle", b"1970s", b"1",
]  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(HOSTILE), st.binary(max_size=40), st.text(max_size=20).map(lambda s: s.encode("utf-8", "replace"))
)
KINDS = st.sampled_from(
    ["application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=x", "text/plain", "",
     "application/x-www-form-urlencoded; charset=utf-16", "application/json; charset=nonsense", "multipart/form-data"]
)  # fmt: skip


class Rows:
    """How many rows each table has, but that of sessions; counted anew only when somebody has committed something."""

    def __init__(self, opened: Database) -> None:
        self.opened, self.version, self.counts = opened, -1, [0]
        self.watching = opened.engine.connect()

    def __call__(self) -> list[int]:
        version = self.watching.exec_driver_sql("PRAGMA data_version").scalar_one()
        self.watching.rollback()
        if version != self.version:
            counted = [select(func.count()).select_from(table).scalar_subquery() for table in TABLES]
            with self.opened.read() as session:
                self.counts, self.version = list(session.execute(select(*counted)).one()), version
        return self.counts


@pytest.fixture
def rows(db: Database) -> Iterator[Rows]:
    """A function: the counts now."""
    made = Rows(db)
    yield made
    made.watching.close()


def names(route: object, *kinds: str) -> list[str]:
    """Names of what a route takes in path, query or body."""
    dependant = route.dependant  # type: ignore[attr-defined]
    return [p.alias for kind in kinds for p in getattr(dependant, f"{kind}_params")]


def taking(app: FastAPI) -> list[tuple[str, str, list[str], list[str]]]:
    """(method, path, path names, other names) of each route for browsers that takes anything."""
    found = []
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, APIRoute):
            inside, others = names(context.original_route, "path"), names(context.original_route, "query", "body")
            for method in sorted(context.methods or ()):
                if RULES.get(f"{method} {context.path}") is not TOKEN and (inside or others or method != "GET"):
                    found.append((method, str(context.path), inside, others))
    return found


@pytest.fixture
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """No limit on tries, which would answer before the route does."""
    for key in list(LIMITS):
        monkeypatch.delitem(LIMITS, key)


@pytest.mark.usefixtures("unlimited")
def test_any_values_in_any_route_are_answered(
    app: FastAPI, me: TestClient, db: Database, admin: Listener, rows: Rows
) -> None:
    session = me.cookies["earshot"]
    routes = [route for route in taking(app) if route[1] not in ("/logout", "/taste/events")]
    assert len(routes) > 20

    @settings(max_examples=A_ROUTE * len(routes), deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.data())
    def try_one(data: st.DataObject) -> None:
        method, path, inside, others = data.draw(st.sampled_from(routes))
        for name in inside:
            value = quote_from_bytes(data.draw(VALUES), safe="")[:2000]
            path = path.replace(f"{{{name}}}", value).replace(f"{{{name}:path}}", value)
        fields = [(name, data.draw(VALUES)) for name in others for _ in range(data.draw(st.integers(0, 2)))]
        me.cookies.clear()
        me.cookies.set("earshot", session)
        headers = {"accept": data.draw(st.sampled_from(["application/json", "text/html", "*/*"]))}
        before = rows()
        if method == "GET":
            answer = me.get(f"{path}?{urlencode(fields)}"[:60_000], headers=headers)
        else:
            body = data.draw(st.one_of(st.just(urlencode(fields).encode()), VALUES))
            answer = me.request(method, path, content=body, headers={**headers, "content-type": data.draw(KINDS)})
        assert answer.status_code < 500, (method, path[:200], answer.text[:300])
        assert answer.status_code < 400 or rows() == before, f"{method} {path[:200]} was refused and yet wrote"

    try_one()
    with db.read() as after:
        assert after.scalar(text("PRAGMA integrity_check")) == "ok"
        assert after.execute(text("PRAGMA foreign_key_check")).all() == []


# What a browser or proxy says beside the body. What says that it is our own page stays, else nothing would be reached.
SAID = [
    "accept", "accept-encoding", "accept-language", "authorization", "content-length", "content-type", "cookie",
    "expect", "host", "if-modified-since", "if-none-match", "last-event-id", "origin", "range", "referer",
    "transfer-encoding", "upgrade", "user-agent", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
    "x-request-id",
]  # fmt: skip
WORDS = st.one_of(
    st.sampled_from([b"", b" ", b"\xff\xfe", b"x" * 9_000, b"[", b"[::1", b"a b", b"a/b?c#d", b"evil.example:99999",
                     b"\xe2\x80\xae", b"bytes=0-0", b"bytes=9-1,-1,x", b"bytes=0-" + b"9" * 40, b"Token",
                     b"Bearer \xff", b"text/html; charset=\xff", b"gzip;q=NaN", b"-1", b"9" * 40, b"chunked",
                     b"W/\"", b"=;=;earshot", b"earshot=\xff; earshot=", b"Thu, 99 Foo 2024", b"100-continue", b"h2c"]),
    st.binary(max_size=20).map(lambda raw: bytes(byte for byte in raw if byte not in b"\r\n\0")),
)  # fmt: skip


@pytest.mark.usefixtures("unlimited")
def test_any_headers_are_answered(app: FastAPI, me: TestClient, rows: Rows) -> None:
    session = me.cookies["earshot"]
    skipped = ("/logout", "/settings/delete", "/me/leave", "/taste/events")
    routes = [(m, str(c.path)) for c in iter_route_contexts(app.routes) for m in sorted(getattr(c, "methods", 0) or ())]
    routes = [(method, path) for method, path in routes if not path.endswith(skipped)]
    me.cookies.clear()

    @settings(max_examples=A_ROUTE * 10, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.data())
    def try_one(data: st.DataObject) -> None:
        method, path = data.draw(st.sampled_from(routes))
        url = quote(path.replace("{", "").replace("}", "").replace(":path", ""))
        said = data.draw(st.dictionaries(st.sampled_from(SAID), WORDS, max_size=4))
        sent = {"cookie": f"earshot={session}".encode(), "sec-fetch-site": b"same-origin"} | said
        before = rows()
        answer = me.request(method, url, headers=sent)  # type: ignore[arg-type]
        assert answer.status_code < 500, (method, path, said, answer.text[:300])
        assert answer.status_code < 400 or rows() == before, f"{method} {path} was refused and yet wrote"

    try_one()


DEEP: dict[str, Callable[[], bytes]] = {
    "deep lists": lambda: b"[" * 100_000,
    "deep objects": lambda: b'{"a":' * 100_000,
    "deep and closed": lambda: b"[" * 100_000 + b"]" * 100_000,
    "five megabytes": lambda: b'{"a":"' + b"x" * 5_000_000 + b'"}',
    "NaN": lambda: b'{"song_id": NaN, "n": -Infinity}',
    "surrogate": lambda: b'{"title": "\\ud800"}',
    "2**63": lambda: b'{"song_id": 9223372036854775808}',
    "a huge number": lambda: b'{"song_id": ' + b"9" * 10_000 + b"}",
    "the same key twice": lambda: b'{"title": "a", "title": "b"}',
    "another encoding": lambda: '{"title": "ä"}'.encode("utf-16"),
}


@pytest.mark.usefixtures("unlimited")
@pytest.mark.parametrize("name", sorted(DEEP))
def test_json_that_breaks_readers_breaks_no_route(
    app: FastAPI, me: TestClient, written: Callable[[], dict[str, int]], name: str
) -> None:
    before, body = written(), DEEP[name]()
    for method, path, _, _ in taking(app):
        if method != "GET" and path not in ("/logout", "/friends/invite", "/api/v1/invites", "/welcome"):
            url = quote(path.replace("{", "").replace("}", "").replace(":path", ""))
            answer = me.request(method, url, content=body, headers={"content-type": "application/json"})
            assert answer.status_code < 500, (path, answer.text[:200])
    assert written() == before
