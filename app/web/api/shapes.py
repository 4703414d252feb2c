"""What the JSON API takes and gives, with an example of each; OpenAPI is written from these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.services.browsing import Page
from app.tables import Listen, Song

Scope = Literal["submit", "read"]


class Shape(BaseModel):
    """Parent of all shapes: unknown fields are refused, ``example`` goes into the document."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)


def shown(**example: Any) -> ConfigDict:
    """The settings of a shape with an example."""
    return ConfigDict(extra="forbid", from_attributes=True, json_schema_extra={"examples": [example]})


class Problem(Shape):
    """What went wrong: the error's name, and a message that names the value."""

    model_config = shown(error="NotFound", message="There is no song 7.")
    error: str
    message: str


class SongOut(Shape):
    """One song of the catalogue."""

    EXAMPLE: ClassVar = {
        "id": 12, "artist": "Nina Simone", "title": "Sinnerman", "year": 1965, "genres": ["soul", "jazz"],
        "genres_from": "given", "moods": ["driving"], "country": "US",
    }  # fmt: skip
    model_config = shown(**EXAMPLE)
    id: int
    artist: str
    title: str
    year: int | None
    genres: list[str]
    genres_from: Literal["given", "inferred", "listener"]
    moods: list[str]
    country: str | None


class SongsOut(Shape):
    """Some songs, best first."""

    songs: list[SongOut]


class SongPageOut(Shape):
    """One page of a long list of songs; ``number`` starts at 1."""

    songs: list[SongOut]
    total: int
    number: int
    pages: int


class PlayerOut(Shape):
    """Somebody who played a song and lets you see it."""

    name: str
    plays: int
    is_me: bool


class SongFactsOut(Shape):
    """A song, what you said of it, who played it, and the songs nearest to it (none while the base loads)."""

    song: SongOut
    verdict: str | None
    players: list[PlayerOut]
    nearest: list[SongOut]


class CountedOut(Shape):
    """A genre or a decade, and how many songs it has."""

    model_config = shown(name="soul", songs=311)
    name: str
    songs: int


class CountedListOut(Shape):
    """Genres or decades."""

    items: list[CountedOut]


class ArtistLineOut(Shape):
    """An artist in a list."""

    model_config = shown(key="nina simone", name="Nina Simone", songs=7)
    key: str
    name: str
    songs: int


class ArtistPageOut(Shape):
    """One page of artists."""

    artists: list[ArtistLineOut]
    total: int
    number: int
    pages: int


class RelatedOut(Shape):
    """A related artist; ``key`` if songs of theirs are here."""

    name: str
    key: str | None


class HideArtist(Shape):
    """An artist by name or key."""

    model_config = shown(artist="Nina Simone")
    artist: str


class HiddenArtistOut(Shape):
    """An artist whom no list shows you."""

    model_config = shown(key="nina simone", name="Nina Simone")
    key: str
    name: str


class HiddenArtistsOut(Shape):
    """Your hidden artists, by name."""

    artists: list[HiddenArtistOut]


class ArtistOut(Shape):
    """An artist and a page of their songs; ``hidden``: no list shows them to you."""

    key: str
    name: str
    country: str | None
    active_from: int | None
    active_to: int | None
    genres: list[str]
    related: list[RelatedOut]
    hidden: bool
    songs: SongPageOut


class ListenOut(Shape):
    """One of your listens; times are seconds since 1970, UTC, and null for undated ones."""

    model_config = shown(
        id=5, song=SongOut.EXAMPLE, listened_at=1_700_000_000, plays=1, rating=None, ended="played", source="web",
        album="Pastel Blues", duration_ms=622_000, played_ms=None, learn=True,
    )  # fmt: skip
    id: int
    song: SongOut
    listened_at: int | None
    plays: int
    rating: float | None
    ended: Literal["played", "skipped"]
    source: str
    album: str | None
    duration_ms: int | None
    played_ms: int | None
    learn: bool


class ListenPageOut(Shape):
    """One page of your listens, newest first."""

    listens: list[ListenOut]
    total: int
    number: int
    pages: int


class NewListen(Shape):
    """A play to log: a catalogue song by its id, or a song by name, which joins the catalogue if need be."""

    model_config = shown(artist="Nina Simone", title="Sinnerman", listened_at=1_700_000_000)
    song_id: int | None = None
    artist: str = ""
    title: str = ""
    listened_at: int | None = Field(None, description="Seconds since 1970, UTC; now if it is left out.")
    ended: Literal["played", "skipped"] = "played"
    learn: bool = Field(True, description="Whether your taste may learn from it.")


class ListenChange(Shape):
    """When a listen was (null: undated), how it ended, and whether your taste may learn from it (null: as it is)."""

    model_config = shown(listened_at=1_700_000_000, ended="skipped")
    listened_at: int | None
    ended: Literal["played", "skipped"]
    learn: bool | None = None


class PlayingOut(Shape):
    """What somebody plays at the moment."""

    model_config = shown(
        listener="Ana", is_me=True, artist="Nina Simone", title="Sinnerman", album=None, duration_ms=622_000,
        source="ListenBrainz: Phone", since=1_700_000_000, song_id=12,
    )  # fmt: skip
    listener: str
    is_me: bool
    artist: str
    title: str
    album: str | None
    duration_ms: int | None
    source: str
    since: int
    song_id: int | None


class PlayingListOut(Shape):
    """What you and those who share with you play."""

    playing: list[PlayingOut]


class SaidOut(Shape):
    """What you said of a song, and before (null: nothing): saying that again, or taking it back, undoes it."""

    model_config = shown(song_id=12, verdict="love", was="dislike")
    song_id: int
    verdict: str
    was: str | None


class Verdict(Shape):
    """What you think of a song. "not_now" lasts two weeks."""

    model_config = shown(verdict="love")
    verdict: Literal["love", "dislike", "not_now", "know"]


class VerdictOut(Shape):
    """What you said of a song."""

    model_config = shown(song_id=12, verdict="love")
    song_id: int
    verdict: str


class VerdictsOut(Shape):
    """Everything that you said of songs and that still holds."""

    feedback: list[VerdictOut]


class Genres(Shape):
    """A song's genres, as you correct them."""

    model_config = shown(genres=["soul", "jazz"])
    genres: list[str] = Field(max_length=20)


def song_out(song: Song) -> SongOut:
    """A song as the API gives it."""
    return SongOut.model_validate(song)


def listen_out(listen: Listen) -> ListenOut:
    """A listen (its song loaded) as the API gives it."""
    return ListenOut.model_validate(listen)


def song_page_out(page: Page[Song]) -> SongPageOut:
    """A page of songs as the API gives it."""
    songs = [song_out(song) for song in page.items]
    return SongPageOut(songs=songs, total=page.total, number=page.number, pages=page.pages)


def songs_out(songs: Sequence[Song]) -> SongsOut:
    """Songs as the API gives them."""
    return SongsOut(songs=[song_out(song) for song in songs])
