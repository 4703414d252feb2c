"""kill -9 before every step of a retrain, a promotion, an import, a migration and a deletion.

The steps are the code's own, see steps.py. `make test-faults` runs these: as many processes as there are steps.
"""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from transformers import BertConfig

from app.db import Database
from app.lm.store import AdapterStore
from app.services import accounts, listens, preparing, retraining
from app.settings import PROJECT, Settings
from app.tables import AdapterVersion, Job, Listen, Listener, Song
from tests.faults.scenarios import IMPORTED
from tests.lm.making import save_tiny_base, shape_of_base
from tests.test_migrations import ROWS
from tests.upkeep.conftest import add_version

pytestmark = [pytest.mark.faults, pytest.mark.slow]

MOST = 400  # steps that a scenario may have; more would mean that a step repeats for every row


def run(scenario: str, home: Path, kill_at: int | None = None) -> subprocess.CompletedProcess[str]:
    """A scenario in a process of its own."""
    number = [] if kill_at is None else [str(kill_at)]
    return subprocess.run(
        [sys.executable, "-m", "tests.faults.steps", scenario, str(home), *number],
        cwd=PROJECT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def killed_everywhere(scenario: str, seed: Path, place: Path) -> Iterator[tuple[str, Path]]:
    """(step, home) after a kill just before each step; the whole run is checked to succeed first."""
    whole = place / "whole"
    shutil.copytree(seed, whole)
    done = run(scenario, whole)
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout.splitlines()[-1])
    assert 2 <= len(steps) <= MOST, steps
    print(f"{scenario}: {len(steps)} steps")
    shutil.rmtree(whole)
    for number, what in enumerate(steps):
        home = place / "killed"
        shutil.copytree(seed, home)
        stopped = run(scenario, home, number)
        assert stopped.returncode == -signal.SIGKILL, (number, what, stopped.stderr)
        yield f"{number}: {what}", home
        shutil.rmtree(home)


def asked(home: Path, question: Callable[[Session], object]) -> object:
    """What the database of a home says."""
    db = Database(Settings(home=home).url)
    try:
        with db.read() as session:
            assert session.connection().exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            assert session.connection().exec_driver_sql("PRAGMA foreign_key_check").all() == []
            return question(session)
    finally:
        db.close()


def plays(session: Session) -> list[tuple[str, int, int | None]]:
    """Every listen: whose, of what, when."""
    rows = session.execute(select(Listen.listener_id, Listen.song_id, Listen.listened_at))
    return sorted((tuple(row) for row in rows), key=repr)  # type: ignore[arg-type]


@pytest.fixture
def seed(bare: Settings, bare_db: Database) -> Path:
    """Ana and Ben with listens, and a version each."""
    with bare_db.write() as session:
        songs = list(session.scalars(select(Song.id).limit(14)))
        for name in ("Ana", "Ben"):
            who = accounts.add_listener(session, name, None)
            for song in songs:
                listens.log(session, who.id, song_id=song, at=1_600_000_000)
            add_version(session, bare.adapters, who.id)
    bare_db.close()
    return bare.home


def test_an_import_is_there_whole_or_not_at_all_and_can_be_done_again(seed: Path, tmp_path: Path) -> None:
    before = asked(seed, plays)
    for step, home in killed_everywhere("import_listens", seed, tmp_path / "x"):
        after = asked(home, plays)
        assert len(after) - len(before) in (0, len(IMPORTED)), step  # type: ignore[arg-type]
        assert run("import_listens", home).returncode == 0, step
        again = asked(home, plays)
        assert len(again) == len(set(again)) == len(before) + len(IMPORTED), step  # type: ignore[arg-type,call-overload]


def test_a_listen_is_logged_or_not_and_never_twice(seed: Path, tmp_path: Path) -> None:
    before = asked(seed, plays)
    for step, home in killed_everywhere("log_a_listen", seed, tmp_path / "x"):
        assert len(asked(home, plays)) - len(before) in (0, 1), step  # type: ignore[arg-type]


