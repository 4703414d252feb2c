"""Retrain to the proof and its survival, the map, two versions compared: as a person does it in a real browser."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, expect

from app.settings import PROJECT
from tests.browser.conftest import DESK, PHONE, Running, Visitor
from tests.browser.test_the_whole_loop import no_sideways_scrolling, write_history

pytestmark = [pytest.mark.browser, pytest.mark.training]

Visit = Callable[..., Visitor]


@contextmanager
def worker_of(running: Running) -> Iterator[None]:
    """Hold the worker still while the page is looked at, and let it go on afterwards."""
    found = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    mine = [int(line.split()[0]) for line in found.splitlines() if "app worker" in line or "app.worker" in line]
    pids = [pid for pid in mine if f"EARSHOT_HOME={running.home}" in environment_of(pid)]
    assert len(pids) == 1, f"{len(pids)} workers serve {running.home}"
    while not held_between_two_writes(pids[0], running):
        os.kill(pids[0], signal.SIGCONT)
    try:
        yield
    finally:
        os.kill(pids[0], signal.SIGCONT)


def held_between_two_writes(pid: int, running: Running) -> bool:
    """Stop a worker; false if that was while it held the database's lock, which nobody would get then."""
    os.kill(pid, signal.SIGSTOP)
    while psutil.Process(pid).status() != psutil.STATUS_STOPPED:
        pass
    with closing(sqlite3.connect(running.home / "data" / "earshot.db", timeout=0)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        database.rollback()
    return True


def environment_of(pid: int) -> list[str]:
    """What a process of ours was started with."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return []


def retrained(page: Page, url: str) -> None:
    """Press the button and wait for the proof."""
    page.goto(f"{url}/taste")
    page.get_by_role("button", name="Retrain my taste").click()
    expect(page.locator("#proof")).to_be_visible(timeout=180_000)


def test_a_waiting_retrain_survives_reload_and_second_tab_and_is_cancelled_in_either(
    running: Running, visit: Visit, tmp_path: Path
) -> None:
    mira = visit(running, size=PHONE)
    mira.sign_up_first()
    write_history(running, tmp_path, "Mira")
    page = mira.page
    with worker_of(running):
        page.goto(f"{running.url}/taste")
        page.get_by_role("button", name="Retrain my taste").click()
        expect(page.locator("[data-phase]")).to_contain_text("Waiting for the worker")
        page.reload()
        expect(page.locator("[data-phase]")).to_contain_text("Waiting for the worker")
        second = page.context.new_page()
        second.goto(f"{running.url}/taste")
        expect(second.locator("[data-phase]")).to_contain_text("Waiting for the worker")
        second.get_by_role("button", name="Cancel").click()
        expect(second.locator("#retrain")).to_contain_text("was cancelled; nothing has changed")
        expect(page.locator("#retrain")).to_contain_text("was cancelled; nothing has changed")
    assert mira.errors == []


@pytest.mark.parametrize(("size", "scripts"), [(PHONE, True), (DESK, False)], ids=["phone", "desk without scripts"])
def test_retrain_to_proof_compare_and_roll_back(
    running: Running, visit: Visit, tmp_path: Path, size: dict[str, int], scripts: bool
) -> None:
    mira = visit(running, size=size, scripts=scripts)
    mira.sign_up_first()
    write_history(running, tmp_path, "Mira")
    page = mira.page
    retrained(page, running.url)
    expect(page.locator("#proof .lead")).to_have_text(re.compile(r"Found \d+ of 6 hidden songs, before \d+\."))
    page.get_by_text("The hidden songs, one by one").click()
    expect(page.locator("#hidden tbody tr")).to_have_count(6)
    expect(page.locator("#hidden svg.places")).to_be_visible()
    expect(page.locator("#facts")).to_contain_text("384 × 384 = 147,456")
    expect(page.locator("#facts svg.matrices")).to_be_visible()
    no_sideways_scrolling(page)

    page.get_by_role("link", name="Compare two lists").click()
    expect(page.locator(".beside section")).to_have_count(2)
    expect(page.locator(".beside section").first.locator("li")).to_have_count(20)
    expect(page.get_by_label("Right")).to_have_value(re.compile(r"^[0-9a-f]{16}$"))
    no_sideways_scrolling(page)
    page.get_by_role("link", name="My taste").first.click()

    for label, live in (("Use the base", "base"), ("Use version 1", "1"), ("Use the base", "base")):
        if page.get_by_role("button", name=label).count():
            page.get_by_role("button", name=label).click()
        expect(page.locator("#versions li.live strong")).to_have_text(live)
    assert mira.errors == []


def test_a_retrain_goes_on_after_the_server_was_killed(running: Running, visit: Visit, tmp_path: Path) -> None:
    mira = visit(running, size=DESK)
    mira.sign_up_first()
    write_history(running, tmp_path, "Mira")
    page = mira.page
    port = running.url.rsplit(":", 1)[1]
    with worker_of(running):
        page.goto(f"{running.url}/taste")
        with page.expect_response("**/taste/events"):  # the page is drawn before its script is there to watch
            page.get_by_role("button", name="Retrain my taste").click()
        expect(page.locator("[data-phase]")).to_contain_text("Waiting for the worker")
        kill_web(running)
    expect(page.locator("[data-detail]")).to_contain_text("does not answer")
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "serve"],
        env={**running.environment, "EARSHOT_PORT": port}, cwd=PROJECT, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        expect(page.locator("#proof")).to_be_visible(timeout=180_000)  # without anybody touching the page
        page.goto(f"{running.url}/recommend")
        expect(page.locator("[data-song]").first).to_be_visible(timeout=180_000)  # the web process has its base by now
        maps = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")
        assert "model.safetensors" in maps and "/scipy/" not in maps  # 30 MB that no base needs (lm/base.py)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def kill_web(running: Running) -> None:
    """SIGKILL the web process, as a power cut would."""
    found = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    for line in found.splitlines():
        pid = int(line.split()[0]) if line.split()[0].isdigit() else 0
        if pid and "app serve" in line and f"EARSHOT_HOME={running.home}" in environment_of(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_the_map_is_zoomed_and_told_by_mouse_and_keyboard(
    running: Running, visit: Visit, tmp_path: Path, size: dict[str, int]
) -> None:
    mira = visit(running, size=size)
    mira.sign_up_first()
    write_history(running, tmp_path, "Mira")
    page = mira.page
    page.goto(f"{running.url}/taste/map")
    picture = page.get_by_role("application", name="Map of your songs", exact=False)
    expect(picture).to_be_visible(timeout=60_000)
    expect(page.locator("[data-rows] tr")).to_have_count(30)
    assert page.locator(".map .overlay .serie-2 .dot").count() == 30
    no_sideways_scrolling(page)

    picture.focus()
    page.keyboard.press("ArrowRight")
    first = page.locator("[data-rows] tr").first
    expect(first).to_have_class("chosen")
    expect(page.locator("[data-tip]")).to_contain_text(first.locator("a").inner_text())
    whole = picture.get_attribute("viewBox")
    page.get_by_role("button", name="Zoom in").click()
    assert picture.get_attribute("viewBox") != whole
    page.get_by_role("button", name="All").click()
    assert picture.get_attribute("viewBox") == whole
    taken = picture.evaluate(
        """map => [{ key: "=", ctrlKey: true }, { key: "-", metaKey: true }, { key: "ArrowLeft", altKey: true }].filter(
            (keys) => !map.dispatchEvent(new KeyboardEvent("keydown", { ...keys, cancelable: true })))"""
    )
    assert taken == [] and picture.get_attribute("viewBox") == whole, "keys of the browser's own"
    page.locator(".map .overlay .serie-2 .dot").nth(4).dispatch_event("pointerenter")
    expect(page.locator("[data-rows] tr").nth(4)).to_have_class("chosen")
    assert mira.errors == []
