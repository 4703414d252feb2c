"""Lists for several people: ask friends, agree, weigh, leave."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from app.services import blends
from app.services.accounts import SignedIn
from app.web.access import Me, Shared
from app.web.api import shapes_circle as shapes
from app.web.api.routing import room
from app.web.api.shapes import song_out
from app.web.rendering import State

router = room("/blends", "blends")


def _line(shown: blends.Shown) -> dict[str, Any]:
    return {
        "id": shown.id, "title": shown.title, "mine": shown.mine, "agreed": shown.agreed, "ready": shown.ready,
        "people": [shapes.PersonOut.model_validate(one) for one in shown.people],
    }  # fmt: skip


def _song(one: blends.BlendedSong) -> shapes.BlendedSongOut:
    parts = [
        shapes.PartOut(
            name=part.person.name, share=part.share, above=part.above,
            because=song_out(part.because) if part.because else None,
        )
        for part in one.parts
    ]  # fmt: skip
    return shapes.BlendedSongOut(song=song_out(one.song), whom=list(one.whom), everyone=one.everyone, parts=parts)


def _opened(state: State, who: SignedIn, blend: str) -> shapes.BlendOut:
    with state.db.read() as db:
        shown = blends.of(db, who.id, blend)
    songs: list[blends.BlendedSong] = []
    if shown.ready:
        engine = state.engine.get()
        with state.db.read() as db:
            songs = blends.songs(db, engine, state.kinds, who.id, shown.id)
    return shapes.BlendOut(**_line(shown), songs=[_song(one) for one in songs])


@router.get("")
def my_blends(state: Shared, who: Me) -> shapes.BlendsOut:
    """Blends that you are in or asked to."""
    with state.db.read() as db:
        found = blends.all_of(db, who.id)
    return shapes.BlendsOut(blends=[shapes.BlendLineOut(**_line(one)) for one in found])


@router.post("", status_code=201)
def start_blend(state: Shared, who: Me, wanted: shapes.NewBlend) -> shapes.BlendOut:
    """Ask friends to a blend; nobody's taste goes into it before they agreed."""
    with state.db.write() as db:
        made = blends.start(db, who.id, wanted.friends, wanted.name).id
    return _opened(state, who, made)


@router.get("/{blend}")
def one_blend(state: Shared, who: Me, blend: str) -> shapes.BlendOut:
    """A blend with its songs, once everybody agreed."""
    return _opened(state, who, blend)


@router.post("/{blend}/agree")
def agree(state: Shared, who: Me, blend: str) -> shapes.BlendOut:
    """Let your taste be used for it."""
    with state.db.write() as db:
        blends.agree(db, who.id, blend)
    return _opened(state, who, blend)


@router.post("/{blend}/leave", status_code=204)
def leave(state: Shared, who: Me, blend: str) -> Response:
    """Say no, or take your consent back; a blend of fewer than two people is gone."""
    with state.db.write() as db:
        blends.leave(db, who.id, blend)
    return Response(status_code=204)


@router.put("/{blend}/weights")
def weigh(state: Shared, who: Me, blend: str, wanted: shapes.Weights) -> shapes.BlendOut:
    """How much people count, 1 to 9; who is not named stays as they are."""
    with state.db.write() as db:
        blends.weigh(db, who.id, blend, wanted.weights)
    return _opened(state, who, blend)
