"""Who is who: the first listener, invites, sessions."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import CursorResult, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db import Database, alone
from app.errors import BadInput, Conflict, NotFound, NotSignedIn
from app.services.passwords import Hashed, hash_password, verify
from app.services.text import clean, fold, show
from app.tables import BrowserSession, Invite, Listener, now

_DAY = 86_400
_NAME_MOST = 60
_SEEN_EVERY = 300
_KEY = 16  # digits of a session's hash that name it among one listener's own


def token_hash(token: str) -> str:
    """What is stored of a session's or an invite's token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def has_administrator(db: Session) -> bool:
    """Whether the first visit has happened."""
    return db.scalar(select(Listener.id).where(Listener.is_admin).limit(1)) is not None


def by_name(db: Session, name: str) -> Listener:
    """A listener by name. Raises NotFound."""
    key = fold(name.encode("utf-8", "replace").decode()).replace("\x00", "\ufffd")
    found = db.scalar(select(Listener).where(Listener.name_key == key))
    if found is None:
        raise NotFound(f"There is no listener named {show(name)}.")
    return found


def add_listener(db: Session, name: str, password: str | None, *, is_admin: bool = False) -> Listener:
    """A new listener. Without a password nobody can sign in as them until they follow a link of ``invite``.

    Raises BadInput or Conflict.
    """
    name = clean(name, "The name", most=_NAME_MOST)
    hashed = None if password is None else _hashed(password, name)
    listener = Listener(name=name, name_key=fold(name), password_hash=hashed, is_admin=is_admin)
    db.add(listener)
    try:
        db.flush()
    except IntegrityError:
        raise Conflict(f"The name {show(name)} is taken.") from None
    return listener


def _hashed(password: str, name: str) -> str:
    return str(password if isinstance(password, Hashed) else hash_password(password, [name]))


def hashed_for(database: Database, name: str, password: str, token: str = "") -> Hashed:
    """The password of a first listener, or of whoever joins by a link, hashed while nobody waits for the database.

    Raises what ``first_listener`` and ``join``, who take it, raise.
    """
    with database.read() as db:
        link = open_invite(db, token) if token else None
        if link is None:
            _refuse_a_second_first(db)
        elif link.for_listener is not None:
            name = db.get_one(Listener, link.for_listener).name
    return hash_password(password, [clean(name, "The name", most=_NAME_MOST)])


def _refuse_a_second_first(db: Session) -> None:
    if has_administrator(db):
        raise Conflict("This server has its first listener already. Ask them for an invite link.")


def first_listener(db: Session, name: str, password: str) -> Listener:
    """The first visit: its listener is the administrator. Raises Conflict if somebody was faster."""
    alone(db, "first listener")
    _refuse_a_second_first(db)
    return add_listener(db, name, password, is_admin=True)


def set_time_zone(db: Session, listener: Listener, zone: str) -> None:
    """Raises BadInput for a zone that the tz database lacks."""
    try:
        zone = ZoneInfo(clean(zone, "The time zone", most=60)).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadInput(f"There is no time zone {show(zone)}.") from None
    db.merge(listener).time_zone = zone


# -- invites ----------------------------------------------------------------------------------------


def invite(db: Session, made_by: str | None, days: int, for_listener: str | None = None) -> str:
    """A new single-use link's token; only its hash is kept."""
    token = secrets.token_urlsafe(24)
    db.add(
        Invite(token_hash=token_hash(token), made_by=made_by, for_listener=for_listener, expires_at=now() + days * _DAY)
    )
    return token


def open_invite(db: Session, token: str) -> Invite:
    """An invite that can still be used. Raises NotFound."""
    found = db.get(Invite, token_hash(token))
    if found is None or found.used_at is not None or found.expires_at < now():
        raise NotFound("This invite link was used already, has ended, or never was. Ask for a new one.")
    return found


def join(db: Session, token: str, name: str, password: str) -> Listener:
    """Use an invite: a new listener, or a password for the one it was made for. Raises NotFound, BadInput, Conflict."""
    alone(db, token_hash(token))
    link = open_invite(db, token)
    link.used_at = now()
    if link.for_listener is None:
        listener = add_listener(db, name, password)
    else:
        db.flush()  # every other link to set a password goes, and not this one
        listener = db.get_one(Listener, link.for_listener)
        _new_password(db, listener, _hashed(password, listener.name))
    link.used_by = listener.id
    return listener


def open_invites(db: Session, made_by: str) -> list[Invite]:
    """A listener's unused links."""
    wanted = select(Invite).where(Invite.made_by == made_by, Invite.used_at.is_(None), Invite.expires_at >= now())
    return list(db.scalars(wanted.order_by(Invite.created_at)))


def revoke_invite(db: Session, made_by: str, hashed: str) -> None:
    """End one of a listener's own unused links. Raises NotFound."""
    if not hashed.isascii() or len(hashed) != 64:
        raise NotFound("There is no such link.")
    found = db.get(Invite, hashed)
    if found is None or found.made_by != made_by or found.used_at is not None:
        raise NotFound("There is no such link.")
    db.delete(found)


# -- sessions ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who a request comes from."""

    id: str
    name: str
    is_admin: bool
    time_zone: str
    live_version: str | None
    sharing: str
    session: str = ""  # the key of the browser's session, as SeenSession has it


def as_signed_in(who: Listener, session: str = "") -> SignedIn:
    """A listener as requests carry them."""
    return SignedIn(who.id, who.name, who.is_admin, who.time_zone, who.live_version, who.sharing, session)


