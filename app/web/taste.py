"""My taste: retrain, watch it learn, see the proof, choose a version, look at the map."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.errors import NotFound, TooFewListens
from app.services import comparing, listens, mapping, profile, proof, retraining
from app.tables import Job
from app.web import pictures
from app.web.access import Me, Shared
from app.web.rendering import State, go, page
from app.web.streams import Streamed

router = APIRouter(prefix="/taste")

_LOOK_SECONDS = 0.4
_PHASES = {
    "reading": "Reading your songs", "learning": "Learning", "evaluating": "Looking for your hidden songs",
    "refitting": "Learning from the hidden songs too", "saving": "Saving",
}  # fmt: skip


def progress(job: Job) -> dict[str, Any]:
    """A job as it stands, for the page and for programs."""
    return {
        "id": job.id, "state": job.state, "phase": job.phase, "step": job.step, "of": job.of, "loss": job.loss,
        "eta": job.eta, "losses": job.losses, "error": job.error, "active": job.state in retraining.ACTIVE,
    }  # fmt: skip


def _told(job: Job) -> dict[str, Any]:
    """The same with words, which are the same whether the page or its script shows them."""
    words = "Waiting for the worker" if job.state == "queued" else _PHASES.get(job.phase, "Working")
    words = f"{words}, step {job.step} of {job.of}" if job.of else words
    return progress(job) | {"words": words, "left": _left(job)}


def _left(job: Job) -> str:
    parts = [] if job.loss is None else [f"loss {job.loss:.3f}"]
    if job.eta is not None:
        parts.append(f"about {max(1, round(job.eta))} s left")
    return " · ".join(parts)


@router.get("")
def taste(request: Request, state: Shared, who: Me) -> Response:
    with state.db.read() as db:
        job = retraining.latest(db, who.id)
        versions = retraining.versions(db, who.id)
        have = listens.songs_liked(db, who.id)
        shown = next((v for v in versions if job is not None and v.id == job.version), None) or next(
            iter(versions), None
        )
        proved = None if shown is None else proof.of(db, shown)
        played = profile.of(db, who.id, who.time_zone)
    needed = state.settings.min_songs
    if have >= needed:  # the button is there: the worker loads the base while the page is read
        state.wake_worker()
    lora = state.engine.get().facts() if shown and state.engine.ready else None  # the page does not wait for the base
    return page(
        request, "taste.html", job=_told(job) if job else None, versions=versions, have=have, needed=needed,
        missing=max(0, needed - have), live=who.live_version, shown=shown, proof=proved, played=played,
        curve=pictures.loss_curve(job.losses if job else []), lora=lora,
        matrices=pictures.matrices(lora.inputs, lora.outputs, lora.rank) if lora else "",
        places=pictures.places([(h.before, h.after) for h in proved.hidden]) if proved else "",
        genres=pictures.bars((c.name, c.plays) for c in played.genres),
        artists=pictures.bars((c.name, c.plays) for c in played.artists),
        decades=pictures.bars(((c.name, c.plays) for c in played.decades), upright=True),
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


@router.get("/compare")
def compare(request: Request, state: Shared, who: Me, a: str = comparing.BASE, b: str = comparing.BASE) -> Response:
    """What two versions recommend, side by side."""
    engine = state.engine.get()
    with state.db.read() as db:
        versions = retraining.versions(db, who.id)
        columns = comparing.side_by_side(db, engine, state.kinds, who.id, a, b)
    return page(request, "compare.html", columns=columns, versions=versions, a=a, b=b)


@router.get("/map")
def song_map(request: Request, state: Shared, who: Me) -> Response:
    """Songs laid out by their vectors, one's own lit."""
    engine = state.engine.get()
    if not mapping.start(engine):
        return page(request, "map.html", found=None, picture="")
    with state.db.read() as db:
        found = mapping.taste_map(db, engine, state.kinds, who.id)
    drawn = pictures.song_map(
        found.others, [(m.base, m.now) for m in found.mine], [(r.name, r.at) for r in found.regions]
    )
    return page(request, "map.html", found=found, picture=drawn)


def _look(state: State, listener_id: str) -> dict[str, Any]:
    with state.db.read() as db:
        job = retraining.latest(db, listener_id)
        if job is None:
            raise NotFound("There is no retrain to watch.")
        return _told(job)


def _something_to_watch(state: Shared, who: Me) -> None:
    """Raises NotFound while it can still be answered: once a stream has begun, it would be a bug."""
    _look(state, who.id)


@router.get("/events", response_class=EventSourceResponse, dependencies=[Depends(_something_to_watch)])
async def events(state: Shared, who: Me, stream: Streamed) -> AsyncIterator[ServerSentEvent]:
    """The listener's newest job, sent whenever it changes and until it has ended."""
    seen: dict[str, Any] | None = None
    async for current in stream.looks(partial(_look, state, who.id)):
        if current != seen:
            seen = current
            curve = await run_in_threadpool(pictures.loss_curve, current["losses"])
            yield ServerSentEvent(data=current | {"curve": str(curve)})
        if not current["active"]:
            return
        await asyncio.sleep(_LOOK_SECONDS)
