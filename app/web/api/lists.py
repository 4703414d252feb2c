"""Lists: recommend, keep, look back at what came of each; artists whom no list is to show."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from app.services import hiding, kept, playlist_files
from app.services.accounts import SignedIn
from app.services.recommending import WISH_MOST, Mode, Recommended, recommend
from app.tables import KeptList
from app.web.access import Me, Shared
from app.web.api import shapes_lists as shapes
from app.web.api.routing import files, room
from app.web.api.shapes import HiddenArtistOut, HiddenArtistsOut, HideArtist, song_out
from app.web.kept import UNWANTED, attachment, called
from app.web.rendering import State

router = room("", "lists")


def _made(state: State, who: SignedIn, question: shapes.Question) -> Recommended:
    engine = state.engine.get()
    with state.db.read() as db:
        return recommend(
            db, engine, state.kinds, who.id, mode=question.mode, wish=" ".join(question.wish.split()),
            count=question.count, adventure=question.adventure, remembered=state.lists,
            friends=state.friends,
        )  # fmt: skip


def _recommended(made: Recommended, list_id: str | None = None) -> shapes.RecommendedOut:
    songs = [
        shapes.SuggestionOut(
            song=song_out(one.song), score=one.score, loved=one.loved,
            reasons=[
                shapes.ReasonOut(because=r.label, share=r.share, song_id=r.song_id)
                for r in one.reasons
            ],
        )
        for one in made.suggestions
    ]  # fmt: skip
    return shapes.RecommendedOut(songs=songs, version=made.version, by_circle=made.by_circle, list_id=list_id)


@router.get("/recommendations")
def recommendations(
    state: Shared, who: Me, mode: Mode = "discover", wish: Annotated[str, Query(max_length=WISH_MOST)] = "",
    count: Annotated[int, Query(ge=1, le=200)] = 20, adventure: Annotated[int, Query(ge=-2, le=2)] = 0,
) -> shapes.RecommendedOut:  # fmt: skip
    """Songs for you, with reasons in your own; nothing is kept. The first call after a start waits for the base."""
    return _recommended(_made(state, who, shapes.Question(mode=mode, wish=wish, count=count, adventure=adventure)))


@router.post("/lists", status_code=201)
def make_list(state: Shared, who: Me, question: shapes.Question) -> shapes.RecommendedOut:
    """The same, kept as the page keeps it: asked again within twelve hours it is the same list."""
    made, list_id = _made(state, who, question), None
    if made.suggestions:
        with state.db.write() as db:
            list_id = kept.keep(
                db, who.id, mode=question.mode, wish=" ".join(question.wish.split()), adventure=question.adventure,
                version=made.version, songs=[one.song.id for one in made.suggestions],
            ).id  # fmt: skip
    return _recommended(made, list_id)


@router.get("/lists")
def my_lists(state: Shared, who: Me) -> shapes.KeptListsOut:
    """Your newest lists, and what came of each."""
    with state.db.read() as db:
        found = kept.overview(db, who.id)
    return shapes.KeptListsOut(
        lists=[
            shapes.KeptListOut(
                **_asked(one.list), songs=one.songs, played=one.played, loved=one.loved, disliked=one.disliked
            )
            for one in found
        ]
    )


def _asked(one: KeptList) -> dict[str, object]:
    return {
        "id": one.id, "mode": one.mode, "wish": one.wish, "adventure": one.adventure, "version": one.version,
        "created_at": one.created_at,
    }  # fmt: skip


@router.get("/lists/{list_id}")
def one_list(state: Shared, who: Me, list_id: str) -> shapes.OpenedListOut:
    """One of your lists with its songs."""
    with state.db.read() as db:
        found = kept.own(db, who.id, list_id)
        songs = [
            shapes.CameOut(song=song_out(came.song), plays=came.plays, verdict=came.verdict or None)
            for came in kept.opened(db, found)
        ]
        return shapes.OpenedListOut(**_asked(found), songs=songs)


@router.delete("/lists/{list_id}", status_code=204)
def forget_list(state: Shared, who: Me, list_id: str) -> Response:
    """Forget one of your lists; plays and verdicts stay."""
    with state.db.write() as db:
        kept.remove(db, who.id, list_id)
    return Response(status_code=204)


@router.get("/lists/{list_id}/{kind}", response_class=Response, responses=files(*playlist_files.TYPES.values()))
def list_file(state: Shared, who: Me, list_id: str, kind: shapes.Kind) -> Response:
    """One of your lists as a file, without what you turned down."""
    with state.db.read() as db:
        found = kept.own(db, who.id, list_id)
        songs = [came.song for came in kept.opened(db, found) if came.verdict not in UNWANTED]
        return attachment(playlist_files.write(db, kind, called(found), found.created_at, songs))


# -- hidden artists ---------------------------------------------------------------------------------


@router.get("/hidden-artists")
def hidden_artists(state: Shared, who: Me) -> HiddenArtistsOut:
    """Artists whom no list shows you."""
    with state.db.read() as db:
        found = hiding.hidden(db, who.id)
    return HiddenArtistsOut(artists=[HiddenArtistOut(key=one.artist_key, name=one.name) for one in found])


@router.post("/hidden-artists", status_code=201)
def hide_artist(state: Shared, who: Me, wanted: HideArtist) -> HiddenArtistOut:
    """Hide an artist from all your lists; twice is once."""
    with state.db.write() as db:
        hidden = hiding.hide(db, who.id, wanted.artist)
        return HiddenArtistOut(key=hidden.artist_key, name=hidden.name)


@router.delete("/hidden-artists/{key:path}", status_code=204)
def show_artist(state: Shared, who: Me, key: str) -> Response:
    """Let lists show an artist again."""
    with state.db.write() as db:
        hiding.show_again(db, who.id, key)
    return Response(status_code=204)
