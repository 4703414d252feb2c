"""The administrator's page: people, invites, jobs, health, storage, backup."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app.errors import Conflict
from app.services import accounts, administering, chores, retraining
from app.web.access import Me, Shared
from app.web.health import missing
from app.web.rendering import State, go, page

router = APIRouter(prefix="/admin")


@router.get("")
def overview(request: Request, state: Shared, who: Me) -> Response:
    return _page(request, state)


def places(state: State) -> list[tuple[str, Path]]:
    """Where data lies, in words; everything first."""
    settings = state.settings
    return [
        ("data, with everything in it", settings.data), ("catalogue vectors", settings.vectors),
        ("backups", settings.backups), ("adapters", settings.adapters),
    ]  # fmt: skip


def backups(state: State) -> list[str]:
    """Names of the backups, newest first."""
    return sorted((file.name for file in state.settings.backups.glob("*.tar.gz")), reverse=True)


def _page(request: Request, state: State, link: str = "", link_for: str = "") -> Response:
    with state.db.read() as db:
        return page(
            request, "admin.html", people=administering.people(db), invites=administering.invites(db),
            jobs=administering.jobs(db), chores=administering.chores(db), storage=administering.storage(places(state)),
            missing=missing(state), active=retraining.ACTIVE, link=link, link_for=link_for,
            backups=backups(state), can_back_up=state.settings.can_back_up,
        )  # fmt: skip


@router.post("/people/{person_id}/rights")
def rights(state: Shared, who: Me, person_id: str, admin: Annotated[str, Form()] = "") -> Response:
    """Make somebody an administrator ("yes"), or take it from them."""
    with state.db.write() as db:
        administering.set_administrator(db, person_id, admin == "yes")
    return go("/admin#people")


@router.post("/people/{person_id}/reset")
def reset(request: Request, state: Shared, who: Me, person_id: str) -> Response:
    """A link, shown this once, by which somebody sets a new password; they are signed out everywhere."""
    with state.db.write() as db:
        person = administering.person(db, person_id)
        token = accounts.reset_password(db, person, state.settings.invite_days)
    return _page(request, state, str(request.url_for("join_form", token=token)), person.name)


@router.post("/invites/{invite_key}/end")
def end_invite(state: Shared, who: Me, invite_key: str) -> Response:
    with state.db.write() as db:
        administering.end_invite(db, invite_key)
    return go("/admin#invites")


@router.post("/jobs/{job_id}/cancel")
def cancel(state: Shared, who: Me, job_id: str) -> Response:
    """Stop a retrain, somebody's or the circle's."""
    with state.db.write() as db:
        administering.cancel(db, job_id)
    return go("/admin#jobs")


@router.post("/backup")
def back_up(state: Shared, who: Me) -> Response:
    """Have a backup made by the worker as soon as it is free."""
    ask_for_backup(state)
    return go("/admin#backup")


def ask_for_backup(state: State) -> None:
    """Raises Conflict where the worker can make none."""
    if not state.settings.can_back_up:
        raise Conflict("What lies in PostgreSQL or in shared storage is backed up there, not by Earshot.")
    with state.db.write() as db:
        chores.ask(db, "backup")
