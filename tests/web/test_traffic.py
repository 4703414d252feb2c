"""What is asked of the server as a whole: health, back-pressure, slow bodies, log lines and metrics."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import urllib.request
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from app import logs
from app.db import Database
from app.errors import BadInput
from app.main import create_app
from app.services import accounts
from app.serving import serve_metrics
from app.settings import Settings
from app.web.traffic import Traffic
from tests.web.conftest import SAME_SITE

GOOD = "a good long password"


@pytest.fixture
def pages(bare: Settings) -> Iterator[TestClient]:
    """The app without a base."""
    with TestClient(
        create_app(bare, warm=False), raise_server_exceptions=False, follow_redirects=False, headers=SAME_SITE
    ) as client:
        yield client


def test_ready_is_who_has_a_base_and_the_newest_schema(pages: TestClient, bare_db: Database) -> None:
    answer = pages.get("/readyz")
    assert answer.status_code == 503 and answer.json() == {"ready": False, "missing": ["base"]}
    assert int(answer.headers["retry-after"]) > 0 and pages.get("/healthz").status_code == 200
    with bare_db.write() as session:
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    assert pages.get("/readyz").json()["missing"] == ["base", "migration"]


def test_ready_once_everything_is_there(stranger: TestClient) -> None:
    assert stranger.get("/readyz").json() == {"ready": True, "missing": []}


# -- log lines --------------------------------------------------------------------------------------


SECRETS = ("Zyxosong", "Zyxoname", "zyxotoken", "Zyxopass-word-9")


def test_the_log_has_no_title_no_name_no_token_and_no_address(
    app: FastAPI, me: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # the test's own client
    title, name, token, password = SECRETS

    @app.get("/bug/{what}")
    def bug(what: str) -> None:
        raise RuntimeError

    from app.web.rules import OPEN, RULES

    RULES["GET /bug/{what}"] = OPEN
    try:
        me.get(f"/bug/{title}")
    finally:
        del RULES["GET /bug/{what}"]
    me.post("/listens", data={"artist": name, "title": title})
    me.post("/listens", data={"artist": name, "title": "x" * 600 + title})
    me.get(f"/recommend?wish={title}")
    me.get(f"/join/{token}")
    me.get(f"/artists/{name}")
    me.get(f"/{title}")
    me.post("/login", data={"name": name, "password": password})
    lines = "\n".join(logs.AsText().format(record) for record in caplog.records)
    assert "POST /listens 303" in lines and "GET /join/{token} 404" in lines and "a bug on /bug/{what}" in lines
    for secret in (*SECRETS, "testclient", me.cookies["earshot"]):
        assert secret.casefold() not in lines.casefold(), secret


def test_an_error_of_the_database_is_logged_without_its_values(bare_db: Database) -> None:
    from sqlalchemy import text

    with pytest.raises(Exception) as caught, bare_db.write() as session:
        session.execute(text("INSERT INTO nowhere VALUES (:title)"), {"title": SECRETS[0]})
    assert SECRETS[0] not in str(caught.value)


def test_each_answer_has_an_id_that_its_log_lines_have_too(pages: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[dict[str, str]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(json.loads(logs.AsJson().format(record)))

    logger = logging.getLogger("earshot.requests")
    keep = Keep()
    logger.addHandler(keep)
    logger.setLevel(logging.INFO)
    try:
        ids = [pages.get("/login").headers["x-request-id"] for _ in range(2)]
    finally:
        logger.removeHandler(keep)
        logger.setLevel(logging.NOTSET)
    assert ids[0] != ids[1] and [line["request"] for line in seen] == ids
    assert seen[0]["level"] == "info" and seen[0]["message"].startswith("GET /login 303 in ")


# -- metrics ----------------------------------------------------------------------------------------


def test_metrics_are_served_on_their_own_address_only_and_name_no_path_as_asked(
    pages: TestClient, bare: Settings
) -> None:
    server, thread = serve_metrics(bare.model_copy(update={"metrics": "127.0.0.1:0"}))
    try:
        pages.get("/join/zyxotoken")
        pages.request("ZYXO", "/")
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
    assert 'earshot_requests_total{method="GET",route="/join/{token}",status="404"}' in text
    assert "earshot_request_seconds_bucket" in text and "zyxo" not in text.lower()
    assert pages.get("/metrics").status_code == 404, "not among the pages"


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:", "127.0.0.1:99999", "256.0.0.1:1"])
def test_an_address_that_cannot_be_is_named(bare: Settings, address: str) -> None:
    with pytest.raises(BadInput, match="EARSHOT_METRICS"):
        serve_metrics(bare.model_copy(update={"metrics": address}))


# -- too many, too slow -----------------------------------------------------------------------------


def _scope(path: str = "/login") -> Scope:
    return {"type": "http", "method": "GET", "path": path, "headers": [(b"accept", b"application/json")],
            "query_string": b"", "app": None}  # fmt: skip


async def _ask(app: Traffic, receive: Receive, path: str = "/login") -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await app(_scope(path), receive, send)
    return sent


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def test_more_than_can_be_answered_at_once_are_asked_to_come_again() -> None:
    async def busy() -> tuple[list[Message], list[Message], list[Message]]:
        go = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/login":
                await go.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"done"})

        traffic = Traffic(slow, 2, 30)
        first = [asyncio.create_task(_ask(traffic, _nothing)) for _ in range(2)]
        await asyncio.sleep(0)
        refused, health = await _ask(traffic, _nothing), await _ask(traffic, _nothing, "/healthz")
        go.set()
        answered = [message for sent in await asyncio.gather(*first) for message in sent]
        later = await _ask(traffic, _nothing)
        return refused, health, answered + later

    turned_away = REGISTRY.get_sample_value("earshot_requests_turned_away_total") or 0
    refused, health, answered = asyncio.run(busy())
    assert refused[0]["status"] == 503 and b"TooBusy" in refused[1]["body"]
    assert dict(refused[0]["headers"])[b"retry-after"] == b"5"
    assert health[0]["status"] == 200, "health is asked most when everything else is busy"
    assert [m["status"] for m in answered if m["type"] == "http.response.start"] == [200] * 3
    assert REGISTRY.get_sample_value("earshot_requests_turned_away_total") == turned_away + 1


def test_a_body_that_does_not_come_is_given_up(bare: Settings) -> None:
    app = create_app(bare.model_copy(update={"body_seconds": 1}), warm=False)

    async def slowly() -> list[Message]:
        sent: list[Message] = []
        parts = iter([b"name=", b"Ana"])

        async def receive() -> Message:
            part = next(parts, None)
            if part is None:
                await asyncio.Event().wait()
            return {"type": "http.request", "body": part, "more_body": True}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": "POST", "path": "/login", "raw_path": b"/login", "query_string": b"",
            "headers": [(b"host", b"x"), (b"sec-fetch-site", b"same-origin"), (b"accept", b"application/json"),
                        (b"content-type", b"application/x-www-form-urlencoded")],
            "client": ("192.0.2.1", 1), "server": ("x", 80), "scheme": "http", "http_version": "1.1", "root_path": "",
        }  # fmt: skip
        await app(scope, receive, send)
        return sent

    sent = asyncio.run(slowly())
    assert sent[0]["status"] == 408


class Quick(asyncio.SelectorEventLoop):
    """Its clock goes at once to whatever is due next: nobody waits."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead

    def _run_once(self) -> None:
        due = [handle.when() for handle in self._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
        if due and not self._ready:  # type: ignore[attr-defined]
            self.ahead += max(0.0, min(due) - self.time())
        super()._run_once()  # type: ignore[misc]


@pytest.mark.parametrize(
    ("path", "every", "size", "parts", "arrives"),
    [
        ("/import", 20, 10, 5, True),  # slower than the limit in all, and never silent
        ("/api/v1/imports", 20, 10, 5, True),
        ("/import", 20, 1 << 20, 200, True),
        ("/import", 31, 1 << 20, 5, False),  # silent
        ("/import", 20, 1, 200, False),  # a byte now and then
        ("/login", 20, 10, 5, False),
    ],
)
def test_only_a_file_may_come_slowly_and_never_stand_still(
    path: str, every: float, size: int, parts: int, arrives: bool
) -> None:
    async def upload() -> int:
        left, got = parts, 0

        async def receive() -> Message:
            nonlocal left
            await asyncio.sleep(every)
            left -= 1
            return {"type": "http.request", "body": bytes(size), "more_body": left > 0}

        async def read(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal got
            more = True
            while more:
                message = await receive()
                got, more = got + len(message["body"]), message["more_body"]

        async def send(message: Message) -> None:
            raise AssertionError(message)

        await Traffic(read, 2, 30)(_scope(path) | {"method": "POST"}, receive, send)
        return got

    with asyncio.Runner(loop_factory=Quick) as runner:
        if arrives:
            assert runner.run(upload()) == size * parts
        else:
            with pytest.raises(HTTPException, match="took too long"):
                runner.run(upload())


def test_waiting_for_the_other_side_to_go_away_is_not_limited() -> None:
    async def watch() -> Message:
        gone = asyncio.Event()
        messages = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        seen: list[Message] = []

        async def stream(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            asyncio.get_running_loop().call_later(0.2, gone.set)
            seen.append(await receive())

        await _ask(Traffic(stream, 2, 0.05), receive)
        return seen[0]

    assert asyncio.run(watch())["type"] == "http.disconnect"


def test_many_sign_ins_at_once_are_answered_or_asked_to_come_again(bare: Settings, bare_db: Database) -> None:
    with bare_db.write() as session:
        accounts.first_listener(session, "Ana", GOOD)
    app, codes, start = create_app(bare, warm=False), [], threading.Barrier(12)
    with TestClient(app, follow_redirects=False, headers=SAME_SITE) as client:

        def sign_in() -> None:
            start.wait(30)
            codes.append(client.post("/login", data={"name": "Ana", "password": GOOD}).status_code)

        threads = [threading.Thread(target=sign_in) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert codes == [303] * 12


class Unlucky(Exception):
    """A bug whose words hold what was sent."""


@pytest.mark.parametrize("form", [logs.AsText(), logs.AsJson()], ids=["text", "json"])
def test_a_bug_is_logged_with_its_place_and_kind_and_without_its_words(
    caplog: pytest.LogCaptureFixture, form: logging.Formatter
) -> None:
    try:
        try:
            raise OSError(28, f"no room for {SECRETS[0]}", f"/songs/{SECRETS[1]}")
        except OSError as problem:
            raise Unlucky(f"{SECRETS[0]} by {SECRETS[1]}") from problem
    except Unlucky as problem:
        logging.getLogger("earshot").error("a bug", exc_info=problem)
    (line,) = [form.format(record) for record in caplog.records]
    assert "Unlucky" in line and "No space left on device" in line and "test_traffic.py" in line
    assert not any(secret in line for secret in SECRETS)
