"""Transactions that write many rows have more pages and a longer log, and leave neither to others."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.db import Database


def _pragmas(session: Session) -> tuple[int, int]:
    names = ("cache_size", "wal_autocheckpoint")
    cache, log = (session.execute(text(f"PRAGMA {name}")).scalar_one() for name in names)
    return cache, log


def test_only_the_transactions_that_ask_for_it_have_more_room(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path}/a.db")
    with db.write() as session:
        usual = _pragmas(session)
    with db.write(many=True) as session:
        many = _pragmas(session)
    with db.write() as session:  # of the same connection, taken from the top
        assert _pragmas(session) == usual
    with db.write(many=True) as session:
        assert _pragmas(session) == many
    with db.read() as session:
        assert _pragmas(session) == usual
    db.close()
    assert many[0] < usual[0] < 0 and many[1] > usual[1]  # KiB count below zero
