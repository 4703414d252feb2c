"""Shapes of lists and playlists."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from app.services.playlists import MOST_SONGS
from app.services.recommending import WISH_MOST
from app.web.api.shapes import Shape, SongOut, shown

Kind = Literal["jspf", "xspf", "m3u"]


class ReasonOut(Shape):
    """One of your own songs or picks, and its part of what speaks for a song, 0–1."""

    model_config = shown(because="Feeling Good by Nina Simone", share=0.31, song_id=14)
    because: str
    share: float
    song_id: int | None


class SuggestionOut(Shape):
    """One song of a list."""

    song: SongOut
    score: float
    loved: bool
    reasons: list[ReasonOut]


class RecommendedOut(Shape):
    """A list, and the version that made it (null: the base); ``by_circle``: it is the circle's.

    ``list_id``: where it is kept, null if it is not.
    """

    songs: list[SuggestionOut]
    version: str | None
    by_circle: bool
    list_id: str | None = None


class Question(Shape):
    """What a list is to answer. ``adventure`` goes from -2 (safe) to 2 (adventurous)."""

    model_config = shown(mode="discover", wish="rainy Sunday, slow and warm", adventure=1, count=20)
    mode: Literal["discover", "familiar"] = "discover"
    wish: Annotated[str, Field(max_length=WISH_MOST)] = ""
    adventure: Annotated[int, Field(ge=-2, le=2)] = 0
    count: Annotated[int, Field(ge=1, le=200)] = 20


class KeptListOut(Shape):
    """A list that was made: what was asked, how many songs it showed, and what came of them since."""

    model_config = shown(
        id="0123456789abcdef", mode="discover", wish="rainy Sunday", adventure=0, version=None,
        created_at=1_700_000_000, songs=20, played=6, loved=2, disliked=1,
    )  # fmt: skip
    id: str
    mode: str
    wish: str
    adventure: int
    version: str | None
    created_at: int
    songs: int
    played: int
    loved: int
    disliked: int


class KeptListsOut(Shape):
    """Your newest lists."""

    lists: list[KeptListOut]


class CameOut(Shape):
    """One song of a kept list, how often you played it since, and what you said of it since."""

    song: SongOut
    plays: int
    verdict: str | None


class OpenedListOut(Shape):
    """A kept list with its songs in their order."""

    id: str
    mode: str
    wish: str
    adventure: int
    version: str | None
    created_at: int
    songs: list[CameOut]


class NewPlaylist(Shape):
    """A playlist to make: empty, with songs, or with those of a kept list that you did not turn down."""

    model_config = shown(name="For the long drive", songs=[])
    name: str
    songs: list[int] = Field(default=[], max_length=MOST_SONGS)
    list_id: str | None = None


class PlaylistName(Shape):
    """A playlist's new name."""

    model_config = shown(name="For the long drive")
    name: str


class SongOfPlaylist(Shape):
    """A song to put at the end of a playlist; one that is in it stays where it is."""

    model_config = shown(song_id=1)
    song_id: int


class Place(Shape):
    """A place in a playlist, counted from 1; past the end is the end."""

    model_config = shown(place=1)
    place: Annotated[int, Field(ge=1, le=1_000_000)]


class PlaylistLineOut(Shape):
    """One of your playlists, and how many songs it has."""

    model_config = shown(id="0123456789abcdef", name="For the long drive", created_at=1_700_000_000, songs=12)
    id: str
    name: str
    created_at: int
    songs: int


class PlaylistsOut(Shape):
    """Your playlists, newest first."""

    playlists: list[PlaylistLineOut]


class PlaylistOut(Shape):
    """One of your playlists with its songs in their order."""

    id: str
    name: str
    created_at: int
    songs: list[SongOut]
