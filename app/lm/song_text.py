"""The one string by which the model reads a song."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

# Part of the base's fingerprint: changing how a song is written means encoding the catalogue again.
TEXT_FORMAT = "title by artist. genres, moods. year / 1"
BY, PART = " by ", ". "
_LONGEST = 300


def song_text(
    artist: str, title: str, genres: Sequence[str] = (), moods: Sequence[str] = (), year: int | None = None
) -> str:
    """A song as the model reads it; every part but the artist may be missing.

    >>> song_text("Nina Simone", "Sinnerman", ["jazz"], ["driving"], 1965)
    'Sinnerman by Nina Simone. jazz, driving. 1965'
    """
    head = f"{title}{BY}{artist}" if title else artist
    parts = [head[:_LONGEST], ", ".join([*genres, *moods])[:_LONGEST], str(year) if year else ""]
    return PART.join(part for part in parts if part)


def artist_key(artist: str) -> str:
    """One spelling of an artist: case folded, single spaces, no leading "the"."""
    folded = " ".join(artist.casefold().split())
    return folded.removeprefix("the ") or folded


class SongText(Protocol):
    """The type of ``song_text``, for those that are handed it."""

    def __call__(
        self, artist: str, title: str, genres: Sequence[str] = (), moods: Sequence[str] = (), year: int | None = None
    ) -> str: ...
