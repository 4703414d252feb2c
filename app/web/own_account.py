"""Settings of one's account: signed-in browsers, password, and leaving for good."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.errors import BadInput
from app.services import accounts, privacy
from app.services.accounts import SignedIn
from app.services.passwords import hash_password
from app.web.access import Me, Shared, forget_cookie, set_cookie
from app.web.rendering import State, go

router = APIRouter(prefix="/settings")

Text = Annotated[str, Form()]


def sessions_shown(state: State, db: Session, who: SignedIn) -> dict[str, Any]:
    """Every signed-in browser of a listener."""
    return {"sessions": accounts.sessions(db, who.id, who.session)}


def nothing_shown(state: State, db: Session, who: SignedIn) -> dict[str, Any]:
    """For a section that is a form only."""
    return {}


# What tables hold, in words; what is not here is shown by its name.
_WORDS = {
    "sessions": "signed-in browsers", "invites": "invite links", "adapter_versions": "versions of your taste",
    "jobs": "retrains", "preferences": "picks", "feedback": "opinions on songs", "songs": "songs that only you know",
    "api_tokens": "tokens of players", "shares": "friends you share with", "blend_members": "places in blends",
}  # fmt: skip


def leaving_shown(state: State, db: Session, who: SignedIn) -> dict[str, Any]:
    """What goes with an account."""
    goes = privacy.what_goes(db, who.id)
    return {"goes": [(_WORDS.get(name, name.replace("_", " ")), rows) for name, rows in goes.items()]}


@router.post("/sessions/end")
def end_session(state: Shared, who: Me, session: Text = "") -> Response:
    """End one browser's session, or with "others" all but this one."""
    with state.db.write() as db:
        if session == "others":
            accounts.end_all(db, who.id, but=who.session)
        else:
            accounts.end_one(db, who.id, session)
    return go("/settings#sessions")


@router.post("/password")
def password(request: Request, state: Shared, who: Me, current: Text = "", new: Text = "") -> Response:
    """A new password ends every session; this browser gets a new one."""
    response = go("/settings#password")
    set_cookie(response, state.settings, new_password(request, state, who, current, new))
    return response


def new_password(request: Request, state: State, who: SignedIn, current: str, new: str) -> str:
    """Change a password; returns the token of the session that goes on. Raises BadInput."""
    stored = accounts.proven(state.db, who.id, current)
    if stored is None:
        raise BadInput("The current password is not that.")
    hashed = hash_password(new, [who.name])
    with state.db.write() as db:
        accounts.change_password(db, who.id, stored, hashed)
        return accounts.start_session(db, who.id, state.settings.session_days, request.headers.get("user-agent", ""))


@router.post("/delete")
def delete(request: Request, state: Shared, who: Me, current: Text = "") -> Response:
    leave(state, who, current)
    response = go("/login")
    forget_cookie(response, state.settings)
    return response


def leave(state: State, who: SignedIn, current: str) -> None:
    """Leave for good: rows now, files now, what is left in free pages and the log of writes within minutes.

    Raises BadInput for a wrong password, Conflict for the only administrator of others.
    """
    stored = accounts.proven(state.db, who.id, current)
    if stored is None:
        raise BadInput("The password is not that; nothing was deleted.")
    with state.db.write() as db:
        accounts.still(db, who.id, stored)
        privacy.delete_account(db, who.id)
    privacy.remove_files([state.settings.adapters, state.settings.data / "imports"], who.id, state.settings.storage)
    if state.engine.ready:
        state.engine.get().forget(who.id)
