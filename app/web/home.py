"""The first page: log a song, see what is played in the circle, know what to do next."""

from __future__ import annotations

from contextlib import suppress

from fastapi import APIRouter, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.errors import NotFound
from app.services import accounts, catalogue, circle, listens, playing, retraining, summary
from app.services.accounts import SignedIn
from app.web.access import Shared, Stranger
from app.web.live import SHOWN, Watch
from app.web.recommend import Said
from app.web.rendering import go, page

router = APIRouter()


@router.get("/")
def home(request: Request, state: Shared, who: Stranger, logged: int = 0, part: str = "") -> Response:
    """The page, or with ``part`` only what was played lately, for scripts that log a song."""
    # Before what it is a digest of is read: what is played in between then differs from it, and is fetched.
    seen = Watch(state, who.id).look() if who and not part else ""
    with state.db.read() as db:
        if who is None:
            return go("/login" if accounts.has_administrator(db) else "/setup")
        recent, total = listens.page(db, who.id, 1, SHOWN)
        said = _logged(db, who, logged)
        if part:
            return page(request, "lately.html", recent=recent, total=total, said=said)
        genres, artists = listens.preferences(db, who.id)
        return page(
            request, "home.html", recent=recent, total=total, songs=catalogue.count(db), said=said,
            liked=listens.songs_liked(db, who.id), needed=state.settings.min_songs,
            has_picks=bool(genres or artists), versions=retraining.versions(db, who.id)[:1],
            playing=playing.in_circle(db, who.id),
            circle=circle.lately(db, who.id), friends=len(accounts.everyone(db)) - 1,
            taste=summary.taste_line(db, who.id), seen=seen,
        )  # fmt: skip


def _logged(db: Session, who: SignedIn, listen: int) -> Said | None:
    with suppress(NotFound):  # deleted since: the address outlives it in the history of the browser
        return Said(listen=listens.own_listen(db, who.id, listen)) if listen else None
    return None
