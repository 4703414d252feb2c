"""A list that was made is shown again while nothing that it is made of has changed. Real base, real database files."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.db import Database
from app.lm.engine import Engine
from app.lm.trainer import Progress
from app.services import accounts, hiding, kept, listens, remembering, retraining
from app.services.recommending import EngineTypes, Recommended, recommend
from app.services.remembering import Remembered
from app.tables import Listener, Preference, Song

Ask = Callable[..., Recommended]


@pytest.fixture
def remembered(db: Database) -> Remembered:
    """What the web process remembers."""
    return Remembered(db)


@pytest.fixture
def ask(db: Database, engine: Engine, kinds: EngineTypes, ana: Listener, remembered: Remembered) -> Ask:
    """Ana asks and is answered from what is remembered, if it may be."""
    with db.write() as session:
        for song in session.scalars(select(Song.id).where(Song.artist == "Elvis Presley")).all()[:4]:
            listens.log(session, ana.id, song_id=song, at=1_700_000_000)

    def asked(**how: object) -> Recommended:
        with db.read() as session:
            return recommend(session, engine, kinds, ana.id, remembered=remembered, **how)  # type: ignore[arg-type]

    return asked


def test_an_unchanged_list_is_the_very_same_and_equal_to_a_fresh_one(
    ask: Ask, db: Database, engine: Engine, kinds: EngineTypes, ana: Listener
) -> None:
    first = ask()
    assert (ask() is first) is db.is_sqlite  # elsewhere nothing tells that nothing was changed
    with db.read() as session:
        fresh = recommend(session, engine, kinds, ana.id)
    assert fresh is not first
    assert [(one.song.id, one.score, one.reasons) for one in fresh.suggestions] == [
        (one.song.id, one.score, one.reasons) for one in first.suggestions
    ]


def test_other_questions_and_other_listeners_have_lists_of_their_own(
    ask: Ask, db: Database, engine: Engine, kinds: EngineTypes, ben: Listener, remembered: Remembered
) -> None:
    first = ask()
    others = [ask(count=5), ask(wish="rain"), ask(adventure=2), ask(mode="familiar")]
    assert len(others[0].suggestions) == 5 and all(one is not first for one in others)
    with db.read() as session:
        assert recommend(session, engine, kinds, ben.id, remembered=remembered).suggestions == ()


def _dislike(session: Session, ana: Listener, ben: Listener, song: int) -> None:
    listens.say(session, ana.id, song, "dislike")


def _somebody_else_plays(session: Session, ana: Listener, ben: Listener, song: int) -> None:
    listens.log(session, ben.id, song_id=song, at=1_700_000_000)


def _another_name(session: Session, ana: Listener, ben: Listener, song: int) -> None:
    accounts.add_listener(session, "Cleo", None)


def _hide(session: Session, ana: Listener, ben: Listener, song: int) -> None:
    hiding.hide(session, ana.id, session.get_one(Song, song).artist)


def _a_year(session: Session, ana: Listener, ben: Listener, song: int) -> None:
    session.get_one(Song, song).year = 1954


def _ask_again_for_it(session: Session, ana: Listener, ben: Listener, song: int) -> None:
    kept.keep(session, ana.id, mode="discover", wish="", adventure=0, version=None, songs=[song])


def _sign_in(session: Session, ana: Listener, ben: Listener, song: int) -> None:
    accounts.start_session(session, ben.id, days=1)


def _retrain(session: Session, ana: Listener, ben: Listener, song: int) -> None:
    job = retraining.request(session, ana.id, min_songs=1)
    job.state, job.lease_owner = "running", "here:1"
    session.flush()
    assert retraining.heartbeat(session, job.id, "here:1", Progress("training", 1, 2, 0.5, 1.0), [0.5])


@pytest.mark.parametrize("change", [_ask_again_for_it, _sign_in, _retrain])
def test_a_list_outlasts_what_it_is_not_made_of(
    ask: Ask, db: Database, ana: Listener, ben: Listener, change: Callable[[Session, Listener, Listener, int], None]
) -> None:
    first, before = ask(), db.changes()
    with db.write() as session:
        change(session, ana, ben, first.suggestions[0].song.id)
    assert (db.changes() != before) is db.is_sqlite  # it was committed, and noticed
    assert (ask() is first) is db.is_sqlite


def test_every_table_that_a_list_is_made_of_is_watched(
    ask: Ask, db: Database, engine: Engine, kinds: EngineTypes, ana: Listener, ben: Listener
) -> None:
    """By what SQLite says that it reads while lists of every kind are made, also from the circle and its members."""
    if not db.is_sqlite:
        return
    with db.write() as session:
        session.get_one(Listener, ana.id).in_circle = session.get_one(Listener, ben.id).in_circle = True
        for song in session.scalars(select(Song.id)).all()[:40]:
            listens.log(session, ben.id, song_id=song, at=1_700_000_000)
        listens.say(session, ana.id, 7, "love")
        session.add(Preference(listener_id=ana.id, kind="artist", value="ABBA"))
    read: set[str] = set()

    def seen(action: int, table: str | None, *_: object) -> int:
        if action == sqlite3.SQLITE_READ and table:
            read.add(table)
        return sqlite3.SQLITE_OK

    with db.read() as session:
        connection = session.connection().connection.driver_connection
        assert connection is not None
        connection.set_authorizer(seen)
        for who in (ana.id, ben.id):
            for how in ({}, {"mode": "familiar"}, {"wish": "rain"}, {"adventure": 2}):
                recommend(session, engine, kinds, who, **how)  # type: ignore[arg-type]
        connection.set_authorizer(None)
        triggers = session.execute(text("SELECT tbl_name, sql FROM sqlite_master WHERE type = 'trigger'")).all()
    ours = [(table, sql.split(" ON ")[0].split()[-1]) for table, sql in triggers if "list_changes" in sql]
    watched = {table for table, _ in ours}
    every = {(table, what) for table in watched for what in ("DELETE", "INSERT", "UPDATE")}
    assert every - set(ours) == {("listens", "INSERT"), ("songs", "INSERT")}  # SQLite's own count has these
    assert read >= {"songs", "listens", "feedback", "preferences", "hidden_artists", "circle_versions", "listeners"}
    assert read - watched == set()


@pytest.mark.parametrize(("statement", "counts"), [
    ("INSERT OR IGNORE INTO preferences (listener_id, kind, value) VALUES (:who, 'genre', 'pop')", True),
    ("INSERT OR IGNORE INTO preferences (listener_id, kind, value) VALUES (:who, 'genre', 'rock')", False),
    ("INSERT OR REPLACE INTO preferences (listener_id, kind, value) VALUES (:who, 'genre', 'rock')", True),
    ("UPDATE OR REPLACE preferences SET value = 'jazz' WHERE listener_id = :who", True),
    ("DELETE FROM preferences", True),
    ("INSERT INTO listens (listener_id, song_id, plays, ended, source, created_at)"
     " VALUES (:who, 1, 7, 'played', 'import', 1700000000)", True),
    ("INSERT INTO songs (artist, title, artist_key, title_key, search_text, genres, moods, source, created_at)"
     " VALUES ('A', 'B', 'a', 'b', ' a b  ', '[]', '[]', 'log', 1700000000)", True),
    ("DELETE FROM listeners WHERE id = :who", True),
])  # fmt: skip
def test_every_way_to_write_a_watched_table_counts(db: Database, ana: Listener, statement: str, counts: bool) -> None:
    if not db.is_sqlite:
        return
    with db.write() as session:
        session.add(Preference(listener_id=ana.id, kind="genre", value="rock"))
    before = db.list_changes()
    with pytest.raises(ZeroDivisionError), db.write() as session:
        session.execute(text(statement), {"who": ana.id} if ":who" in statement else {})
        raise ZeroDivisionError
    assert db.list_changes() == before
    with db.write() as session:
        session.execute(text(statement), {"who": ana.id} if ":who" in statement else {})
    assert (db.list_changes() != before) is counts


@pytest.mark.parametrize("change", [_dislike, _somebody_else_plays, _another_name, _hide, _a_year])
def test_whatever_a_list_may_be_made_of_makes_it_anew(
    ask: Ask, db: Database, ana: Listener, ben: Listener, change: Callable[[Session, Listener, Listener, int], None]
) -> None:
    first = ask()
    song = first.suggestions[0].song.id
    with db.write() as session:
        change(session, ana, ben, song)
    again = ask()
    assert again is not first
    assert (song in [one.song.id for one in again.suggestions]) is (change not in (_dislike, _hide))


def test_another_process_is_noticed_too(ask: Ask, db: Database, ana: Listener) -> None:
    first = ask()
    other = Database(db.engine.url.render_as_string(hide_password=False))  # as the worker has one
    try:
        with other.write() as session:
            listens.say(session, ana.id, first.suggestions[0].song.id, "dislike")
    finally:
        other.close()
    assert first.suggestions[0].song.id not in [one.song.id for one in ask().suggestions]


def test_what_a_rolled_back_write_did_is_no_change_but_a_commit_is(db: Database, ana: Listener) -> None:
    if not db.is_sqlite:
        assert db.changes() is None
        return
    before = db.changes()
    with pytest.raises(ZeroDivisionError), db.write() as session:
        session.get_one(Listener, ana.id).time_zone = "Asia/Tokyo"
        session.flush()
        raise ZeroDivisionError
    assert db.changes() == before
    with db.write(light=True) as session:
        session.get_one(Listener, ana.id).time_zone = "Asia/Tokyo"
    assert db.changes() != before
    with db.read() as session:
        assert session.get_one(Listener, ana.id).time_zone == "Asia/Tokyo"


def test_a_watch_that_breaks_off_never_gives_an_earlier_number_again(db: Database, ana: Listener) -> None:
    if not db.is_sqlite:
        return
    seen = set()
    for _ in range(3):
        with db.write() as session:
            session.get_one(Listener, ana.id).time_zone = "Asia/Tokyo" if len(seen) % 2 else "UTC+1"
        seen.add(db.changes())
        assert db._watching is not None
        db._watching.cursor().connection.close()  # as by an error of the disk
        assert db.changes() is None
    assert len(seen) == 3 and None not in seen


def test_new_vectors_and_the_clock_make_a_list_anew(ask: Ask, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ask()
    there = engine.vectors.snapshot()
    monkeypatch.setattr(engine.vectors, "snapshot", lambda: replace(there, mark=object()))
    second = ask()
    assert second is not first
    later = remembering.now() + 61
    monkeypatch.setattr(remembering, "now", lambda: later)
    assert ask() is not second


def test_a_transaction_that_began_before_leaves_nothing_behind(
    db: Database, engine: Engine, kinds: EngineTypes, ana: Listener, ask: Ask, remembered: Remembered
) -> None:
    with db.read() as session:
        session.get_one(Listener, ana.id)  # from here on this session sees no change
        with db.write() as other:
            listens.log(other, ana.id, song_id=1, at=1_700_000_060)
        recommend(session, engine, kinds, ana.id, remembered=remembered)
    assert len(remembered) == 0


def test_what_another_version_answered_for_is_not_kept(
    ask: Ask, db: Database, ana: Listener, remembered: Remembered
) -> None:
    with db.write() as session:
        session.get_one(Listener, ana.id).live_version = "f" * 16  # no such files
    assert ask().version is None
    assert len(remembered) == 0


def test_only_so_many_are_kept(ask: Ask, remembered: Remembered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "_MOST", 2)
    first = ask(count=1)
    for count in (2, 3):
        ask(count=count)
    assert len(remembered) <= 2
    assert ask(count=1) is not first
