"""How a free-text wish is read.

Requests lie together in a corner of the base's space, far from the songs' own middle. So a wish is taken from the
middle of requests, not of songs: measured on dialogues about playlists, that and reading the last thing said on its own
nearly doubled nDCG@10 (benchmarks/quality.md). The middle is that of the sentences below, written for this purpose, so
it needs neither a listener's data nor the requests that are to be answered.
"""

from __future__ import annotations

from app.lm.base import Base
from app.lm.vectors import Floats

REQUESTS = (
    "I would like to make a playlist for a road trip",
    "Can you find me some upbeat songs for a workout",
    "I want something calm for a rainy Sunday",
    "Play some classic rock from the seventies",
    "More songs like these, please",
    "I am looking for music to study to",
    "Do you have any jazz with female singers",
    "Something happy to dance to at a party",
    "I'd like a few more songs by other artists",
    "Let's add some nineties hip hop",
    "Sad songs for a broken heart",
    "Music for cooking dinner with friends",
    "Can we try something slower",
    "Great, now some country music",
    "I need energetic electronic music for running",
    "Soft acoustic songs for falling asleep",
    "Songs that everybody can sing along to",
    "Old soul and funk, nothing too modern",
    "I don't like that one, can you find something heavier",
    "That is perfect, just a few more",
    "quiet piano",
    "summer evening",
    "late night drive",
    "songs for a wedding",
    "Christmas music for the whole family",
    "Indie bands that are not well known",
    "Show me music that sounds like the eighties",
    "I want to hear some romantic ballads",
    "Angry music to let off steam",
    "Relaxing background music for work",
    "Can you add a song from a film soundtrack",
    "Latin songs with a good beat",
)


def middle(base: Base) -> Floats:
    """(D,) mean of the requests above, adapter off."""
    result: Floats = base.encode(REQUESTS).numpy().mean(axis=0)
    return result


def readings(wish: str) -> list[str]:
    """What is encoded of a wish: the whole, and its last line on its own, since the newest words count most.

    >>> readings("for a road trip\\nnow some jazz")
    ['for a road trip now some jazz', 'now some jazz']
    """
    lines = [line.strip() for line in wish.splitlines() if line.strip()]
    return [" ".join(lines), lines[-1]] if lines else [wish]
