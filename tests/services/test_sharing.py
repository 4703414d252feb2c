"""Nobody sees what another played unless that other says so."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from app.db import Database
from app.errors import BadInput, NotFound
from app.services import accounts, sharing
from app.tables import Listener
from app.tables_sharing import Share


@pytest.fixture
def cleo(db: Database) -> Listener:
    """A third listener."""
    with db.write() as session:
        return accounts.add_listener(session, "Cleo", None)


def seers(db: Database, owner: Listener, others: list[Listener]) -> list[str]:
    """Names of those who may see what ``owner`` played."""
    with db.read() as session:
        found = [o.name for o in others if sharing.may_see(session, o.id, owner.id)]
        listed = [o.name for o in others if owner.id in set(session.scalars(sharing.visible(o.id)))]
    assert found == listed
    return found


def test_sharing_is_off_until_the_listener_says_otherwise(
    db: Database, ana: Listener, ben: Listener, cleo: Listener
) -> None:
    everyone = [ana, ben, cleo]
    assert seers(db, ana, everyone) == ["Ana"]
    for choice, friends, expected in (
        ("circle", None, ["Ana", "Ben", "Cleo"]),
        ("friends", [cleo.id], ["Ana", "Cleo"]),
        ("off", None, ["Ana"]),
        ("friends", None, ["Ana", "Cleo"]),  # the choice is remembered
        ("friends", [], ["Ana"]),
    ):
        with db.write() as session:
            sharing.share(session, ana.id, choice, friends)
        assert seers(db, ana, everyone) == expected, (choice, friends)
    assert seers(db, ben, everyone) == ["Ben"], "sharing is not mutual by itself"


def test_who_may_not_see_cannot_tell_a_listener_from_nobody(db: Database, ana: Listener, ben: Listener) -> None:
    with db.read() as session:
        for person in (ana.id, "0" * 16, "x", "\x00", "\ud800", ""):
            with pytest.raises(NotFound, match="nobody here who shares with you"):
                sharing.seen(session, ben.id, person)
    with db.write() as session:
        sharing.share(session, ana.id, "friends", [ben.id])
        assert sharing.seen(session, ben.id, ana.id).name == "Ana"


@pytest.mark.parametrize("friends", [["0" * 16], ["\x00"], ["\ud800"], ["9" * 500]])
def test_sharing_with_who_is_not_there_is_refused_and_nothing_changes(
    db: Database, ana: Listener, ben: Listener, friends: list[str]
) -> None:
    with db.write() as session:
        sharing.share(session, ana.id, "circle", [ben.id])
    with pytest.raises(BadInput, match="no listener"), db.write() as session:
        sharing.share(session, ana.id, "friends", friends)
    with db.read() as session:
        assert session.get_one(Listener, ana.id).sharing == "circle"
        assert sharing.shared_with(session, ana.id) == {ben.id}


def test_naming_oneself_names_nobody(db: Database, ana: Listener) -> None:
    with db.write() as session:
        sharing.share(session, ana.id, "friends", [ana.id])
        assert sharing.shared_with(session, ana.id) == set()


def test_who_leaves_is_named_by_nobody(db: Database, ana: Listener, ben: Listener) -> None:
    with db.write() as session:
        sharing.share(session, ana.id, "friends", [ben.id])
    with db.write() as session:
        session.delete(session.get_one(Listener, ben.id))
    with db.read() as session:
        assert session.scalar(select(func.count()).select_from(Share)) == 0
