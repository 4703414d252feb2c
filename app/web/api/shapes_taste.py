"""Shapes of your taste: retrains, versions and their proof, what you played, comparison and map."""

from __future__ import annotations

from typing import Any

from app.web.api.shapes import Shape, SongOut, shown


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


class HiddenSongOut(Shape):
    """A song that was hidden from the training: its place among the whole catalogue, by the base and by the version."""

    song: SongOut | None
    before: int
    after: int


class ProofOut(Shape):
    """A version against the base on ``of`` hidden songs: how many stood within the first ``within`` places.

    low, high: how many more (below zero: fewer) would be found in 95 of 100 cases, had others been hidden; ``sure``:
    chance alone is an unlikely explanation; higher, lower: songs that rose and fell; middle: the place that half reach;
    learnt_since: the version, once proved, has learnt from the hidden songs too.
    """

    version: str
    of: int
    within: int
    before: int
    after: int
    low: int
    high: int
    sure: bool
    higher: int
    lower: int
    middle_before: int
    middle: int
    learnt_since: bool
    hidden: list[HiddenSongOut]


class PlaysOut(Shape):
    """A genre, an artist or a decade, its plays, and the key of its page."""

    model_config = shown(name="soul", plays=311, key="soul")
    name: str
    plays: int
    key: str


class DayOut(Shape):
    """A day on which you played something, in your time zone."""

    model_config = shown(date="2025-11-25", plays=12)
    date: str
    plays: int


class ProfileOut(Shape):
    """What you played most, and the days of the last 53 weeks on which you played something."""

    genres: list[PlaysOut]
    artists: list[PlaysOut]
    decades: list[PlaysOut]
    days: list[DayOut]
    undated: int


class PlacedOut(Shape):
    """A song of one list; ``there`` is its place in the other one, null if it is not in it."""

    song: SongOut
    place: int
    there: int | None


class ColumnOut(Shape):
    """One version's list. ``answered`` is false if its files could not be trusted and the base stepped in."""

    version: str | None
    label: str
    answered: bool
    songs: list[PlacedOut]


class ComparisonOut(Shape):
    """What two versions would recommend now."""

    a: ColumnOut
    b: ColumnOut


class RegionOut(Shape):
    """A genre and the middle of its songs."""

    model_config = shown(name="soul", at=(0.2, -0.4))
    name: str
    at: tuple[float, float]


class MovedOut(Shape):
    """One of your songs: where the base and where your version has it, the genre nearest to either, and how far it was
    turned (0: not at all, 1: to where nothing is alike)."""

    song: SongOut
    base: tuple[float, float]
    now: tuple[float, float]
    near_before: str
    near: str
    turned: float


class MapOut(Shape):
    """Songs laid out by their vectors, mostly within [-1, 1]. ``ready`` is false while that is under way: ask again."""

    ready: bool
    version: str | None
    others: list[tuple[float, float]]
    mine: list[MovedOut]
    regions: list[RegionOut]
