"""The first page: log a song, see what was played, know what to do next."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.services import accounts, catalogue, listens, playing, retraining
from app.web.access import Shared, Stranger
from app.web.rendering import go, page

router = APIRouter()


@router.get("/")
def home(request: Request, state: Shared, who: Stranger) -> Response:
    with state.db.read() as db:
        if who is None:
            return go("/login" if accounts.has_administrator(db) else "/setup")
        recent, total = listens.page(db, who.id, 1, 8)
        genres, artists = listens.preferences(db, who.id)
        return page(
            request, "home.html", recent=recent, total=total, songs=catalogue.count(db),
            liked=listens.songs_liked(db, who.id), needed=state.settings.min_songs,
            has_picks=bool(genres or artists), versions=retraining.versions(db, who.id)[:1],
            playing=playing.in_circle(db, who.id),
        )  # fmt: skip
