"""Somebody who took part in the circle's adapter deletes their account: neither files nor what was learnt stay."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
from safetensors.torch import load_file
from sqlalchemy import select, update
from starlette.testclient import TestClient

from app import upkeep
from app.db import Database
from app.lm.circle import train_circle
from app.lm.engine import Engine
from app.lm.store import AdapterFolder
from app.main import KINDS, create_app
from app.services import accounts, catalogue, circle_adapter, listens, retraining
from app.settings import Settings
from app.tables import Job, Listener, Song
from app.tables_circle import CircleMember, CircleVersion
from app.worker import Worker
from tests.upkeep.conftest import contents
from tests.upkeep.test_leaving import CANARY, found_in
from tests.web.conftest import SAME_SITE, Loaded, browser

PASSWORD = "a good long password"
SONGS = 12


@pytest.fixture
def circle(db: Database) -> dict[str, str]:
    """Ids of a leaver, who plays songs that only they brought, and of two who stay; all three take part."""
    found = {}
    with db.write() as session:
        known: Sequence[int] = session.scalars(select(Song.id).order_by(Song.id).limit(2 * SONGS)).all()
        for at, name in enumerate(("Ana", "Ben", f"{CANARY} Person")):
            who = accounts.add_listener(session, name, PASSWORD, is_admin=name == "Ana")
            found[name.split()[-1]] = who.id
            for n in range(SONGS):
                if name.startswith(CANARY):
                    listens.log(session, who.id, artist=CANARY, title=f"{CANARY} song {n}", at=1_700_000_000 + n)
                else:
                    listens.log(session, who.id, song_id=known[SONGS * at + n], at=1_700_000_000 + n)
            circle_adapter.join(session, who.id, SONGS)
        retraining.request(session, found["Person"], SONGS)
    return found


def learnt(folder: AdapterFolder) -> list[bytes]:
    """A piece of each of an adapter's matrices as files hold it."""
    return [tensor.numpy().tobytes()[:256] for tensor in load_file(folder.weights).values()]


def holding(home: Path, pieces: list[bytes]) -> list[str]:
    """Files below a home that hold one of some pieces of numbers."""
    return [name for name, data in contents(home).items() if any(piece in data for piece in pieces)]


def open_to_others(home: Path) -> list[str]:
    """Files that others on this machine could read: neither they nor a folder above them, below the home, is closed."""
    found = []
    for file in home.rglob("*"):
        way = [file, *(above for above in file.parents if home in above.parents)]
        if file.is_file() and all(step.stat().st_mode & 0o044 for step in way):
            found.append(file.relative_to(home).as_posix())
    return found


@pytest.mark.training
def test_nothing_of_the_leaver_is_left_in_any_file_and_the_circle_learns_again_without_them(
    settings: Settings, db: Database, engine: Engine, circle: dict[str, str]
) -> None:
    leaver = circle["Person"]
    worker = Worker(db, engine.store, lambda: engine, KINDS, lambda opened: upkeep.doings(db, settings, opened, KINDS))
    while worker.once():
        pass
    with db.write() as session:
        session.execute(update(CircleVersion).values(promoted=True))  # whatever the gate made of so few songs
        old = session.scalars(select(CircleVersion)).one()
        assert leaver in session.scalars(select(CircleMember.listener_id)).all() and old.members == 3
        (own,) = retraining.versions(session, leaver)
        texts = catalogue.texts(session, KINDS.song_text, session.scalars(select(Song.id)).all())
        brought = [song for song, text in texts if CANARY in text]
    snapshot = engine.vectors.snapshot()
    planted = learnt(engine.store.folder(engine.circle, old.id)) + learnt(engine.store.folder(leaver, own.id))
    planted += [snapshot.vectors[[snapshot.row_of[song]]].tobytes()[:256] for song in brought]
    assert len(brought) == SONGS and found_in(settings.home) and len(holding(settings.home, planted)) >= 3

    assert open_to_others(settings.home) == []

    app = create_app(settings, warm=False)
    app.state.earshot = dataclasses.replace(app.state.earshot, engine=Loaded(lambda: engine))
    with TestClient(app, headers=SAME_SITE, follow_redirects=False):
        with db.read() as session:
            phone = browser(app, db, session.get_one(Listener, leaver))
        assert phone.get("/recommend").status_code == 200
        assert phone.post("/settings/delete", data={"current": PASSWORD}).status_code == 303
    with db.read() as session:
        assert circle_adapter.live_version(session, engine.fingerprint) is None, "at once, before any worker has looked"
    worker.withdraw()
    assert worker.chores() >= 1

    names = [path.relative_to(settings.home).as_posix() for path in settings.home.rglob("*")]
    assert found_in(settings.home) == [] and holding(settings.home, planted) == []
    everything = [*names, *(data.decode("latin-1") for data in contents(settings.home).values())]
    for word in (leaver, old.id, own.id):
        assert [name[:80] for name in everything if word in name] == [], word

    with db.read() as session:
        (job,) = session.scalars(select(Job).where(Job.kind == "circle", Job.state == "queued"))
        left = circle_adapter.songs(session, KINDS, SONGS)
    assert sorted(left) == sorted((circle["Ana"], circle["Ben"]))
    assert worker.once()
    with db.read() as session:
        made, job = session.scalars(select(CircleVersion)).one(), session.get_one(Job, job.id)
        assert sorted(session.scalars(select(CircleMember.listener_id))) == sorted(left) and made.members == 2
    as_if_never_there = train_circle(engine, "f" * 16, left, seed=job.seed)
    assert list(as_if_never_there.losses) == job.losses
    assert learnt(engine.store.folder(engine.circle, made.id)) == learnt(engine.store.folder(engine.circle, "f" * 16))
