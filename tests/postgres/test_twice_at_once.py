"""What two requests of one moment do on PostgreSQL, where both have read before either has written."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.db import Database
from app.errors import Conflict
from app.services import (
    accounts,
    administering,
    catalogue,
    chores,
    circle_adapter,
    hiding,
    kept,
    listens,
    playlists,
    privacy,
    sharing,
)
from app.tables import Chore, HiddenArtist, Job, KeptList, Listener, Playlist, PlaylistSong, Preference, Song
from app.tables_sharing import Share

pytestmark = pytest.mark.postgres

Act = Callable[[Session], object]
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def at_once(db: Database, first: Act, second: Act) -> list[Exception]:
    """The second one has begun, and waits if it does, before the first commits; gives what the second ran into."""
    problems: list[Exception] = []

    def late() -> None:
        try:
            with db.write() as session:
                second(session)
        except Exception as problem:
            problems.append(problem)

    thread = threading.Thread(target=late)
    with db.write() as session:
        first(session)
        session.flush()
        thread.start()
        waiting = 0
        while thread.is_alive() and not waiting:
            with db.read() as looking:
                waiting = looking.execute(text(_WAITING)).scalar_one()
    thread.join()
    return problems


@pytest.fixture
def two(db: Database) -> Sequence[str]:
    """Two administrators who take part in the circle, with three songs each, and a playlist of the first."""
    with db.write() as session:
        songs = [catalogue.find_or_add(session, "Queen", f"Song {n}", source="log")[0].id for n in range(3)]
        both = [accounts.add_listener(session, name, None, is_admin=True).id for name in ("Ana", "Ben")]
        for who in both:
            for song in songs:
                listens.log(session, who, song_id=song, at=1_700_000_000)
            session.get_one(Listener, who).in_circle = True
        playlists.make(session, both[0], "Mine")
    return both


def first_song(session: Session) -> int:
    """A song."""
    return session.scalars(select(Song.id).order_by(Song.id)).first() or 0


ACTS: dict[str, tuple[Callable[[Session, str], object], type]] = {
    "hide": (lambda s, who: hiding.hide(s, who, "Queen"), HiddenArtist),
    "pick": (lambda s, who: listens.set_preferences(s, who, ["rock"], []), Preference),
    "share": (lambda s, who: sharing.share(s, who, "friends", _others(s, who)), Share),
    "keep a list": (lambda s, who: kept.keep(s, who, mode="discover", wish="", adventure=0, version=None,
                                             songs=[first_song(s)]), KeptList),
    "fill a playlist": (lambda s, who: playlists.add(s, s.scalars(select(Playlist)).one(), [first_song(s)]),
                        PlaylistSong),
    "ask for a chore": (lambda s, who: chores.ask(s, "shred"), Chore),
    "train the circle's adapter": (lambda s, who: circle_adapter.join(s, who, 3), Job),
}  # fmt: skip


def _others(session: Session, who: str) -> list[str]:
    return list(session.scalars(select(Listener.id).where(Listener.id != who)))


@pytest.mark.parametrize("name", ACTS)
def test_a_double_request_is_one(db: Database, two: Sequence[str], name: str) -> None:
    act, table = ACTS[name]
    assert at_once(db, lambda s: act(s, two[0]), lambda s: act(s, two[0])) == []
    with db.read() as session:
        assert session.scalar(select(func.count()).select_from(table)) == 1


def test_two_who_join_the_circle_queue_one_training(db: Database, two: Sequence[str]) -> None:
    assert at_once(db, *(lambda s, who=who: circle_adapter.join(s, who, 3) for who in two)) == []  # type: ignore[misc]
    with db.read() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 1


@pytest.mark.parametrize("second", ["takes it from the other", "leaves"])
def test_two_administrators_at_once_leave_one(db: Database, two: Sequence[str], second: str) -> None:
    with db.write() as session:
        accounts.add_listener(session, "Cleo", None)

    def other(session: Session) -> None:
        if second == "leaves":
            privacy.delete_account(session, two[1])
        else:
            administering.set_administrator(session, two[1], False)

    (problem,) = at_once(db, lambda s: administering.set_administrator(s, two[0], False), other)
    assert isinstance(problem, Conflict)
    with db.read() as session:
        assert session.scalars(select(Listener.id).where(Listener.is_admin)).all() == [two[1]]


def test_what_is_left_to_the_database_is_a_conflict_and_no_bug(db: Database, two: Sequence[str]) -> None:
    def same(session: Session) -> None:
        session.add(Chore(name="same"))

    (problem,) = at_once(db, same, same)
    assert isinstance(problem, Conflict) and "try again" in str(problem)
