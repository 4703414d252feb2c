"""API tokens: shown once, stored hashed, scoped, revocable, each listener's own."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.db import Database
from app.errors import BadInput, Conflict, NotFound
from app.services import tokens
from app.tables import Listener, now
from app.tables_players import AuthRequest


def new(db: Session, listener: Listener, name: str = "Phone", *scopes: str) -> str:
    """The text of a new token."""
    return tokens.add(db, listener.id, name, scopes or ("submit",))[1]


def test_a_token_speaks_for_its_listener_with_its_scopes(db: Database, ana: Listener) -> None:
    with db.write() as session:
        phone, both = new(session, ana), new(session, ana, "Desk", "read", "submit")
        holder = tokens.whose(session, phone)
        assert holder is not None
        assert (holder.who.name, holder.name, holder.scopes) == ("Ana", "Phone", {"submit"})
        other = tokens.whose(session, both)
        assert other is not None and other.scopes == {"submit", "read"}
        for wrong in ("", phone[:-1], phone.upper(), "\ud800", "x" * 10_000):
            assert tokens.whose(session, wrong) is None and tokens.whose_session(session, wrong) is None


def test_nothing_in_the_database_gives_a_token_away(db: Database, ana: Listener) -> None:
    with db.write() as session:
        token = new(session, ana)
        key = tokens.session_key("Ana", token)
    with db.read() as session:
        row = repr(session.execute(text("SELECT * FROM api_tokens")).all())
    assert token not in row and key not in row and token.replace("-", "") not in row


def test_a_revoked_token_is_refused_and_so_is_its_session_key(db: Database, ana: Listener) -> None:
    with db.write() as session:
        made, token = tokens.add(session, ana.id, "Phone", ["submit"])
        key = tokens.session_key("Ana", token)
        assert tokens.whose_session(session, key) is not None
        tokens.revoke(session, ana.id, made.id)
    with db.read() as session:
        assert tokens.whose(session, token) is None and tokens.whose_session(session, key) is None
        assert tokens.mine(session, ana.id) == []


def test_nobody_revokes_or_sees_the_token_of_somebody_else(db: Database, ana: Listener, ben: Listener) -> None:
    with db.write() as session:
        made, token = tokens.add(session, ana.id, "Phone", ["submit"])
        assert tokens.mine(session, ben.id) == []
        for wrong in (made.id, "", "\x00", "\ud800", "x" * 1000):
            with pytest.raises(NotFound):
                tokens.revoke(session, ben.id, wrong)
        assert tokens.whose(session, token) is not None


@pytest.mark.parametrize("scopes", [[], ["write"], ["submit", "admin"], [""]])
def test_a_token_may_submit_or_read_and_nothing_else(db: Database, ana: Listener, scopes: list[str]) -> None:
    with pytest.raises(BadInput), db.write() as session:
        tokens.add(session, ana.id, "Phone", scopes)


def test_two_tokens_of_one_listener_have_two_names(db: Database, ana: Listener, ben: Listener) -> None:
    with db.write() as session:
        new(session, ana)
        new(session, ben)
    with pytest.raises(Conflict), db.write() as session:
        new(session, ana)


def test_a_program_is_let_in_once_by_the_listener_who_approves(db: Database, ana: Listener) -> None:
    with db.write() as session:
        secret = tokens.open_request(session)
        assert tokens.take_session(session, secret) is None, "nobody approved yet"
        tokens.approve(session, ana.id, secret, "Desk player", ["submit"])
        taken = tokens.take_session(session, secret)
        assert taken is not None
        name, key = taken
        holder = tokens.whose_session(session, key)
        assert name == "Ana" and holder is not None and holder.name == "Desk player" and holder.scopes == {"submit"}
        with pytest.raises(NotFound):
            tokens.take_session(session, secret)


def test_an_old_request_ends_and_a_second_approval_is_refused(db: Database, ana: Listener, ben: Listener) -> None:
    with db.write() as session:
        secret = tokens.open_request(session)
        tokens.approve(session, ana.id, secret, "Desk player", ["submit"])
        with pytest.raises(Conflict):
            tokens.approve(session, ben.id, secret, "Desk player", ["submit"])
        old = tokens.open_request(session)
        session.get_one(AuthRequest, tokens.token_hash(old)).expires_at = now() - 1
        with pytest.raises(NotFound):
            tokens.approve(session, ana.id, old, "Other", ["submit"])
