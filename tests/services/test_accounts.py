"""Who is who: passwords, sessions, invites, and the race to be first."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import inspect, select, text, update

from app.db import Database
from app.errors import BadInput, Conflict, NotFound, NotSignedIn
from app.services import accounts, passwords
from app.services.accounts import token_hash
from app.tables import BrowserSession, Invite, Listener

GOOD = "a good long password"


def test_a_password_is_kept_as_argon2id_with_its_own_salt() -> None:
    one, other = passwords.hash_password(GOOD), passwords.hash_password(GOOD)
    assert one.startswith("$argon2id$") and one != other
    assert passwords.verify(one, GOOD) and not passwords.verify(one, GOOD + "x")
    assert not passwords.verify(None, GOOD)


@pytest.mark.parametrize("password", ["", "1234567", "x" * 129, "long enough \ud800"])
def test_a_password_unfit_to_be_set_is_refused_and_not_repeated(password: str) -> None:
    with pytest.raises(BadInput) as caught:
        passwords.hash_password(password)
    assert not password or password not in str(caught.value)


@pytest.mark.parametrize("password", ["", "x" * 10_000_000, "\ud800" * 10, "\x00" * 20])
def test_any_password_may_be_tried(password: str) -> None:
    assert not passwords.verify(passwords._nobody(passwords._HASHER), password)


def test_a_broken_hash_fits_no_password() -> None:
    assert not passwords.verify("not a hash", GOOD)


def test_a_wrong_name_and_a_wrong_password_are_answered_alike(db: Database) -> None:
    with db.write() as session:
        listener = accounts.add_listener(session, "Ana", GOOD)
    said = []
    for who, password in [(listener, "wrong password"), (None, GOOD)]:
        with pytest.raises(NotSignedIn) as caught:
            accounts.check_credentials(who, password)
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert accounts.check_credentials(listener, GOOD) is listener


def test_somebody_added_without_a_password_cannot_sign_in(ana: Listener) -> None:
    for password in ("", GOOD):
        with pytest.raises(NotSignedIn):
            accounts.check_credentials(ana, password)


@pytest.mark.parametrize("name", ["ana", "ANA", "  Ana ", "Ａｎａ"])
def test_names_are_unique_however_they_are_written(db: Database, ana: Listener, name: str) -> None:
    with pytest.raises(Conflict, match="taken"), db.write() as session:
        accounts.add_listener(session, name, None)
    with db.read() as session:
        assert accounts.by_name(session, name).id == ana.id


def test_names_beyond_ascii_fold_too(db: Database) -> None:
    with db.write() as session:
        accounts.add_listener(session, "Ümit", None)
    with pytest.raises(Conflict), db.write() as session:
        accounts.add_listener(session, "ÜMIT", None)


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "a\x00b", "\ud800", "x" * 10_000_000])
def test_a_name_that_cannot_be_is_refused(db: Database, name: str) -> None:
    with pytest.raises(BadInput), db.write() as session:
        accounts.add_listener(session, name, None)
    with db.read() as session:
        assert accounts.everyone(session) == []


@pytest.mark.parametrize("name", ["nobody", "", "\ud800", "a\x00b", "'; DROP TABLE listeners; --"])
def test_an_unknown_name_is_not_found_whatever_it_is(db: Database, name: str) -> None:
    with db.read() as session, pytest.raises(NotFound, match="no listener named"):
        accounts.by_name(session, name)


# -- the first listener -----------------------------------------------------------------------------


def test_the_first_listener_is_the_administrator_and_there_is_no_second_first(db: Database) -> None:
    with db.write() as session:
        assert not accounts.has_administrator(session)
        assert accounts.first_listener(session, "Ana", GOOD).is_admin
    with pytest.raises(Conflict), db.write() as session:
        accounts.first_listener(session, "Ben", GOOD)


def test_of_two_first_visits_at_once_one_wins(db: Database) -> None:
    start, outcomes = threading.Barrier(2), []

    def visit(name: str) -> None:
        start.wait()
        try:
            with db.write() as session:
                accounts.first_listener(session, name, GOOD)
            outcomes.append("administrator")
        except Conflict:
            outcomes.append("late")

    threads = [threading.Thread(target=visit, args=(name,)) for name in ("Ana", "Ben")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["administrator", "late"]
    with db.read() as session:
        assert [who.is_admin for who in accounts.everyone(session)] == [True]


# -- sessions ---------------------------------------------------------------------------------------


def test_a_sessions_token_is_not_in_the_database(db: Database, ana: Listener) -> None:
    with db.write() as session:
        token = accounts.start_session(session, ana.id, 1, "Firefox \ud800")
    with db.read() as session:
        (row,) = session.scalars(select(BrowserSession)).all()
        assert row.token_hash == token_hash(token) != token and token not in str(vars(row))
        found = accounts.whose_session(session, token)
        assert found is not None and found[0].id == ana.id
    assert token.encode() not in _bytes_of(db)


def _bytes_of(db: Database) -> bytes:
    """Everything that is stored: SQLite's file, or every row of PostgreSQL's tables."""
    with db.engine.connect() as connection:
        if db.is_sqlite:
            return bytes(connection.connection.driver_connection.serialize())  # type: ignore[union-attr]
        tables = inspect(connection).get_table_names()
        rows = [connection.execute(text(f'SELECT t::text FROM "{table}" t')).scalars().all() for table in tables]
    return repr(rows).encode()


def test_each_login_gets_a_token_of_its_own(db: Database, ana: Listener) -> None:
    with db.write() as session:
        assert len({accounts.start_session(session, ana.id, 1) for _ in range(5)}) == 5


@pytest.mark.parametrize("token", ["", "unknown", "\ud800", "x" * 100_000])
def test_an_unknown_token_is_nobodys(db: Database, token: str) -> None:
    with db.read() as session:
        assert accounts.whose_session(session, token) is None


def test_a_session_ends_when_its_time_is_over_and_is_cleared_away(db: Database, ana: Listener) -> None:
    with db.write() as session:
        token = accounts.start_session(session, ana.id, 1)
        session.execute(update(BrowserSession).values(expires_at=1))
    with db.read() as session:
        assert accounts.whose_session(session, token) is None
    with db.write() as session:
        accounts.start_session(session, ana.id, 1)
    with db.read() as session:
        assert session.get(BrowserSession, token_hash(token)) is None


def test_use_moves_a_sessions_end(db: Database, ana: Listener) -> None:
    with db.write() as session:
        token = accounts.start_session(session, ana.id, 1)
        session.execute(update(BrowserSession).values(seen_at=1))
    with db.read() as session:
        found = accounts.whose_session(session, token)
        assert found is not None and found[1], "a session not seen for long is to be touched"
        before = session.get_one(BrowserSession, token_hash(token)).expires_at
    with db.write() as session:
        accounts.touch_session(session, token, 9)
        accounts.touch_session(session, "unknown", 9)
    with db.read() as session:
        assert session.get_one(BrowserSession, token_hash(token)).expires_at > before
        found = accounts.whose_session(session, token)
        assert found is not None and not found[1]


def test_signing_out_ends_one_browser_and_a_new_password_ends_all(db: Database, ana: Listener) -> None:
    with db.write() as session:
        one, two, three = (accounts.start_session(session, ana.id, 1) for _ in range(3))
        accounts.end_session(session, one)
        assert accounts.whose_session(session, one) is None and accounts.whose_session(session, two)
        link = accounts.invite(session, None, 1, for_listener=ana.id)
        accounts.join(session, link, "ignored", GOOD)
        assert not accounts.whose_session(session, two) and not accounts.whose_session(session, three)
        assert accounts.check_credentials(accounts.by_name(session, "Ana"), GOOD)


# -- invites ----------------------------------------------------------------------------------------


def test_an_invite_works_once(db: Database, ana: Listener) -> None:
    with db.write() as session:
        token = accounts.invite(session, ana.id, 1)
        assert [link.token_hash for link in accounts.open_invites(session, ana.id)] == [token_hash(token)]
        ben = accounts.join(session, token, "Ben", GOOD)
        assert not ben.is_admin and accounts.open_invites(session, ana.id) == []
        assert session.get_one(Invite, token_hash(token)).used_by == ben.id
    with pytest.raises(NotFound), db.write() as session:
        accounts.join(session, token, "Cleo", GOOD)


def test_an_invite_ends(db: Database, ana: Listener) -> None:
    with db.write() as session:
        token = accounts.invite(session, ana.id, 1)
        session.execute(update(Invite).values(expires_at=1))
    with pytest.raises(NotFound), db.write() as session:
        accounts.join(session, token, "Ben", GOOD)


@pytest.mark.parametrize(("name", "password"), [("Ana", GOOD), ("", GOOD), ("Ben", "short"), ("B\x00", GOOD)])
def test_a_join_that_fails_leaves_the_invite_open(db: Database, ana: Listener, name: str, password: str) -> None:
    with db.write() as session:
        token = accounts.invite(session, ana.id, 1)
    with pytest.raises((BadInput, Conflict)), db.write() as session:
        accounts.join(session, token, name, password)
    with db.read() as session:
        assert accounts.open_invite(session, token)
        assert [who.name for who in accounts.everyone(session)] == ["Ana"]


def test_of_two_joins_by_one_link_at_once_one_wins(db: Database, ana: Listener) -> None:
    with db.write() as session:
        token = accounts.invite(session, ana.id, 1)
    start, outcomes = threading.Barrier(2), []

    def join(name: str) -> None:
        start.wait()
        try:
            with db.write() as session:
                accounts.join(session, token, name, GOOD)
            outcomes.append("in")
        except NotFound:
            outcomes.append("late")

    threads = [threading.Thread(target=join, args=(name,)) for name in ("Ben", "Cleo")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["in", "late"]


# -- time zones -------------------------------------------------------------------------------------


def test_a_time_zone_is_kept(db: Database, ana: Listener) -> None:
    with db.write() as session:
        accounts.set_time_zone(session, ana, "Europe/Berlin")
    with db.read() as session:
        assert session.get_one(Listener, ana.id).time_zone == "Europe/Berlin"


@pytest.mark.parametrize(
    "zone", ["", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Europe", "\ud800", "a\x00"]
)
def test_a_zone_that_is_none_is_refused(db: Database, ana: Listener, zone: str) -> None:
    with pytest.raises(BadInput), db.write() as session:
        accounts.set_time_zone(session, ana, zone)
    with db.read() as session:
        assert session.get_one(Listener, ana.id).time_zone == "UTC"


def test_a_zone_is_kept_as_it_was_checked(db: Database, ana: Listener) -> None:
    with db.write() as session:
        accounts.set_time_zone(session, ana, " Europe/Berlin ")
    with db.read() as session:
        assert session.get_one(Listener, ana.id).time_zone == "Europe/Berlin"
