"""Shapes of lists, taste, circle and settings."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from app.web.api.shapes import Scope, Shape, SongOut, shown


class ReasonOut(Shape):
    """One of your own songs or picks, and its part of what speaks for a song."""

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
    """A list, and the version that made it (null: the base)."""

    songs: list[SuggestionOut]
    version: str | None


class JobOut(Shape):
    """A retrain. ``active`` while it waits or runs; then ``state`` is promoted, kept, failed or cancelled."""

    id: str
    state: str
    phase: str
    step: int
    of: int
    loss: float | None
    eta: float | None
    losses: list[float]
    error: str
    active: bool


class VersionOut(Shape):
    """One trained version and its proof on your hidden songs."""

    id: str
    number: int
    promoted: bool
    why: str
    before: dict[str, Any]
    after: dict[str, Any]
    difference: float
    low: float
    high: float
    learnt_from: int
    trainable_parameters: int
    base_parameters: int
    size: int
    seconds: float
    created_at: int


class TasteOut(Shape):
    """Your taste: songs logged and needed, the newest retrain, the versions, and which one answers (null: the base)."""

    songs: int
    needed: int
    job: JobOut | None
    live_version: str | None
    versions: list[VersionOut]


class Live(Shape):
    """Which version is to answer; null is the base."""

    model_config = shown(version="0123456789abcdef")
    version: str | None = None


class FriendOut(Shape):
    """Somebody of the circle."""

    model_config = shown(name="Ben", is_admin=False, shares=True, is_me=False)
    name: str
    is_admin: bool
    shares: bool
    is_me: bool


class CircleOut(Shape):
    """Everybody on this server."""

    friends: list[FriendOut]


class InviteOut(Shape):
    """A new link. It works once and is told only now."""

    model_config = shown(link="https://music.example/join/…", expires_at=1_700_000_000)
    link: str
    expires_at: int


class OpenInviteOut(Shape):
    """One of your unused links, without its text, which nobody keeps."""

    model_config = shown(created_at=1_700_000_000, expires_at=1_701_000_000)
    created_at: int
    expires_at: int


class OpenInvitesOut(Shape):
    """Your unused links."""

    invites: list[OpenInviteOut]


class MeOut(Shape):
    """Who you are here."""

    model_config = shown(
        name="Ana", is_admin=True, time_zone="Europe/Vienna", sharing="off", live_version=None
    )  # fmt: skip
    name: str
    is_admin: bool
    time_zone: str
    sharing: Literal["off", "circle", "friends"]
    live_version: str | None


class MeChange(Shape):
    """What to change; what is left out stays."""

    model_config = shown(time_zone="Europe/Vienna", sharing="circle")
    time_zone: str | None = None
    sharing: Literal["off", "circle", "friends"] | None = None


class Picks(Shape):
    """A newcomer's liked genres and favourite artists."""

    model_config = shown(genres=["soul"], artists=["Nina Simone"])
    genres: list[str] = Field(max_length=30)
    artists: list[str] = Field(max_length=30)


class NewToken(Shape):
    """A token for one device or program."""

    model_config = shown(name="Phone", scopes=["submit"])
    name: str
    scopes: list[Scope] = Field(min_length=1, max_length=2)


class TokenOut(Shape):
    """One of your tokens, without its text, which nobody keeps."""

    model_config = shown(
        id="0123456789abcdef", name="Phone", scopes=["submit"], created_at=1_700_000_000, used_at=None
    )  # fmt: skip
    id: str
    name: str
    scopes: list[Scope]
    created_at: int
    used_at: int | None


class NewTokenOut(TokenOut):
    """A new token with its text, told this once."""

    model_config = shown(
        id="0123456789abcdef", name="Phone", scopes=["submit"], created_at=1_700_000_000, used_at=None,
        token="5f0c1f7e-2b8e-4c36-9d53-0f6d7f6f3f55",
    )  # fmt: skip
    token: str


class TokensOut(Shape):
    """Your tokens."""

    tokens: list[TokenOut]


class SessionOut(Shape):
    """A signed-in browser. ``key`` names it and is of no use as a cookie."""

    model_config = shown(
        key="0123456789abcdef", agent="Mozilla/5.0 …", created_at=1_700_000_000, seen_at=1_700_000_500, is_this=True
    )  # fmt: skip
    key: str
    agent: str
    created_at: int
    seen_at: int
    is_this: bool


class SessionsOut(Shape):
    """Your signed-in browsers."""

    sessions: list[SessionOut]