def test_after_a_promotion_the_old_or_the_new_version_is_live(seed: Path, tmp_path: Path) -> None:
    db = Database(Settings(home=seed).url)
    with db.write() as session:
        ana = accounts.by_name(session, "Ana")
        first, second = ana.live_version, add_version(session, Settings(home=seed).adapters, ana.id, 2)
    db.close()
    seen = set()
    for step, home in killed_everywhere("promote", seed, tmp_path / "x"):
        live = asked(home, lambda session: accounts.by_name(session, "Ana").live_version)
        assert live in (first, second), step
        seen.add(live)
    assert seen == {first, second}, "no kill came before the commit, or none after it"


def test_a_migration_goes_on_where_a_kill_stopped_it_with_every_row(bare: Settings, tmp_path: Path) -> None:
    home = tmp_path / "old"
    settings = Settings(home=home)
    preparing.migrate(settings.url, "0001")
    db = Database(settings.url)
    with db.write() as session:
        for statement in ROWS:
            session.connection().exec_driver_sql(statement)
    db.close()
    for step, killed in killed_everywhere("migrate", home, tmp_path / "x"):
        with closing(sqlite3.connect(killed / "data" / "earshot.db")) as file:
            assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",), step
        assert run("migrate", killed).returncode == 0, step
        assert len(asked(killed, plays)) == 2, step  # type: ignore[arg-type]
        found = asked(
            killed, lambda s: s.connection().exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        )
        assert found == preparing.revisions()[-1], step


def test_a_deletion_happens_or_not_and_files_follow(seed: Path, tmp_path: Path) -> None:
    for step, home in killed_everywhere("leave", seed, tmp_path / "x"):
        names = asked(home, lambda session: [who.name for who in accounts.everyone(session)])
        assert names in (["Ana"], ["Ana", "Ben"]), step
        files = sorted(Settings(home=home).adapters.glob("*/*"))
        assert len(files) >= len(names), f"{step}: a listener without their files"  # type: ignore[arg-type]


@pytest.fixture
def queued(seed: Path) -> Path:
    """Ana's retrain is queued, and the base is tiny."""
    save_tiny_base(seed / "tiny", BertConfig(**shape_of_base()))
    db = Database(Settings(home=seed).url)
    with db.write() as session:
        retraining.request(session, accounts.by_name(session, "Ana").id, 12)
    db.close()
    return seed


def test_a_retrain_gives_the_old_version_or_the_new_one_and_the_job_ends(queued: Path, tmp_path: Path) -> None:
    before = asked(queued, plays)
    old = asked(queued, lambda session: accounts.by_name(session, "Ana").live_version)
    for step, home in killed_everywhere("retrain", queued, tmp_path / "x"):
        _live_is_whole(home, old, step)
        assert asked(home, plays) == before, step
        again = run("recover", home)
        assert again.returncode == 0, (step, again.stderr)
        state = asked(home, lambda session: session.scalars(select(Job.state)).one())
        assert state in ("promoted", "kept"), (step, state)
        _live_is_whole(home, old, step)
        _nothing_is_left_over(home, step)
        print("held:", step, flush=True)


def _live_is_whole(home: Path, old: object, step: str) -> None:
    def live(session: Session) -> tuple[str, str | None]:
        ana = accounts.by_name(session, "Ana")
        return ana.id, ana.live_version

    who, version = asked(home, live)  # type: ignore[misc]
    if version != old:
        card = AdapterStore(Settings(home=home).adapters).card(who, version)
        assert set(card["sha256"]) == {"adapter_model.safetensors", "adapter_config.json"}, step


def _nothing_is_left_over(home: Path, step: str) -> None:
    adapters = Settings(home=home).adapters
    assert list(adapters.glob("*/.writing-*")) == [], step
    rows = asked(home, lambda session: {(v.listener_id, v.id) for v in session.scalars(select(AdapterVersion))})
    versions = [path for path in adapters.glob("*/*") if not path.name.startswith(".")]  # ".own" is a cache
    assert {(path.parent.name, path.name) for path in versions} == rows, step
    listeners = asked(home, lambda session: set(session.scalars(select(Listener.id))))
    assert {p.name for p in adapters.glob("*") if p.is_dir()} <= listeners, step  # type: ignore[operator]
