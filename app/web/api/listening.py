"""Listens and what is playing."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from app.services import listens, playing
from app.web.access import Me, Shared
from app.web.api import shapes
from app.web.api.catalogue import Number
from app.web.api.routing import room

router = room("", "listens")


@router.get("/listens")
def my_listens(
    state: Shared, who: Me, number: Number = 1, size: Annotated[int, Query(ge=1, le=200)] = 50
) -> shapes.ListenPageOut:
    """Your listens, newest first and undated last."""
    with state.db.read() as db:
        rows, total = listens.page(db, who.id, number, size)
    return shapes.ListenPageOut(
        listens=[shapes.listen_out(row) for row in rows], total=total, number=number, pages=max(1, -(-total // size))
    )


@router.post("/listens", status_code=201)
def log_listen(state: Shared, who: Me, new: shapes.NewListen) -> shapes.ListenOut:
    """Log a play. A song that joins the catalogue by it is encoded soon afterwards."""
    with state.db.write() as db:
        made, added = listens.log(
            db, who.id, song_id=new.song_id, artist=new.artist, title=new.title, at=new.listened_at, ended=new.ended,
            source="api", learn=new.learn,
        )  # fmt: skip
    state.later.add(state, [made.song_id] if added else [])
    return one_listen(state, who, made.id)


@router.get("/listens/{listen_id}")
def one_listen(state: Shared, who: Me, listen_id: int) -> shapes.ListenOut:
    """One of your listens."""
    with state.db.read() as db:
        return shapes.listen_out(listens.own_listen(db, who.id, listen_id))


@router.put("/listens/{listen_id}")
def change_listen(state: Shared, who: Me, listen_id: int, change: shapes.ListenChange) -> shapes.ListenOut:
    """Correct when one of your listens was, how it ended, and whether your taste may learn from it."""
    with state.db.write() as db:
        learn = listens.own_listen(db, who.id, listen_id).learn if change.learn is None else change.learn
        listens.edit(db, who.id, listen_id, at=change.listened_at, ended=change.ended, learn=learn)
    return one_listen(state, who, listen_id)


@router.delete("/listens/{listen_id}", status_code=204)
def delete_listen(state: Shared, who: Me, listen_id: int) -> Response:
    """Delete one of your listens."""
    with state.db.write() as db:
        listens.remove(db, who.id, listen_id)
    return Response(status_code=204)


@router.get("/now-playing")
def now_playing(state: Shared, who: Me) -> shapes.PlayingListOut:
    """What you and those who share with you play at the moment."""
    with state.db.read() as db:
        found = playing.in_circle(db, who.id)
    return shapes.PlayingListOut(playing=[shapes.PlayingOut.model_validate(one) for one in found])
