"""The administrator's room: people, links, jobs, health, backup. For a session only: no token comes in."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from app.services import accounts, administering, retraining
from app.tables import now
from app.web import admin as pages
from app.web.access import Me, Shared
from app.web.api import shapes_admin as shapes
from app.web.api.routing import room
from app.web.api.shapes_circle import InviteOut
from app.web.health import missing

router = room("/admin", "administration")


@router.get("/people")
def people(state: Shared, who: Me) -> shapes.PeopleOut:
    """Everybody, with when they were last seen and how much they logged."""
    with state.db.read() as db:
        return shapes.PeopleOut(people=[shapes.PersonOut.model_validate(one) for one in administering.people(db)])


@router.put("/people/{person_id}/rights")
def set_rights(state: Shared, who: Me, person_id: str, wanted: shapes.Rights) -> shapes.PeopleOut:
    """Make somebody an administrator, or take it from them. 409 for the last one."""
    with state.db.write() as db:
        administering.set_administrator(db, person_id, wanted.admin)
    return people(state, who)


@router.post("/people/{person_id}/reset", status_code=201)
def reset_password(request: Request, state: Shared, who: Me, person_id: str) -> InviteOut:
    """A link, told only now, by which somebody sets a new password; they are signed out everywhere."""
    days = state.settings.invite_days
    with state.db.write() as db:
        token = accounts.reset_password(db, administering.person(db, person_id), days)
    return InviteOut(link=str(request.url_for("join_form", token=token)), expires_at=now() + days * 86_400)


@router.get("/invites")
def links(state: Shared, who: Me) -> shapes.LinksMadeOut:
    """Everybody's open links."""
    with state.db.read() as db:
        found = administering.invites(db)
    return shapes.LinksMadeOut(
        invites=[
            shapes.LinkMadeOut(
                key=one.token_hash[:16], by=by, created_at=one.created_at, expires_at=one.expires_at
            )
            for one, by in found
        ]
    )  # fmt: skip


@router.delete("/invites/{invite_key}", status_code=204)
def end_link(state: Shared, who: Me, invite_key: str) -> Response:
    """End an open link."""
    with state.db.write() as db:
        administering.end_invite(db, invite_key)
    return Response(status_code=204)


@router.get("/jobs")
def jobs(state: Shared, who: Me) -> shapes.AnyJobsOut:
    """The newest retrains."""
    with state.db.read() as db:
        found = administering.jobs(db)
    return shapes.AnyJobsOut(
        jobs=[
            shapes.AnyJobOut(
                id=job.id, person_id=job.listener_id, name=name, kind=job.kind, state=job.state, phase=job.phase,
                step=job.step, of=job.of, active=job.state in retraining.ACTIVE, created_at=job.created_at,
            )
            for job, name in found
        ]
    )  # fmt: skip


@router.post("/jobs/{job_id}/cancel")
def cancel_job(state: Shared, who: Me, job_id: str) -> shapes.AnyJobsOut:
    """Stop a retrain, somebody's or the circle's; with a person's id in its place, their own."""
    with state.db.write() as db:
        administering.cancel(db, job_id)
    return jobs(state, who)


@router.get("/health")
def health(state: Shared, who: Me) -> shapes.HealthOut:
    """Whether everything is there, what the worker did, how much room is taken, and which backups there are."""
    with state.db.read() as db:
        return shapes.HealthOut(
            missing=missing(state), backups=pages.backups(state),
            chores=[shapes.ChoreOut.model_validate(one) for one in administering.chores(db)],
            storage=[
                shapes.StorageOut(name=name, size=size) for name, size in administering.storage(pages.places(state))
            ],
        )  # fmt: skip


@router.post("/backup", status_code=202)
def back_up(state: Shared, who: Me) -> shapes.HealthOut:
    """Have a backup made by the worker as soon as it is free. 409 for PostgreSQL and shared storage."""
    pages.ask_for_backup(state)
    return health(state, who)
