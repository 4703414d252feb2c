"""How often one may try: by address and by account, and whose word about the address is believed."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.db import Database
from app.errors import TooManyTries
from app.serving import server_config
from app.settings import Settings
from app.tables import Listener
from app.web import accounts as room
from app.web import audioscrobbler as players
from app.web.limits import LIMITS, Limit, Limiter
from app.web.rules import RULES

GOOD = "a good long password"
FEW = Limit("sign-in", 3600, address=5, account=2)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same limits with small numbers."""
    monkeypatch.setitem(LIMITS, "POST /login", FEW)
    monkeypatch.setattr(room, "LOGIN", FEW)
    monkeypatch.setitem(LIMITS, "POST /taste/retrain", Limit("retrain", 3600, address=5, account=2))


def try_login(client: TestClient | httpx.Client, name: str, **headers: str) -> int:
    """A wrong password for a name."""
    return client.post("/login", data={"name": name, "password": "not the password"}, headers=headers).status_code


def test_an_account_is_tried_a_few_times_only_and_others_are_not_shut_out(
    stranger: TestClient, admin: Listener, ben: Listener
) -> None:
    assert [try_login(stranger, name) for name in ("Ana", "ANA", "ana", "Ben")] == [401, 401, 429, 401]
    refused = stranger.post("/login", data={"name": "Ana", "password": GOOD}, headers={"accept": "application/json"})
    assert refused.status_code == 429 and refused.json()["error"] == "TooManyTries"
    assert 0 < int(refused.headers["retry-after"]) <= 3601 and "minute" in refused.json()["message"]


def test_an_address_tries_a_few_names_only(stranger: TestClient, admin: Listener) -> None:
    assert [try_login(stranger, f"Guess {n}") for n in range(7)] == [401] * 5 + [429] * 2


def test_a_limit_holds_for_tries_at_the_same_time(app: FastAPI, stranger: TestClient, admin: Listener) -> None:
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda n: try_login(stranger, f"Guess {n}"), range(8)))
    assert sorted(codes) == [401] * 5 + [429] * 3


def test_retrains_are_counted_for_the_account(me: TestClient, friend: TestClient) -> None:
    assert [me.post("/taste/retrain").status_code for _ in range(3)] == [409, 409, 429]
    assert friend.post("/taste/retrain").status_code == 409, "her friend has tries of his own"


GUESSED_OR_COSTLY = re.compile(
    r"(POST|PUT) .*/"
    r"(login|v1/sessions|setup|join/.*|invites?|retrain|tokens|auth/|password|settings/delete|leave)"
)


def test_what_is_worth_guessing_or_costly_has_a_limit() -> None:
    unsafe = {key for key in RULES if GUESSED_OR_COSTLY.fullmatch(key) and "{blend}" not in key}
    assert unsafe == set(LIMITS), "a route that guesses or costs needs a line in LIMITS, and a line there a route"


@pytest.mark.parametrize("key", sorted(LIMITS))
def test_every_limit_is_held_by_its_route_for_the_address_and_for_the_account(
    app: FastAPI, me: TestClient, friend: TestClient, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    method, path = key.split(" ")
    url = path.replace("{token}", "none")
    monkeypatch.setitem(LIMITS, key, Limit("x", 3600, address=3, account=2))
    mine = [me.request(method, url).status_code for _ in range(4)]
    theirs = [friend.request(method, url).status_code for _ in range(2)]
    assert [code == 429 for code in mine] == [False, False, True, True], mine
    assert 429 in theirs, "by then one address has tried too often"


def test_a_players_sign_in_is_counted_for_the_address_and_for_the_name(
    stranger: TestClient, admin: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(players, "PLAYER", Limit("x", 3600, address=3, account=2))

    def try_token(name: str) -> tuple[int, int]:
        asked = {"method": "auth.getMobileSession", "username": name, "password": "no token", "format": "json"}
        answer = stranger.post("/2.0/", data=asked)
        return answer.status_code, answer.json()["error"]

    assert [try_token(name) for name in ("Ana", "ana", "ANA", "Ben")] == [(403, 4), (403, 4), (503, 29), (503, 29)]


def test_what_is_no_longer_in_any_window_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_000.0]
    monkeypatch.setattr("app.web.limits.time.monotonic", lambda: clock[0])
    limiter, one = Limiter(), Limit("x", 60, address=1, account=1)
    for n in range(900):
        limiter.count(one, account=f"guess {n}")
    clock[0] += 61
    for n in range(100):
        limiter.count(one, account=f"again {n}")
    assert len(limiter._tries) == 100


def test_a_household_with_ipv6_is_one_address() -> None:
    limiter, one = Limiter(), Limit("x", 3600, address=1, account=1)
    limiter.count(one, address="2001:db8:1:2::1")
    limiter.count(one, address="2001:db8:1:3::1")
    with pytest.raises(TooManyTries):
        limiter.count(one, address="2001:db8:1:2:ffff::9")
    for strange in ("", "nowhere", "fe80::1%eth0", "999.1.1.1"):
        limiter.count(one, address=strange)


@pytest.fixture
def serve(app: FastAPI, settings: Settings) -> Iterator[Callable[[str], httpx.Client]]:
    """A function: the app behind the real server, which trusts the given proxies; gives a client of it."""
    running: list[tuple[uvicorn.Server, threading.Thread, httpx.Client]] = []

    def start(trusted: str) -> httpx.Client:
        config = server_config(app, settings.model_copy(update={"trusted_proxies": trusted, "port": 0}))
        config.log_level = "warning"
        server = uvicorn.Server(config)
        ready = threading.Event()
        real_startup = server.startup

        async def startup(*args: object, **kwargs: object) -> None:
            await real_startup(*args, **kwargs)  # type: ignore[arg-type]
            ready.set()

        server.startup = startup  # type: ignore[method-assign]
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        assert ready.wait(30)
        port = server.servers[0].sockets[0].getsockname()[1]
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"sec-fetch-site": "same-origin"})
        running.append((server, thread, client))
        return client

    yield start
    for server, thread, client in running:
        client.close()
        server.should_exit = True
        thread.join(30)


def test_x_forwarded_for_is_believed_from_a_configured_proxy(
    serve: Callable[[str], httpx.Client], db: Database, admin: Listener, settings: Settings
) -> None:
    client = serve("127.0.0.1")
    codes = [try_login(client, f"Guess {n}", **{"x-forwarded-for": f"192.0.2.{n}"}) for n in range(7)]
    assert codes == [401] * 7, "seven people come through one proxy"
    spoofed = [try_login(client, f"More {n}", **{"x-forwarded-for": f"198.51.100.{n}, 192.0.2.99"}) for n in range(7)]
    assert spoofed == [401] * 5 + [429] * 2, "only what the proxy itself appended counts"
    client.post("/setup", data={"name": "Eve", "password": GOOD}, headers={"x-forwarded-for": "192.0.2.7"})
    stored = [file for file in settings.home.rglob("*") if file.is_file()]
    assert len(stored) > 3 and not [f for f in stored if re.search(rb"192\.0\.2\.|198\.51\.100\.", f.read_bytes())]


@pytest.mark.parametrize("trusted", ["", "192.0.2.1"])
def test_x_forwarded_for_is_not_believed_from_anybody_else(
    serve: Callable[[str], httpx.Client], db: Database, admin: Listener, trusted: str
) -> None:
    client = serve(trusted)
    codes = [try_login(client, f"Guess {n}", **{"x-forwarded-for": f"192.0.2.{n}"}) for n in range(7)]
    assert codes == [401] * 5 + [429] * 2
