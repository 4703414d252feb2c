"""Lists and taste: recommend, retrain, versions."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from app.errors import NotFound
from app.services import listens, retraining
from app.services.recommending import WISH_MOST, Mode, recommend
from app.tables import Job, Listener
from app.web.access import Me, Shared
from app.web.api.routing import room
from app.web.api.shapes import song_out
from app.web.api.shapes_taste import JobOut, Live, ReasonOut, RecommendedOut, SuggestionOut, TasteOut, VersionOut
from app.web.taste import progress

router = room("", "taste")


@router.get("/recommendations")
def recommendations(
    state: Shared, who: Me, mode: Mode = "discover", wish: Annotated[str, Query(max_length=WISH_MOST)] = "",
    count: Annotated[int, Query(ge=1, le=200)] = 20,
) -> RecommendedOut:  # fmt: skip
    """Songs for you, with reasons in your own. The first call after a start waits for the base to load."""
    engine = state.engine.get()
    with state.db.read() as db:
        made = recommend(db, engine, state.kinds, who.id, mode=mode, wish=wish, count=count)
    songs = [
        SuggestionOut(
            song=song_out(one.song), score=one.score, loved=one.loved,
            reasons=[
                ReasonOut(because=r.label, share=r.share, song_id=r.song_id) for r in one.reasons
            ],
        )
        for one in made.suggestions
    ]  # fmt: skip
    return RecommendedOut(songs=songs, version=made.version)


def _job(job: Job) -> JobOut:
    return JobOut(**progress(job))


@router.get("/taste")
def taste(state: Shared, who: Me) -> TasteOut:
    """Where your taste stands."""
    with state.db.read() as db:
        job = retraining.latest(db, who.id)
        return TasteOut(
            songs=listens.songs_liked(db, who.id), needed=state.settings.min_songs, job=_job(job) if job else None,
            live_version=db.get_one(Listener, who.id).live_version,
            versions=[VersionOut.model_validate(one) for one in retraining.versions(db, who.id)],
        )  # fmt: skip


@router.get("/taste/job")
def newest_job(state: Shared, who: Me) -> JobOut:
    """Your newest retrain; ask again while it is active."""
    with state.db.read() as db:
        job = retraining.latest(db, who.id)
    if job is None:
        raise NotFound("There is no retrain yet.")
    return _job(job)


@router.post("/taste/retrain", status_code=202)
def retrain(state: Shared, who: Me) -> JobOut:
    """Retrain your taste; while one is on its way, it is that one. 409 says how many songs are missing."""
    with state.db.write() as db:
        return _job(retraining.request(db, who.id, state.settings.min_songs))


@router.post("/taste/cancel")
def cancel(state: Shared, who: Me) -> JobOut:
    """Stop the retrain that waits or runs."""
    with state.db.write() as db:
        return _job(retraining.cancel(db, who.id))


@router.put("/taste/live")
def go_live(state: Shared, who: Me, live: Live) -> Live:
    """Choose which version answers, or the base."""
    with state.db.write() as db:
        retraining.go_live(db, who.id, live.version)
    return live
