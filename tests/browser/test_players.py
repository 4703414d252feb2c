"""Real clients scrobble, and the page that is open shows it by itself."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme
from playwright.sync_api import Route, expect

from tests.browser.conftest import PHONE, Running, Visitor
from tests.clients.conftest import example

pytestmark = pytest.mark.browser

Visit = Callable[..., Visitor]


def _pipe(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def https_front(url: str, certificate: Path) -> Iterator[int]:
    """What a proxy before the server does: HTTPS outside, HTTP inside; its port."""
    inside = (urlsplit(url).hostname or "", urlsplit(url).port or 0)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    outside = socket.create_server(("localhost", 0))

    def serve() -> None:
        with suppress(OSError):  # closing the socket ends it
            while True:
                raw, _ = outside.accept()
                threading.Thread(target=connect, args=(raw,), daemon=True).start()

    def connect(raw: socket.socket) -> None:
        with (
            suppress(OSError),
            context.wrap_socket(raw, server_side=True) as client,
            socket.create_connection(inside) as server,
        ):
            back = threading.Thread(target=_pipe, args=(server, client))
            back.start()
            _pipe(client, server)
            back.join()

    threading.Thread(target=serve, daemon=True).start()
    yield outside.getsockname()[1]
    outside.close()


def run(program: str, **environment: str) -> None:
    """Run a client's program; what it complains of fails the test."""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_scrobble_of_each_real_client_appears_in_the_open_page(
    running: Running, visit: Visit, tmp_path: Path
) -> None:
    mira = visit(running, size=PHONE)
    mira.sign_up_first()
    made = json.loads(running.shell("token", "add", "Mira", "--scope", "submit", "--scope", "read", "--json"))
    who = {"EARSHOT_TOKEN": made["token"], "EARSHOT_NAME": "Mira"}
    page = mira.page
    page.goto(running.url)
    expect(page.locator("#lately")).to_contain_text("Nothing logged yet")
    page.evaluate("() => { window.stillTheSamePage = true; }")

    run(example("liblistenbrainz"), EARSHOT_URL=running.url, **who)
    expect(page.locator("#lately")).to_contain_text("Sinnerman")
    expect(page.locator("#now")).to_contain_text("Sinnerman")

    authority, server = trustme.CA(), tmp_path / "server.pem"
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(server))
    with https_front(running.url, server) as port:
        run(
            example("pylast"), EARSHOT_HOST_AND_PORT=f"localhost:{port}",
            SSL_CERT_FILE=str(tmp_path / "authority.pem"), **who,
        )  # fmt: skip
    expect(page.locator("#lately")).to_contain_text("Feeling Good")
    expect(page.locator("#now")).to_contain_text("Feeling Good")
    assert page.evaluate("() => window.stillTheSamePage"), "nobody had to reload"
    assert mira.errors == []


def test_the_open_page_outlives_a_busy_server_and_shows_the_newest_answer(running: Running, visit: Visit) -> None:
    mira = visit(running)
    mira.sign_up_first()
    page = mira.page
    answers: list[str] = []  # of the pages that the script fetched
    held: list[Route] = []
    openings: list[str] = []

    def events(route: Route) -> None:
        """Busy; then two words shortly after one another; then, once both were asked for, a third."""
        openings.append("503" if not openings else "two words" if "two words" not in openings else "a third")
        if openings[-1] == "503":
            route.fulfill(status=503, body="busy")
            return
        words = "data: one\n\ndata: two\n\n"
        if openings[-1] == "a third":
            words = "data: three\n\n"
            for late in held:
                late.fulfill(content_type="text/html", body='<p id="circle">answer 1</p>')
            held.clear()
        # A browser opens again by itself soon after the end of a stream.
        route.fulfill(content_type="text/event-stream", body=f"retry: 200\n{words}")

    def home(route: Route) -> None:
        if route.request.resource_type != "fetch":
            route.continue_()
            return
        answers.append(f"answer {len(answers) + 1}")
        if len(answers) == 1:
            held.append(route)
        elif len(answers) == 3:
            route.fulfill(status=503, body="busy")
        else:
            other = "circle" if len(answers) == 2 else "lately"
            route.fulfill(content_type="text/html", body=f'<p id="{other}">{answers[-1]}</p>')

    page.route("**/live/events", events)
    page.route(f"{running.url}/", home)
    page.goto(running.url)
    expect(page.locator("#lately")).to_have_text("answer 4")  # of the third word, whose first answer was no good
    expect(page.locator("#circle")).to_have_text("answer 2")
    assert openings[:3] == ["503", "two words", "a third"]


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_token_is_made_seen_once_used_and_revoked_in_the_browser(
    running: Running, visit: Visit, scripts: bool
) -> None:
    mira = visit(running, scripts=scripts)
    mira.sign_up_first()
    page = mira.page
    page.goto(f"{running.url}/settings/tokens")
    page.get_by_label("Device or program").fill("Phone")
    page.get_by_role("button", name="Make a token").click()
    token = page.get_by_label("New token").input_value()
    expect(page.locator(".players")).to_contain_text(f"{running.url}/1/submit-listens")
    run(example("liblistenbrainz").split("for listen in")[0], EARSHOT_URL=running.url, EARSHOT_TOKEN=token)
    page.goto(running.url)
    expect(page.locator("#lately")).to_contain_text("Sinnerman")
    page.goto(f"{running.url}/settings/tokens")
    expect(page.locator("main")).to_contain_text("Phone may submit")
    assert token not in page.content(), "it is shown once"
    page.get_by_role("button", name="Revoke Phone").click()
    expect(page.locator("main")).not_to_contain_text("Phone may submit")
    with pytest.raises(AssertionError, match="InvalidAuthToken"):
        run(example("liblistenbrainz"), EARSHOT_URL=running.url, EARSHOT_TOKEN=token, EARSHOT_NAME="Mira")
