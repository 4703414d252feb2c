"""My taste: retrain, watch it learn, see the proof, choose a version."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.errors import NotFound, TooFewListens
from app.services import listens, retraining
from app.tables import Job
from app.web.access import Me, Shared
from app.web.rendering import State, go, page

router = APIRouter(prefix="/taste")

_LOOK_SECONDS = 0.4


def progress(job: Job) -> dict[str, Any]:
    """What the page shows of a job."""
    return {
        "id": job.id, "state": job.state, "phase": job.phase, "step": job.step, "of": job.of, "loss": job.loss,
        "eta": job.eta, "losses": job.losses, "error": job.error, "active": job.state in retraining.ACTIVE,
    }  # fmt: skip


@router.get("")
def taste(request: Request, state: Shared, who: Me) -> Response:
    with state.db.read() as db:
        job = retraining.latest(db, who.id)
        versions = retraining.versions(db, who.id)
        have = listens.songs_liked(db, who.id)
    needed = state.settings.min_songs
    return page(
        request, "taste.html", job=progress(job) if job else None, versions=versions, have=have, needed=needed,
        missing=max(0, needed - have), live=who.live_version,
        shown=next((v for v in versions if job is not None and v.id == job.version), None),
    )  # fmt: skip


@router.post("/retrain")
def retrain(request: Request, state: Shared, who: Me) -> Response:
    try:
        with state.db.write() as db:
            retraining.request(db, who.id, state.settings.min_songs)
    except TooFewListens as problem:
        return page(request, "error.html", problem.status, message=str(problem))
    return go("/taste")


@router.post("/cancel")
def cancel(state: Shared, who: Me) -> Response:
    with state.db.write() as db:
        retraining.cancel(db, who.id)
    return go("/taste")


@router.post("/live")
def live(state: Shared, who: Me, version: Annotated[str, Form()] = "") -> Response:
    """Make a version answer; empty is the base."""
    with state.db.write() as db:
        retraining.go_live(db, who.id, version or None)
    return go("/taste")


def _look(state: State, listener_id: str) -> dict[str, Any]:
    with state.db.read() as db:
        job = retraining.latest(db, listener_id)
        if job is None:
            raise NotFound("There is no retrain to watch.")
        return progress(job)


@router.get("/events", response_class=EventSourceResponse)
async def events(request: Request, state: Shared, who: Me) -> AsyncIterator[ServerSentEvent]:
    """The listener's newest job, sent whenever it changes and until it has ended."""
    seen: dict[str, Any] | None = None
    while not await request.is_disconnected():
        current = await run_in_threadpool(_look, state, who.id)
        if current != seen:
            seen = current
            yield ServerSentEvent(data=current)
        if not current["active"]:
            return
        await asyncio.sleep(_LOOK_SECONDS)
