"""Your taste: retrain, versions and their proof, what you played, comparison and map."""

from __future__ import annotations

from collections.abc import Sequence

from app.errors import NotFound
from app.services import comparing, listens, mapping, profile, proof, retraining
from app.services.profile import Counted
from app.tables import Job, Listener
from app.web.access import Me, Shared
from app.web.api import shapes_taste as shapes
from app.web.api.routing import room
from app.web.api.shapes import song_out
from app.web.taste import progress

router = room("", "taste")


def _job(job: Job) -> shapes.JobOut:
    return shapes.JobOut(**progress(job))


@router.get("/taste")
def taste(state: Shared, who: Me) -> shapes.TasteOut:
    """Where your taste stands."""
    with state.db.read() as db:
        job = retraining.latest(db, who.id)
        have, needed = listens.songs_liked(db, who.id), state.settings.min_songs
        if have >= needed:  # a retrain may come: the worker loads the base meanwhile
            state.wake_worker()
        return shapes.TasteOut(
            songs=have, needed=needed, job=_job(job) if job else None,
            live_version=db.get_one(Listener, who.id).live_version,
            versions=[shapes.VersionOut.model_validate(one) for one in retraining.versions(db, who.id)],
        )  # fmt: skip


@router.get("/taste/job")
def newest_job(state: Shared, who: Me) -> shapes.JobOut:
    """Your newest retrain; ask again while it is active."""
    with state.db.read() as db:
        job = retraining.latest(db, who.id)
    if job is None:
        raise NotFound("There is no retrain yet.")
    return _job(job)


@router.post("/taste/retrain", status_code=202)
def retrain(state: Shared, who: Me) -> shapes.JobOut:
    """Retrain your taste; while one is on its way, it is that one. 409 says how many songs are missing."""
    with state.db.write() as db:
        return _job(retraining.request(db, who.id, state.settings.min_songs))


@router.post("/taste/cancel")
def cancel(state: Shared, who: Me) -> shapes.JobOut:
    """Stop the retrain that waits or runs."""
    with state.db.write() as db:
        return _job(retraining.cancel(db, who.id))


@router.put("/taste/live")
def go_live(state: Shared, who: Me, live: shapes.Live) -> shapes.Live:
    """Choose which version answers, or the base."""
    with state.db.write() as db:
        retraining.go_live(db, who.id, live.version)
    return live


# -- proof, what was played, comparison, map --------------------------------------------------------


@router.get("/taste/versions/{version}/proof")
def version_proof(state: Shared, who: Me, version: str) -> shapes.ProofOut:
    """How one of your versions did on songs that were hidden from it."""
    with state.db.read() as db:
        found = proof.of(db, retraining.own_version(db, who.id, version))
    hidden = [
        shapes.HiddenSongOut(song=song_out(one.song) if one.song else None, before=one.before, after=one.after)
        for one in found.hidden
    ]
    return shapes.ProofOut(
        version=version, of=found.of, within=found.within, before=found.before, after=found.after, low=found.low,
        high=found.high, sure=found.sure, higher=found.higher, lower=found.lower, middle_before=found.middle_before,
        middle=found.middle, learnt_since=found.learnt_since, hidden=hidden,
    )  # fmt: skip


@router.get("/taste/profile")
def what_was_played(state: Shared, who: Me) -> shapes.ProfileOut:
    """Your most played genres, artists and decades, and a calendar."""
    with state.db.read() as db:
        found = profile.of(db, who.id, who.time_zone)
    cells = sorted((day for _, row in found.calendar.rows for day in row if day and day.plays), key=lambda d: d.date)
    return shapes.ProfileOut(
        genres=_plays(found.genres), artists=_plays(found.artists), decades=_plays(found.decades),
        days=[shapes.DayOut(date=day.date.isoformat(), plays=day.plays) for day in cells],
        undated=found.calendar.undated,
    )  # fmt: skip


def _plays(found: Sequence[Counted]) -> list[shapes.PlaysOut]:
    return [shapes.PlaysOut.model_validate(one) for one in found]


@router.get("/taste/compare")
def compare(state: Shared, who: Me, a: str = comparing.BASE, b: str = comparing.BASE) -> shapes.ComparisonOut:
    """What two of your versions recommend, side by side; empty is the base. To go back to one: PUT /taste/live."""
    engine = state.engine.get()
    with state.db.read() as db:
        columns = comparing.side_by_side(db, engine, state.kinds, who.id, a, b)
    left, right = (_column(one) for one in columns)
    return shapes.ComparisonOut(a=left, b=right)


def _column(found: comparing.Column) -> shapes.ColumnOut:
    songs = [shapes.PlacedOut(song=song_out(one.song), place=one.place, there=one.there) for one in found.songs]
    return shapes.ColumnOut(version=found.version or None, label=found.label, answered=found.answered, songs=songs)


@router.get("/taste/map")
def song_map(state: Shared, who: Me) -> shapes.MapOut:
    """The catalogue around, your own songs, and how your version moved them."""
    engine = state.engine.get()
    if not mapping.start(engine):
        return shapes.MapOut(ready=False, version=None, others=[], mine=[], regions=[])
    with state.db.read() as db:
        found = mapping.taste_map(db, engine, state.kinds, who.id)
    mine = [
        shapes.MovedOut(
            song=song_out(one.song), base=one.base, now=one.now, near_before=one.near_before, near=one.near,
            turned=one.turned,
        )
        for one in found.mine
    ]  # fmt: skip
    return shapes.MapOut(
        ready=True, version=found.version, others=list(found.others), mine=mine,
        regions=[shapes.RegionOut(name=one.name, at=one.at) for one in found.regions],
    )  # fmt: skip
