"""API tokens: a listener's keys for players and programs, shown once, stored hashed, scoped, revocable."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.errors import BadInput, Conflict, NotFound
from app.services.accounts import SignedIn, as_signed_in, token_hash
from app.services.text import clean, show
from app.tables import Listener, now
from app.tables_players import ApiToken, AuthRequest

SCOPES = ("submit", "read")
_MOST = 100
_NAME_MOST = 60
_SEEN_EVERY = 300
REQUEST_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Holder:
    """Who a token speaks for, what it may do, and by which name the listener knows the device."""

    who: SignedIn
    token_id: str
    name: str
    scopes: frozenset[str]
    is_stale: bool


def session_key(listener_name: str, token: str) -> str:
    """What Audioscrobbler clients make of a name and a password, here a token: md5(name + md5(password)).

    It cannot be turned back into the token and serves as its session key.
    """
    inner = hashlib.md5(token.encode(), usedforsecurity=False).hexdigest()
    return hashlib.md5((listener_name + inner).encode(), usedforsecurity=False).hexdigest()


def add(db: Session, listener_id: str, name: str, scopes: Iterable[str]) -> tuple[ApiToken, str]:
    """A new token and its text, which is kept nowhere. Raises BadInput or Conflict."""
    name = clean(name, "The token's name", most=_NAME_MOST)
    asked = list(scopes)
    if not asked or not set(asked) <= set(SCOPES):
        raise BadInput(f"A token may submit, read, or both, not {show(' '.join(asked))}.")
    if len(mine(db, listener_id)) >= _MOST:
        raise Conflict(f"{_MOST} tokens are the most that one listener may have. Revoke one first.")
    listener = db.get_one(Listener, listener_id)
    token = str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))  # some players take no other form
    made = ApiToken(
        listener_id=listener_id, name=name, scopes=" ".join(s for s in SCOPES if s in asked),
        token_hash=token_hash(token), session_hash=token_hash(session_key(listener.name, token)),
    )  # fmt: skip
    db.add(made)
    try:
        db.flush()
    except IntegrityError:
        raise Conflict(f"You have a token named {show(name)} already.") from None
    return made, token


def mine(db: Session, listener_id: str) -> list[ApiToken]:
    """A listener's tokens, newest first."""
    wanted = select(ApiToken).where(ApiToken.listener_id == listener_id)
    return list(db.scalars(wanted.order_by(ApiToken.created_at.desc(), ApiToken.name)))


def revoke(db: Session, listener_id: str, token_id: str) -> None:
    """End one of a listener's own tokens; it is refused from now on. Raises NotFound, also for somebody else's."""
    found = db.get(ApiToken, token_id.encode("utf-8", "replace").decode().replace("\x00", "")[:16])
    if found is None or found.listener_id != listener_id:
        raise NotFound(f"You have no token {show(token_id)}.")
    db.delete(found)


def _holder(db: Session, *conditions: ColumnElement[bool]) -> Holder | None:
    row = db.execute(
        select(ApiToken, Listener).join(Listener, Listener.id == ApiToken.listener_id).where(*conditions)
    ).first()
    if row is None:
        return None
    token, listener = row
    is_stale = (token.used_at or 0) < now() - _SEEN_EVERY
    return Holder(as_signed_in(listener), token.id, token.name, frozenset(token.scopes.split()), is_stale)


def whose(db: Session, token: str) -> Holder | None:
    """Who a token speaks for; None if it never was, or was revoked."""
    return _holder(db, ApiToken.token_hash == token_hash(token))


def whose_session(db: Session, key: str) -> Holder | None:
    """Who an Audioscrobbler session key speaks for: one of ``session_key``, or a token itself."""
    hashed = token_hash(key)
    return _holder(db, (ApiToken.session_hash == hashed) | (ApiToken.token_hash == hashed))


def touch(db: Session, token_id: str) -> None:
    """Note that a token is in use."""
    found = db.get(ApiToken, token_id)
    if found is not None:
        found.used_at = now()


# -- programs that ask for approval -----------------------------------------------------------------


def open_request(db: Session) -> str:
    """Audioscrobbler's getToken: a secret by which a program waits for a listener's approval, for an hour."""
    for old in db.scalars(select(AuthRequest).where(AuthRequest.expires_at < now()).limit(500)):
        db.delete(old)
    if (db.scalar(select(func.count()).select_from(AuthRequest)) or 0) >= 1000:
        raise Conflict("Too many programs wait for approval; try again later.")
    secret = secrets.token_hex(16)
    db.add(AuthRequest(token_hash=token_hash(secret), expires_at=now() + REQUEST_SECONDS))
    return secret


def request_of(db: Session, secret: str) -> AuthRequest:
    """A request that still waits. Raises NotFound."""
    found = db.get(AuthRequest, token_hash(secret))
    if found is None or found.expires_at < now():
        raise NotFound(
            "No program waits under this address. It may have waited for more than an hour; start anew there."
        )
    return found


def approve(db: Session, listener_id: str, secret: str, name: str, scopes: Iterable[str]) -> None:
    """Let a program in. Its token is made when it asks for its session. Raises NotFound, BadInput, Conflict."""
    waiting = request_of(db, secret)
    if waiting.listener_id is not None:
        raise Conflict("This program was let in already.")
    name = clean(name, "The program's name", most=_NAME_MOST)
    asked = set(scopes)
    if not asked or not asked <= set(SCOPES):
        raise BadInput("Say whether the program may submit, read, or both.")
    if any(token.name == name for token in mine(db, listener_id)):
        raise Conflict(f"You have a token named {show(name)} already.")
    waiting.listener_id, waiting.name = listener_id, name
    waiting.scopes = " ".join(s for s in SCOPES if s in asked)


def take_session(db: Session, secret: str) -> tuple[str, str] | None:
    """(listener's name, session key) for an approved request, once; None while it waits. Raises NotFound, Conflict."""
    waiting = request_of(db, secret)
    if waiting.listener_id is None:
        return None
    listener = db.get_one(Listener, waiting.listener_id)
    _, token = add(db, listener.id, waiting.name, waiting.scopes.split())
    db.delete(waiting)
    return listener.name, session_key(listener.name, token)
