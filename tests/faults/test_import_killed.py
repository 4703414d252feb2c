"""kill -9 in the middle of an import, and the next start: nothing lost, nothing twice, every row accounted for.

Once before every step that the import's own runner takes, and once in a whole `earshot serve`.
"""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from transformers import BertConfig

from app.db import Database
from app.services import accounts, passwords
from app.services.imports import running
from app.services.imports.staging import Staging
from app.settings import PROJECT, Settings
from app.tables import Listen, Listener
from app.tables_imports import Import, SoftDuplicate
from tests.faults.test_killed import asked, killed_everywhere, run
from tests.lm.making import save_tiny_base, shape_of_base
from tests.services.imports.exports_made import AT, Play, spotify

pytestmark = [pytest.mark.faults, pytest.mark.slow]

ROWS = 47
BROKEN, TWICE = 3, 2  # rows without a song, and rows that stand there twice
ANA = "stately plump violin 83"


def history(rows: int) -> bytes:
    """A history with some songs played often, some rows that are broken and some that repeat the row before."""
    plays = [Play(f"Artist {n % 5}", f"Song {n % 17}", "", AT + 300 * n, 200_000) for n in range(rows)]
    found = json.loads(spotify(plays))
    for n in range(BROKEN):
        found[7 * n + 1]["master_metadata_track_name"] = None
    for n in range(TWICE):
        found[20 * n + 11] = found[20 * n + 10]
    return json.dumps(found).encode()


@pytest.fixture
def staged(bare: Settings, bare_db: Database, tmp_path: Path) -> Path:
    """Ana's file was looked into, and the import is about to run."""
    staging, file = Staging(bare.data / "imports"), tmp_path / "history"
    file.write_bytes(history(ROWS))
    with bare_db.write() as session:
        ana = accounts.add_listener(session, "Ana", None).id
        made = running.begin(session, ana, "web", "history.json").id
    with file.open("rb") as stream:
        kept = staging.keep(ana, made, [("history.json", stream)], 10**9)
    with bare_db.write() as session:
        session.get_one(Import, made).files = kept
    running.Run(bare_db, staging, made, "gone:1").look(staging.paths(ana, made, kept))
    with bare_db.write() as session:
        running.start(session, ana, made)
    bare_db.close()
    return bare.home


def outcome(session: Session) -> tuple[dict[str, int], list[tuple[int | None, int]], str]:
    """The report's counts, every listen and the state, which must be the same whenever the kill came."""
    made = session.scalars(select(Import)).one()
    assert made.state == "done", (made.state, made.error)
    plays = session.execute(select(Listen.listened_at, Listen.plays).order_by(Listen.listened_at)).all()
    counts = {name: made.report[name] for name in ("rows", "taken", "folded", "dropped", "skips")}
    return counts, [(at, count) for at, count in plays], made.state


def test_an_import_killed_at_any_step_goes_on_and_ends_as_if_it_had_not_been(staged: Path, tmp_path: Path) -> None:
    expected = ROWS - BROKEN - TWICE
    for step, home in killed_everywhere("bring_along", staged, tmp_path / "x"):
        again = run("bring_along", home)
        assert again.returncode == 0, (step, again.stderr)
        counts, plays, state = asked(home, outcome)  # type: ignore[misc]
        assert state == "done", step
        assert counts == {"rows": ROWS, "taken": expected, "folded": TWICE, "dropped": BROKEN, "skips": 0}, step
        assert len(plays) == len(set(plays)) == expected, step
        _every_row_that_was_not_taken_is_listed_once(home, step)


def _every_row_that_was_not_taken_is_listed_once(home: Path, step: str) -> None:
    (report,) = Settings(home=home).data.glob("imports/*/*/report.csv")
    with report.open(encoding="utf-8", newline="") as stream:
        listed = [(row["row"], row["outcome"]) for row in csv.DictReader(stream)]
    assert listed == [
        ("2", "dropped"), ("9", "dropped"), ("12", "folded"), ("16", "dropped"), ("32", "folded"),
    ], step  # fmt: skip
    assert [path.name for path in report.parent.iterdir()] == ["report.csv"], f"{step}: the file is still here"


# -- a whole server ---------------------------------------------------------------------------------

MANY = 30_000


@contextmanager
def server(home: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`earshot serve` on a tiny base: its address and its process, which is gone afterwards."""
    environment = {
        **os.environ, "EARSHOT_HOME": str(home), "EARSHOT_PORT": "0", "EARSHOT_BASE_MODEL": str(home / "tiny"),
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "app", "serve"]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, cwd=PROJECT, stdout=log, stderr=log, text=True)
    try:
        while not (found := re.findall(r"running on (http://\S+)", (home / "log").read_text())):
            assert process.poll() is None, (home / "log").read_text()
            time.sleep(0.1)
        yield found[-1], process
    finally:
        process.kill()
        process.wait()


def test_a_server_killed_in_the_middle_of_an_import_goes_on_after_the_next_start(
    bare: Settings, bare_db: Database
) -> None:
    save_tiny_base(bare.home / "tiny", BertConfig(**shape_of_base()))
    with bare_db.write() as session:
        ana = accounts.add_listener(session, "Ana", None, is_admin=True)
        ana.password_hash = passwords.hash_password(ANA)

    def step() -> tuple[str, int, int]:
        with bare_db.read() as session:
            row = session.scalars(select(Import)).one()
            listens = session.scalar(select(func.count()).select_from(Listen)) or 0
            return row.state, row.step, listens

    with server(bare.home) as (url, process), httpx.Client(base_url=url, headers={"Origin": url}) as program:
        api = f"{url}/api/v1"
        assert program.post(f"{api}/sessions", json={"name": "Ana", "password": ANA}).status_code == 201
        sent = program.post(f"{api}/imports", files={"files": ("x.json", history(MANY))}, timeout=120)
        where = f"{api}/imports/{sent.json()['id']}"
        while program.get(where).json()["state"] == "reading":
            time.sleep(0.1)
        assert program.post(f"{where}/run", json={}).status_code == 202
        while not 0 < step()[1] < MANY:
            assert step()[0] == "running", "the import was over before it could be killed"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    state, done, listens = step()
    assert state == "running" and 0 < listens < done < MANY, "it was in the middle"
    with server(bare.home):
        while step()[0] in ("running", "encoding"):
            time.sleep(0.2)
    expected = MANY - BROKEN - TWICE
    assert step()[0] == "done" and step()[2] == expected
    with bare_db.read() as session:
        report = session.scalars(select(Import)).one().report
        assert (report["rows"], report["taken"], report["folded"], report["dropped"]) == (MANY, expected, TWICE, BROKEN)
        each = select(func.count(), func.count(Listen.listened_at.distinct())).where(Listen.listener_id == _id(session))
        assert tuple(session.execute(each).one()) == (expected, expected)
        assert session.scalar(select(func.count()).select_from(SoftDuplicate)) == 0


def _id(session: Session) -> str:
    return session.scalars(select(Listener.id)).one()
