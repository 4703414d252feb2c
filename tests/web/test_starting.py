"""What happens first when the server starts: pages, then the base."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from app import main
from app.db import Database
from app.errors import BaseMissing
from app.lm.engine import Engine
from app.main import LazyEngine, create_app
from app.services import examining
from app.services.examining import Finding
from app.settings import Settings


def loading() -> list[threading.Thread]:
    """Threads that load the base, or will."""
    return [thread for thread in threading.enumerate() if thread.name == "load-base"]


def test_pages_come_before_the_base_and_a_stop_calls_it_off(bare: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "_FIRST_PAGE_SECONDS", 3600.0)
    asked: list[None] = []

    def opener() -> Engine:
        asked.append(None)
        raise BaseMissing("no base here")

    with TestClient(create_app(bare, engine=LazyEngine(bare, opener)), base_url="http://localhost") as client:
        assert client.get("/setup").status_code == 200
        assert asked == [] and len(loading()) == 1
    for thread in loading():
        thread.join(10)
    assert asked == [] and loading() == []


def test_the_base_is_loaded_without_anybody_asking(bare: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "_FIRST_PAGE_SECONDS", 0.0)
    asked = threading.Event()

    def opener() -> Engine:
        asked.set()
        raise BaseMissing("no base here")

    with TestClient(create_app(bare, engine=LazyEngine(bare, opener)), base_url="http://localhost"):
        assert asked.wait(30)


def test_a_stop_lets_a_load_under_way_end(bare: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ended amid it would be aborted by torch, not end cleanly."""
    monkeypatch.setattr(main, "_FIRST_PAGE_SECONDS", 0.0)
    begun, called_off, order = threading.Event(), threading.Event(), list[str]()

    def opener() -> Engine:
        begun.set()
        assert called_off.wait(30)
        order.append("load ended")
        raise BaseMissing("no base here")

    def cancel(timer: threading.Timer) -> None:
        timer.finished.set()
        called_off.set()

    monkeypatch.setattr(threading.Timer, "cancel", cancel)
    close = main.Runner.close
    monkeypatch.setattr(main.Runner, "close", lambda runner: (order.append("closed"), close(runner)))
    with TestClient(create_app(bare, engine=LazyEngine(bare, opener)), base_url="http://localhost"):
        assert begun.wait(30)
    assert order == ["load ended", "closed"] and loading() == []


def test_a_stop_ends_the_look_through_adapters(
    bare: Settings, bare_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be thousands, and whoever pressed Ctrl-C waits."""
    lazy, looking, looked = LazyEngine(bare), threading.Event(), list[int]()
    well = Finding("adapter", True, "whole")

    def adapters(*_: object) -> Iterator[Finding]:
        for number in range(3):
            looked.append(number)
            looking.set()
            assert lazy._stopping.wait(30)
            yield well

    monkeypatch.setattr(examining, "vectors", lambda _: well)
    monkeypatch.setattr(examining, "adapters", adapters)
    monkeypatch.setattr(LazyEngine, "get", lambda _: None)
    timer = lazy.warm(bare_db, 0.0)
    assert looking.wait(30)
    lazy.stop(timer)
    assert looked == [0] and not timer.is_alive()
