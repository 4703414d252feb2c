"""A real Chromium against a real `earshot serve`, web process and worker, in a fresh home."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from app.settings import PROJECT

expect.set_options(timeout=60_000)  # a busy machine is slow, not wrong; what is right is seen at once

BASE_LOADS = 300_000  # ms that a first list may take: until the base is loaded, the page says so and asks again

PASSWORD = "correct horse battery"
PHONE = {"width": 360, "height": 780}
DESK = {"width": 1280, "height": 800}


@dataclass(frozen=True)
class Running:
    """A server under test: its address, its home, and the environment that commands need to reach it."""

    url: str
    home: Path
    environment: dict[str, str]

    def shell(self, *arguments: str) -> str:
        """Run an earshot command on the same home; its standard output."""
        command = [sys.executable, "-m", "app", *arguments]
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout


def serve(home: Path) -> Iterator[Running]:
    """Start the process pair on a free port and stop it with the Ctrl-C that a person would press."""
    environment = {**os.environ, "EARSHOT_HOME": str(home), "EARSHOT_PORT": "0", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "serve"], env=environment, stderr=subprocess.PIPE, text=True, cwd=PROJECT
    )
    assert process.stderr is not None
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        if found := re.search(r"running on (http://\S+)", line):
            break
    else:
        pytest.fail("the server did not start:\n" + "".join(lines))
    # Keep reading, or the pipe fills and the server stands still.
    drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
    yield Running(found[1], home, environment)
    if process.poll() == -signal.SIGKILL:
        pass  # the test itself pulled the plug; a server that died any other way fails below
    else:
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0, "Ctrl-C did not end the server cleanly"
    drain.wait(120)
    process.stderr.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, or whichever tools/chromium finds; a clear failure if there is none."""
    found = subprocess.run([PROJECT / "tools" / "chromium"], capture_output=True, text=True)
    if found.returncode != 0:
        pytest.fail(found.stderr)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found.stdout.strip(),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        )
        yield browser
        browser.close()


@pytest.fixture
def running(seed_home: Path, tmp_path: Path) -> Iterator[Running]:
    """A server of its own for one test, with the small catalogue."""
    shutil.copytree(seed_home, tmp_path / "home")
    yield from serve(tmp_path / "home")


@pytest.fixture
def contexts(chromium: Browser) -> Iterator[list[BrowserContext]]:
    """Contexts opened by a test; closed at its end."""
    opened: list[BrowserContext] = []
    yield opened
    for context in opened:
        context.close()


@dataclass
class Visitor:
    """One person's browser. Every error that the page or the console reports is kept."""

    page: Page
    errors: list[str]
    url: str

    def sign_up_first(self, name: str = "Mira") -> None:
        """Be the first listener."""
        self.page.goto(self.url)
        self.page.get_by_label("Your name").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Start my circle").click()
        self.page.wait_for_url("**/welcome")


@pytest.fixture
def visit(chromium: Browser, contexts: list[BrowserContext]) -> object:
    """Open a browser of its own: visit(running, scripts=True, size=DESK)."""

    def open_one(running: Running, *, scripts: bool = True, size: dict[str, int] = DESK) -> Visitor:
        context = chromium.new_context(java_script_enabled=scripts, viewport=size)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        errors: list[str] = []
        page.on("pageerror", lambda problem: errors.append(str(problem)))
        page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
        return Visitor(page, errors, running.url)

    return open_one
