"""A full disk, a folder that cannot be written, damaged files at start: said so, nothing lost, and the rest works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient
from transformers import BertConfig

from app.db import Database
from app.main import create_app
from app.services import accounts, backup, listens, retraining
from app.settings import PROJECT, Settings
from app.tables import Job, Song
from app.tables_imports import Import
from tests.faults.scenarios import worker_on_tiny_base
from tests.lm.making import save_tiny_base, shape_of_base
from tests.services.imports.exports_made import PLAYS, spotify
from tests.upkeep.conftest import add_version, contents
from tests.web.conftest import SAME_SITE

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.fixture
def small(bare: Settings, bare_db: Database, tmp_path: Path) -> Iterator[Settings]:
    """The bare home on a disk of a few megabytes of its own."""
    bare_db.close()
    mount = tmp_path / "small"
    mount.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", str(mount)]).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        shutil.copytree(bare.home, mount / "home")
        yield Settings(home=mount / "home")
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


def fill(folder: Path) -> Path:
    """A file that takes the rest of the disk."""
    file = folder / "filler"
    with file.open("wb", buffering=0) as stream:
        try:
            while stream.write(b"x" * 4096):
                pass
        except OSError:
            pass
    return file


def earshot(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    """A command in that home."""
    return subprocess.run(
        [sys.executable, "-m", "app", *words], cwd=PROJECT, capture_output=True, text=True, timeout=300,
        env={**os.environ, "EARSHOT_HOME": str(settings.home)},
    )  # fmt: skip


def test_a_full_disk_refuses_writes_loses_nothing_and_is_fine_again_with_room(small: Settings) -> None:
    db = Database(small.url)
    with db.write() as session:
        ana = accounts.add_listener(session, "Ana", None)
        listens.log(session, ana.id, artist="Before", title="Song", at=1_700_000_000)
    filler = fill(small.home)
    failures = 0
    for number in range(300):
        try:
            with db.write() as session:
                listens.log(session, ana.id, artist=f"Full {number}" + "x" * 400, title="Song", at=1_700_000_000)
        except Exception as problem:
            assert "full" in str(problem).lower() or "busy" in str(problem).lower(), problem
            failures += 1
    assert failures, "the disk never was full"
    with db.read() as session:
        kept = listens.page(session, ana.id)[1]
        assert kept == 301 - failures
        assert session.connection().exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    filler.unlink()
    with db.write() as session:
        listens.log(session, ana.id, artist="After", title="Song", at=1_700_000_000)
        assert listens.page(session, ana.id)[1] == kept + 1
    db.close()


def test_a_backup_that_does_not_fit_leaves_nothing_and_harms_nothing(small: Settings) -> None:
    db = Database(small.url)
    with db.write() as session:
        ana = accounts.add_listener(session, "Ana", None)
        add_version(session, small.adapters, ana.id)
    before = contents(small.adapters)
    filler = fill(small.home)
    with pytest.raises(Exception, match=r"(?i)space|full|disk"):
        backup.back_up(db, small.adapters, small.home / "b.tar.gz")
    assert not (small.home / "b.tar.gz").exists() and list(small.home.glob(".backup-*")) == []
    filler.unlink()
    assert backup.back_up(db, small.adapters, small.home / "b.tar.gz").adapters == 1
    assert contents(small.adapters) == before
    db.close()


def test_doctor_says_that_the_disk_is_full_or_cannot_be_written(small: Settings) -> None:
    fill(small.home)
    said = earshot(small, "doctor")
    assert (said.returncode == 1 and "cannot be written" in said.stdout) or "Make room" in said.stdout, said.stdout
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize("damage", ["garbage", "cut", "zeroed"])
def test_a_damaged_database_is_named_at_every_start_and_left_as_it_is(
    bare: Settings, bare_db: Database, damage: str
) -> None:
    bare_db.close()
    file = bare.data / "earshot.db"
    whole = file.read_bytes()
    broken = {
        "garbage": b"this is no database" * 1000,
        "cut": whole[: len(whole) // 2],
        "zeroed": whole[:8192] + bytes(len(whole) - 8192),
    }[damage]
    file.write_bytes(broken)
    for words in (["serve"], ["worker"], ["user", "add", "Ben"], ["backup", str(bare.home / "b.tar.gz")]):
        said = earshot(bare, *words)
        assert said.returncode == 1 and "damaged" in said.stderr and "earshot restore" in said.stderr, said.stderr
        assert "Traceback" not in said.stderr
    assert file.read_bytes() == broken, "nothing may be written over what a person may still rescue"


def test_a_taste_that_does_not_fit_fails_the_job_keeps_the_old_one_and_is_learnt_with_room(small: Settings) -> None:
    save_tiny_base(small.home / "tiny", BertConfig(**shape_of_base()))
    db = Database(small.url)
    with db.write() as session:
        ana = accounts.add_listener(session, "Ana", None)
        for song in session.scalars(select(Song.id).limit(14)).all():
            listens.log(session, ana.id, song_id=song, at=1_700_000_000)
        old = add_version(session, small.adapters, ana.id)
        retraining.request(session, ana.id, 12)
    worker = worker_on_tiny_base(small.home)
    before, fillers = contents(small.adapters), []
    write = worker.engine.store.write

    def on_a_full_disk(*given: Any) -> Any:
        fillers.append(fill(small.home))  # the database still has the room that its own files hold
        try:
            return write(*given)
        finally:
            fillers.pop().unlink()

    worker.engine.store.write = on_a_full_disk  # type: ignore[method-assign]
    assert worker.once()
    with db.read() as session:
        job = session.scalars(select(Job)).one()
        assert job.state == "failed" and job.error
        assert accounts.by_name(session, "Ana").live_version == old
    worker.sweep()
    after = {name: data for name, data in contents(small.adapters).items() if "/.own/" not in name}
    assert {name: after.get(name) for name in before} == before and not [n for n in after if n not in before]
    worker.engine.store.write = write  # type: ignore[method-assign]
    with db.write() as session:
        retraining.request(session, ana.id, 12)
    assert worker.once()
    with db.read() as session:
        assert "failed" in session.scalars(select(Job.state)).all()
        assert len(retraining.versions(session, ana.id)) == 2, "the old one and, with room again, a new one"
    db.close()


def test_an_upload_that_does_not_fit_is_refused_keeps_nothing_and_is_taken_with_room(small: Settings) -> None:
    db = Database(small.url)
    with db.write() as session:
        ana = accounts.first_listener(session, "Ana", "a good long password")
        cookie = accounts.start_session(session, ana.id, 1)
    app = create_app(small, warm=False)
    with TestClient(app, raise_server_exceptions=False, headers=SAME_SITE, cookies={"earshot": cookie}) as client:
        filler = fill(small.home)
        for route in ("/import", "/api/v1/imports"):
            answer = client.post(route, files={"files": ("a.json", spotify(PLAYS) + b" " * 3_000_000)})
            assert answer.status_code == 507 and "disk" in answer.text.lower(), answer.text
            assert not [path for path in (small.data / "imports").rglob("*") if path.is_file()]
        assert client.get("/import").status_code == 200 == client.get("/listens").status_code
        filler.unlink()
        assert client.post("/api/v1/imports", files={"files": ("a.json", spotify(PLAYS))}).status_code == 202
        app.state.earshot.imports.wait()
        with db.read() as session:
            states = [made.state for made in session.scalars(select(Import).order_by(Import.created_at))]
        assert states.count("ready") == 1 and set(states) <= {"ready", "failed"}
    db.close()


def test_a_folder_that_cannot_be_written_is_named(bare: Settings, bare_db: Database) -> None:
    bare_db.close()
    if os.geteuid() == 0 and subprocess.run(["mount", "--bind", bare.home, bare.home]).returncode:
        pytest.skip("a read-only bind mount is not allowed here")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", bare.home], check=True)
        said = earshot(bare, "doctor")
        assert said.returncode == 1 and "cannot be written" in said.stdout, said.stdout + said.stderr
        said = earshot(bare, "user", "add", "Ben")
        assert said.returncode == 1 and "Traceback" not in said.stderr, said.stderr
        assert "cannot be written" in said.stderr or "read-only" in said.stderr.lower() or "readonly" in said.stderr
        for words in (["serve"], ["worker"], ["backup", str(bare.home / "b.tar.gz"), "--unproven"]):
            said = earshot(bare, *words)
            assert said.returncode == 1 and "Traceback" not in said.stderr, (words, said.stderr)
            assert "cannot be written" in said.stderr, (words, said.stderr)
    finally:
        subprocess.run(["umount", "-l", bare.home], check=True)
