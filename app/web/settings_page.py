"""One's settings: a page of sections. Each has a template of its own and a function that gathers what it shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any
from zoneinfo import available_timezones

from fastapi import APIRouter, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.services import accounts, hiding, tokens
from app.services.accounts import SignedIn
from app.tables import Listener
from app.web import own_account
from app.web.access import Me, Shared
from app.web.rendering import State, go, page

router = APIRouter(prefix="/settings")


@dataclass(frozen=True, slots=True)
class Section:
    """One section: ``settings/<template>`` gets what ``gather`` gives, beside ``who``."""

    id: str
    heading: str
    template: str
    gather: Callable[[State, Session, SignedIn], dict[str, Any]]


@lru_cache
def _zones() -> list[str]:
    """Places of the tz database, without its technical names."""
    return ["UTC", *sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/"))]


def _time_zone(state: State, db: Session, who: SignedIn) -> dict[str, Any]:
    return {"zones": _zones() if who.time_zone in _zones() else [who.time_zone, *_zones()]}


def _tokens(state: State, db: Session, who: SignedIn) -> dict[str, Any]:
    return {"names": [made.name for made in tokens.mine(db, who.id)]}


def _hidden(state: State, db: Session, who: SignedIn) -> dict[str, Any]:
    return {"artists": hiding.hidden(db, who.id)}


# In the order of the page; other rooms add theirs here.
SECTIONS = (
    Section("time-zone", "Time zone", "time_zone.html", _time_zone),
    Section("tokens", "API tokens", "tokens.html", _tokens),
    Section("hidden-artists", "Hidden artists", "hidden_artists.html", _hidden),
    Section("export", "Take it with you", "export.html", own_account.nothing_shown),
    Section("sessions", "Signed-in browsers", "sessions.html", own_account.sessions_shown),
    Section("password", "Password", "password.html", own_account.nothing_shown),
    Section("leaving", "Delete my account", "leaving.html", own_account.leaving_shown),
)


@router.get("")
def settings(request: Request, state: Shared, who: Me) -> Response:
    with state.db.read() as db:
        values = {section.id: section.gather(state, db, who) for section in SECTIONS}
    return page(request, "settings.html", sections=SECTIONS, values=values)


@router.post("/time-zone")
def time_zone(state: Shared, who: Me, zone: Annotated[str, Form()] = "") -> Response:
    with state.db.write() as db:
        accounts.set_time_zone(db, db.get_one(Listener, who.id), zone)
    return go("/settings#time-zone")
