"""Songs, artists, genres and decades; feedback and corrected genres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from app.services import browsing, catalogue, genres, hiding, listens
from app.services.search import search
from app.tables import Song
from app.web.access import Me, Shared
from app.web.api import shapes
from app.web.api.routing import room
from app.web.encoding_later import encode_soon

router = room("", "songs")

_NEAREST = 8
Number = Annotated[int, Query(alias="page", ge=1, le=1_000_000)]


@router.get("/songs")
def find_songs(state: Shared, who: Me, q: str = "", count: Annotated[int, Query(ge=1, le=100)] = 10) -> shapes.SongsOut:
    """Songs for what is typed, best first."""
    with state.db.read() as db:
        return shapes.songs_out(search(db, q, count))


@router.get("/songs/{song_id}")
def song(state: Shared, who: Me, song_id: int) -> shapes.SongFactsOut:
    """A song, what you said of it, who played it and lets you see it, and the songs nearest to it."""
    with state.db.read() as db:
        shown = catalogue.song(db, song_id)
        near: Sequence[Song] = []
        if state.engine.ready:
            near = catalogue.nearest(db, state.engine.get(), shown, _NEAREST)
        return shapes.SongFactsOut(
            song=shapes.song_out(shown), verdict=listens.verdicts(db, who.id).get(song_id),
            players=[shapes.PlayerOut.model_validate(p) for p in browsing.who_played(db, who.id, song_id)],
            nearest=[shapes.song_out(one) for one in near],
        )  # fmt: skip


@router.put("/songs/{song_id}/genres")
def correct_genres(state: Shared, who: Me, song_id: int, wanted: shapes.Genres) -> shapes.SongOut:
    """Correct a song's genres; it is encoded again."""
    with state.db.write() as db:
        genres.edit(db, song_id, ", ".join(wanted.genres))
    encode_soon(state, [song_id])
    with state.db.read() as db:
        return shapes.song_out(catalogue.song(db, song_id))


@router.get("/genres")
def all_genres(state: Shared, who: Me) -> shapes.CountedListOut:
    """Every genre, most songs first."""
    with state.db.read() as db:
        return _counted(browsing.genres(db))


@router.get("/genres/{name}/songs")
def songs_of_genre(state: Shared, who: Me, name: str, number: Number = 1) -> shapes.SongPageOut:
    """Songs of a genre."""
    with state.db.read() as db:
        return shapes.song_page_out(browsing.by_genre(db, name, number))


@router.get("/decades")
def all_decades(state: Shared, who: Me) -> shapes.CountedListOut:
    """Every decade with songs, oldest first."""
    with state.db.read() as db:
        return _counted(browsing.decades(db))


@router.get("/decades/{decade}/songs")
def songs_of_decade(state: Shared, who: Me, decade: str, number: Number = 1) -> shapes.SongPageOut:
    """Songs of a decade, such as 1960."""
    with state.db.read() as db:
        return shapes.song_page_out(browsing.by_decade(db, decade, number))


def _counted(found: Sequence[browsing.Counted]) -> shapes.CountedListOut:
    return shapes.CountedListOut(items=[shapes.CountedOut.model_validate(one) for one in found])


@router.get("/artists")
def all_artists(state: Shared, who: Me, letter: str = "", number: Number = 1) -> shapes.ArtistPageOut:
    """Artists under a letter; without one, those with most plays that you may see."""
    with state.db.read() as db:
        found = browsing.artists(db, who.id, letter, number)
    lines = [shapes.ArtistLineOut.model_validate(one) for one in found.items]
    return shapes.ArtistPageOut(artists=lines, total=found.total, number=found.number, pages=found.pages)


@router.get("/artists/{key:path}")
def one_artist(state: Shared, who: Me, key: str, number: Number = 1) -> shapes.ArtistOut:
    """An artist by key or name, and a page of their songs."""
    with state.db.read() as db:
        facts = browsing.artist(db, key)
        songs = shapes.song_page_out(browsing.songs_of(db, facts.key, number))
        hidden = any(one.artist_key == facts.key for one in hiding.hidden(db, who.id))
    related = [shapes.RelatedOut(name=name, key=found) for name, found in facts.related]
    return shapes.ArtistOut(
        key=facts.key, name=facts.name, country=facts.country, active_from=facts.active_from,
        active_to=facts.active_to, genres=list(facts.genres), related=related, hidden=hidden,
        songs=songs,
    )  # fmt: skip


@router.get("/feedback")
def my_feedback(state: Shared, who: Me) -> shapes.VerdictsOut:
    """Everything that you said of songs and that still holds."""
    with state.db.read() as db:
        said = listens.verdicts(db, who.id)
    found = [shapes.VerdictOut(song_id=song_id, verdict=verdict) for song_id, verdict in sorted(said.items())]
    return shapes.VerdictsOut(feedback=found)


@router.put("/songs/{song_id}/feedback")
def give_feedback(state: Shared, who: Me, song_id: int, said: shapes.Verdict) -> shapes.SaidOut:
    """Say what you think of a song; lists respect it at once."""
    with state.db.write() as db:
        was = listens.say(db, who.id, song_id, said.verdict)
    return shapes.SaidOut(song_id=song_id, verdict=said.verdict, was=None if was == "clear" else was)


@router.delete("/songs/{song_id}/feedback", status_code=204)
def take_feedback_back(state: Shared, who: Me, song_id: int) -> Response:
    """Take back what you said of a song."""
    with state.db.write() as db:
        listens.say(db, who.id, song_id, "clear")
    return Response(status_code=204)