def check_credentials(listener: Listener | None, password: str) -> Listener:
    """Raises NotSignedIn with the same words, after the same time, for a wrong name and a wrong password."""
    if not verify(listener.password_hash if listener else None, password) or listener is None:
        raise NotSignedIn("Name and password do not fit together.")
    return listener


def start_session(db: Session, listener_id: str, days: int, agent: str = "") -> str:
    """A new session under a new token, which is returned and not kept."""
    token = secrets.token_urlsafe(32)
    readable = agent.encode("utf-8", "replace").decode()[:200]
    db.add(
        BrowserSession(
            token_hash=token_hash(token), listener_id=listener_id, expires_at=now() + days * _DAY, agent=readable
        )
    )
    db.execute(delete(BrowserSession).where(BrowserSession.expires_at < now()))
    return token


def whose_session(db: Session, token: str) -> tuple[SignedIn, bool] | None:
    """The listener behind a session, and whether it is time to note that it was seen; None if it has ended."""
    row = db.execute(
        select(BrowserSession, Listener)
        .join(Listener, Listener.id == BrowserSession.listener_id)
        .where(BrowserSession.token_hash == token_hash(token), BrowserSession.expires_at >= now())
    ).first()
    if row is None:
        return None
    session, who = row
    return as_signed_in(who, session.token_hash[:_KEY]), session.seen_at < now() - _SEEN_EVERY


def touch_session(db: Session, token: str, days: int) -> None:
    """Note that a session is in use and move its end."""
    session = db.get(BrowserSession, token_hash(token))
    if session is not None:
        session.seen_at, session.expires_at = now(), now() + days * _DAY


def sweep(db: Session) -> int:
    """Remove sessions and links that have ended, and links that were used; returns how many."""
    ended = delete(BrowserSession).where(BrowserSession.expires_at < now())
    links = delete(Invite).where((Invite.expires_at < now()) | Invite.used_at.is_not(None))
    return sum(cast("CursorResult[object]", db.execute(statement)).rowcount for statement in (ended, links))


def end_session(db: Session, token: str) -> None:
    """Sign out of one browser."""
    db.execute(delete(BrowserSession).where(BrowserSession.token_hash == token_hash(token)))


def end_all(db: Session, listener_id: str, but: str = "") -> None:
    """Sign out everywhere, as a new password does; but not of the browser whose session's key is given."""
    mine = delete(BrowserSession).where(BrowserSession.listener_id == listener_id)
    db.execute(mine.where(func.substr(BrowserSession.token_hash, 1, _KEY) != but))


@dataclass(frozen=True, slots=True)
class SeenSession:
    """A signed-in browser as its listener sees it. ``key`` names it in a form and is of no use as a cookie."""

    key: str
    agent: str
    created_at: int
    seen_at: int
    is_this: bool


def sessions(db: Session, listener_id: str, this: str) -> list[SeenSession]:
    """A listener's signed-in browsers: the one whose key is given first, then the last seen."""
    mine = select(BrowserSession).where(BrowserSession.listener_id == listener_id, BrowserSession.expires_at >= now())
    seen = [
        SeenSession(row.token_hash[:_KEY], row.agent, row.created_at, row.seen_at, row.token_hash[:_KEY] == this)
        for row in db.scalars(mine.order_by(BrowserSession.seen_at.desc(), BrowserSession.created_at.desc()))
    ]
    return sorted(seen, key=lambda session: not session.is_this)


def end_one(db: Session, listener_id: str, key: str) -> None:
    """End one of a listener's own sessions by its key. Raises NotFound, also for somebody else's."""
    mine = select(BrowserSession).where(BrowserSession.listener_id == listener_id)
    found = [row for row in db.scalars(mine) if row.token_hash[:_KEY] == key]
    if not found:
        raise NotFound(f"You have no session {show(key)}; perhaps it has ended already.")
    db.delete(found[0])


def proven(database: Database, listener_id: str, password: str) -> str | None:
    """What is stored of a listener's password if it is that one, else None. Nobody waits for the database meanwhile."""
    with database.read() as db:
        stored = db.get_one(Listener, listener_id).password_hash
    return stored if verify(stored, password) else None


def still(db: Session, listener_id: str, stored: str) -> Listener:
    """A listener whose password is what ``proven`` gave. Raises Conflict if it was changed since."""
    listener = db.get_one(Listener, listener_id)
    if listener.password_hash != stored:
        raise Conflict("The password was changed in this moment; nothing was done.")
    return listener


def change_password(db: Session, listener_id: str, stored: str, password: Hashed) -> None:
    """Set a new password and end every session; ``stored`` is what ``proven`` gave. Raises Conflict."""
    _new_password(db, still(db, listener_id, stored), str(password))


def _new_password(db: Session, listener: Listener, stored: str | None) -> None:
    """Whoever is signed in, or has a link to set another, had the old password's rights: both end."""
    listener.password_hash = stored
    end_all(db, listener.id)
    db.execute(delete(Invite).where(Invite.for_listener == listener.id, Invite.used_at.is_(None)))


def reset_password(db: Session, listener: Listener, days: int) -> str:
    """Take a listener's password away, end every session and older link, and make a link to set a new one by."""
    _new_password(db, listener, None)
    return invite(db, None, days, for_listener=listener.id)


def everyone(db: Session) -> list[Listener]:
    """All listeners by name."""
    return list(db.scalars(select(Listener).order_by(Listener.name_key)))
