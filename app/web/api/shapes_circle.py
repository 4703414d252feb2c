"""Shapes of the circle: who is here, sharing, its adapter, invites, blends, how alike two tastes are."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from app.services.blends import MOST_PEOPLE
from app.web.api.shapes import Shape, SongOut, shown


class FriendOut(Shape):
    """Somebody of the circle. ``shares``: with you; ``named``: you chose them to share with."""

    model_config = shown(id="0123456789abcdef", name="Ben", is_admin=False, shares=True, named=False, is_me=False)
    id: str
    name: str
    is_admin: bool
    shares: bool
    named: bool
    is_me: bool


class CircleOut(Shape):
    """Everybody on this server."""

    friends: list[FriendOut]


class HeardOut(Shape):
    """A song that a friend played, and when last."""

    friend: str
    song: SongOut
    at: int


class LatelyOut(Shape):
    """What friends who share with you played within a month, newest first."""

    heard: list[HeardOut]


class InviteOut(Shape):
    """A new link. It works once and is told only now."""

    model_config = shown(link="https://music.example/join/…", expires_at=1_700_000_000)
    link: str
    expires_at: int


class OpenInviteOut(Shape):
    """One of your unused links, without its text, which nobody keeps. ``key`` ends it."""

    model_config = shown(key="0" * 64, created_at=1_700_000_000, expires_at=1_701_000_000)
    key: str
    created_at: int
    expires_at: int


class OpenInvitesOut(Shape):
    """Your unused links."""

    invites: list[OpenInviteOut]


class FittingOut(Shape):
    """A song, and the share of the catalogue that suits somebody less, 0–1."""

    song: SongOut
    fit: float


class CompatibilityOut(Shape):
    """Two tastes. ``agreement``: 0.5 by chance, 1 for the same taste, null while somebody has no history.

    both: songs that both like; for_me: of theirs what suits you best and is new to you; for_them: the same the other
    way round; apart: of theirs what suits you least.
    """

    friend: str
    agreement: float | None
    both: list[SongOut]
    for_me: list[FittingOut]
    for_them: list[FittingOut]
    apart: list[FittingOut]


class CircleAdapterOut(Shape):
    """The circle's adapter: whether you take part, how many do, how many of them have songs enough, and the fewest."""

    model_config = shown(mine=True, opted=3, ready=2, least=2, version=None, job=None)
    mine: bool
    opted: int
    ready: int
    least: int
    version: dict[str, Any] | None
    job: str | None = Field(description="The state of the training that waits or runs.")


class TakePart(Shape):
    """Whether the circle's adapter may learn from you."""

    model_config = shown(join=True)
    join: bool


class PersonOut(Shape):
    """One person of a blend; ``agreed``: their taste may be used; ``weight``: 1 to 9."""

    model_config = shown(id="0123456789abcdef", name="Ben", agreed=False, weight=1)
    id: str
    name: str
    agreed: bool
    weight: int


class PartOut(Shape):
    """How much one person speaks for a song (all together 1), and a song of theirs that does, if you may see it."""

    name: str
    share: float
    above: float
    because: SongOut | None


class BlendedSongOut(Shape):
    """A song of a blend and for whom it is."""

    song: SongOut
    whom: list[str]
    everyone: bool
    parts: list[PartOut]


class BlendLineOut(Shape):
    """A blend that you are in or asked to. ``ready``: everybody agreed; ``mine``: you asked."""

    model_config = shown(
        id="0123456789abcdef", title="Ana + Ben", mine=True, agreed=True, ready=False,
        people=[{"id": "0123456789abcdef", "name": "Ben", "agreed": False, "weight": 1}],
    )  # fmt: skip
    id: str
    title: str
    mine: bool
    agreed: bool
    ready: bool
    people: list[PersonOut]


class BlendsOut(Shape):
    """Your blends, newest first."""

    blends: list[BlendLineOut]


class BlendOut(BlendLineOut):
    """A blend with its songs, once it is ready."""

    model_config = shown(
        id="0123456789abcdef", title="Ana + Ben", mine=True, agreed=True, ready=False,
        people=[{"id": "0123456789abcdef", "name": "Ben", "agreed": False, "weight": 1}], songs=[],
    )  # fmt: skip
    songs: list[BlendedSongOut]


class NewBlend(Shape):
    """Whom to ask, by the ids that /friends tells."""

    model_config = shown(friends=["0123456789abcdef"], name="Saturday")
    friends: list[str] = Field(min_length=1, max_length=MOST_PEOPLE)
    name: str = ""


class Weights(Shape):
    """How much people count, by id."""

    model_config = shown(weights={"0123456789abcdef": 3})
    weights: dict[str, Annotated[int, Field(ge=1, le=9)]] = Field(max_length=MOST_PEOPLE)
