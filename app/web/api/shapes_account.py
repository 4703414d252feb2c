"""Shapes of your account: who you are, picks, tokens, sessions, coming in and leaving."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.web.api.shapes import Scope, Shape, shown

Sharing = Literal["off", "circle", "friends"]


class MeOut(Shape):
    """Who you are here."""

    model_config = shown(
        id="0123456789abcdef", name="Ana", is_admin=True, time_zone="Europe/Vienna", sharing="off", live_version=None
    )  # fmt: skip
    id: str
    name: str
    is_admin: bool
    time_zone: str
    sharing: Sharing
    live_version: str | None


class MeChange(Shape):
    """What to change; what is left out stays. ``friends``: ids of those with whom you share, if it is "friends"."""

    model_config = shown(time_zone="Europe/Vienna", sharing="friends", friends=[])
    time_zone: str | None = None
    sharing: Sharing | None = None
    friends: list[str] | None = Field(None, max_length=1000)


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


class SignIn(Shape):
    """A name and its password."""

    model_config = shown(name="Ana", password="a good long password")
    name: str = Field(max_length=200)
    password: str = Field(max_length=1000)


class Newcomer(SignIn):
    """A new listener. A link that sets a password anew takes the name from the link."""

    model_config = shown(name="Cleo", password="stately plump violin 83", time_zone="Europe/Vienna")
    time_zone: str = "UTC"


class LinkOut(Shape):
    """What a link is for: a newcomer (null), or a new password for somebody; and who made it."""

    model_config = shown(known=None, host="Ana", expires_at=1_700_000_000)
    known: str | None
    host: str | None
    expires_at: int


class NewPassword(Shape):
    """The password as it is, and as it is to be."""

    model_config = shown(current="a good long password", new="stately plump violin 83")
    current: str = Field(max_length=1000)
    new: str = Field(max_length=1000)


class Leaving(Shape):
    """Your password, to be sure that it is you who leaves."""

    model_config = shown(current="a good long password")
    current: str = Field(max_length=1000)


class GoesOut(Shape):
    """How many rows of each kind go with your account."""

    model_config = shown(goes={"listens": 1200, "feedback": 14, "sessions": 1})
    goes: dict[str, int]
