"""Chores: done when due, tried again when they fail, and a first start left alone."""

from __future__ import annotations

import os

import pytest
from sqlalchemy import update

from app import upkeep
from app.db import Database
from app.errors import TooBusy
from app.services import accounts, backup, chores
from app.services.chores import Doing
from app.settings import Settings
from app.tables import BrowserSession, Chore, now


def state(db: Database, name: str) -> Chore:
    """A chore as it stands."""
    with db.read() as session:
        return session.get_one(Chore, name)


def test_a_regular_chore_is_due_after_one_period_and_again_after_each(bare_db: Database) -> None:
    done: list[int] = []
    doings = {"sweep": Doing(lambda: done.append(1) or "swept", 3600)}  # type: ignore[func-returns-value]
    with bare_db.write() as session:
        chores.schedule(session, doings)
    assert chores.run_due(bare_db, doings) == 0 and state(bare_db, "sweep").due_at >= now() + 3590  # type: ignore[operator]
    with bare_db.write() as session:
        session.execute(update(Chore).values(due_at=now()))
        chores.schedule(session, doings)
    assert chores.run_due(bare_db, doings) == 1 and chores.run_due(bare_db, doings) == 0
    after = state(bare_db, "sweep")
    assert done == [1] and after.said == "swept" and after.due_at >= now() + 3590  # type: ignore[operator]


def test_what_is_asked_for_is_done_once(bare_db: Database) -> None:
    done: list[int] = []
    doings = {"shred": Doing(lambda: done.append(1) or "")}  # type: ignore[func-returns-value]
    for _ in range(2):
        with bare_db.write() as session:
            chores.ask(session, "shred")
    assert (chores.run_due(bare_db, doings), chores.run_due(bare_db, doings)) == (1, 0) and done == [1]


def test_who_asks_while_a_chore_is_done_gets_another_turn(bare_db: Database) -> None:
    done: list[int] = []

    def shred() -> str:
        done.append(1)
        if len(done) == 1:  # a second account is deleted meanwhile
            with bare_db.write() as session:
                chores.ask(session, "shred")
        return "shredded"

    doings = {"shred": Doing(shred)}
    with bare_db.write() as session:
        chores.ask(session, "shred")
    assert [chores.run_due(bare_db, doings) for _ in range(3)] == [1, 1, 0] and len(done) == 2


def test_a_chore_in_whose_middle_the_worker_is_killed_is_still_due(bare_db: Database) -> None:
    def killed() -> str:
        raise KeyboardInterrupt

    with bare_db.write() as session:
        chores.ask(session, "shred")
    with pytest.raises(KeyboardInterrupt):
        chores.run_due(bare_db, {"shred": Doing(killed)})
    assert chores.run_due(bare_db, {"shred": Doing(lambda: "done")}) == 1 and state(bare_db, "shred").said == "done"


@pytest.mark.parametrize(
    "problem", [TooBusy("later"), OSError(28, "No space left on device"), ZeroDivisionError("a bug")]
)
def test_a_failure_is_noted_and_tried_again_later_and_later(bare_db: Database, problem: Exception) -> None:
    def fail() -> str:
        raise problem

    doings = {"shred": Doing(fail)}
    waits = []
    for _ in range(3):
        with bare_db.write() as session:
            chores.ask(session, "shred")
        chores.run_due(bare_db, doings)
        waits.append((state(bare_db, "shred").due_at or 0) - now())
    assert waits == sorted(waits) and waits[0] > 60 and str(problem) in state(bare_db, "shred").error
    with bare_db.write() as session:
        chores.ask(session, "shred")
    chores.run_due(bare_db, {"shred": Doing(lambda: "done")})
    assert (state(bare_db, "shred").error, state(bare_db, "shred").failures) == ("", 0)


def test_tidying_removes_what_has_ended(bare: Settings, bare_db: Database, people: dict[str, str]) -> None:
    with bare_db.write() as session:
        live = accounts.start_session(session, people["Ben"], 1)
        accounts.invite(session, people["Ana"], 1)
        dead = accounts.start_session(session, people["Ben"], 1)
        session.get_one(BrowserSession, accounts.token_hash(dead)).expires_at = 1
    doings = upkeep.doings(bare_db, bare, lambda: pytest.fail("no base"), None)  # type: ignore[arg-type]
    assert doings["tidy"].do().startswith("1 ")
    with bare_db.read() as session:
        assert accounts.whose_session(session, live) and len(accounts.open_invites(session, people["Ana"])) == 1


def test_only_the_newest_backups_are_kept(bare: Settings) -> None:
    bare.backups.mkdir(parents=True)
    for day in range(1, 6):
        (bare.backups / f"earshot-2024010{day}-000000.tar.gz").touch()
    (bare.backups / "mine.tar.gz").touch()
    assert upkeep.rotate(bare.backups, 2) == 3
    names = sorted(p.name for p in bare.backups.iterdir())
    assert names == ["earshot-20240104-000000.tar.gz", "earshot-20240105-000000.tar.gz", "mine.tar.gz"]


def test_tidying_removes_what_killed_backups_left(bare: Settings, bare_db: Database) -> None:
    """Each of them may hold a whole copy of the database."""
    bare.backups.mkdir(parents=True)
    old = [bare.backups / f"{mark}{n}" for mark in (backup.UNFINISHED, backup.TRIAL) for n in (1, 2)]
    for path in old:
        path.mkdir()
        (path / backup.DATABASE).write_text("a copy of everything", encoding="utf-8")
        os.utime(path, (now() - 7 * 3600, now() - 7 * 3600))
    under_way, kept = bare.backups / f"{backup.UNFINISHED}3", bare.backups / "earshot-20200101-000000.tar.gz"
    under_way.mkdir()
    kept.write_text("a backup", encoding="utf-8")
    os.utime(kept, (1, 1))
    doings = upkeep.doings(bare_db, bare, lambda: pytest.fail("no base"), None)  # type: ignore[arg-type]
    doings["tidy"].do()
    assert set(bare.backups.iterdir()) == {under_way, kept}
