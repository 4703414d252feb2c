"""ListenBrainz' export: listens and feedback as JSON Lines, or the older single array; also our own export's shape."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from app.errors import BadInput
from app.services.counting import how_it_ended
from app.services.imports.json_stream import values
from app.services.imports.rows import Item, Opinion, album, each, length, name, unix_time
from app.services.plain_format import Row, plays_of, rating_of
from app.services.text import show

OURS = "earshot"  # the key in additional_info under which our own export keeps what ListenBrainz has no place for
_SOURCE = re.compile(r"[a-z0-9][a-z0-9 .:_-]{0,39}")
_SCORES = {1: "love", -1: "dislike"}
VERDICTS = ("love", "dislike", "not_now", "know")


def read_listens(text: Iterator[str]) -> Iterator[Item]:
    """Rows of listens/YEAR/MONTH.jsonl, or of the old array."""
    return each(enumerate(values(text), 1), _listen)


def _listen(line: int, row: Mapping[str, Any]) -> Item:
    track = row.get("track_metadata")
    if not isinstance(track, dict):
        raise BadInput("no track_metadata")
    more = track.get("additional_info")
    more = more if isinstance(more, dict) else {}
    ours = more.get(OURS)
    ours = ours if isinstance(ours, dict) else {}
    duration = length(more.get("duration_ms"))
    duration = length(more.get("duration"), 1000) if duration is None else duration
    played = length(ours.get("played_ms"))
    played = length(more.get("duration_played"), 1000) if played is None else played
    undated = bool(ours) and row.get("listened_at") is None
    ended = ours.get("ended")
    return Row(
        line, name(track.get("artist_name"), "artist"), name(track.get("track_name"), "title"),
        None if undated else unix_time(row.get("listened_at")), plays_of(str(ours.get("plays", ""))),
        rating_of(_written(ours.get("rating"))), album=album(track.get("release_name")), duration_ms=duration,
        played_ms=played, ended=ended if ended in ("played", "skipped") else how_it_ended(played, duration),
        source=_source(ours.get("source")), learn=ours.get("learn") is not False,
    )  # fmt: skip


def _written(value: Any) -> str:
    return "" if value is None else str(value)


def _source(value: Any) -> str:
    return value if isinstance(value, str) and _SOURCE.fullmatch(value) else ""


def read_feedback(text: Iterator[str]) -> Iterator[Item]:
    """Rows of feedback.jsonl. Those that name their song by an id alone cannot be told."""
    return each(enumerate(values(text), 1), _feedback)


def _feedback(line: int, row: Mapping[str, Any]) -> Item:
    verdict, until = row.get("verdict"), row.get("until")
    if verdict not in VERDICTS:
        verdict, until = _SCORES.get(row.get("score", 0) if isinstance(row.get("score"), int) else 0), None
    if verdict is None:
        raise BadInput(f"the score {show(str(row.get('score')))} is neither 1 nor -1")
    track = row.get("track_metadata")
    if not isinstance(track, dict):
        raise BadInput("no track_metadata: the song is named by an id alone")
    until = until if isinstance(until, int) and not isinstance(until, bool) and abs(until) < 1 << 40 else None
    return Opinion(
        line, name(track.get("artist_name"), "artist"), name(track.get("track_name"), "title"), verdict, until
    )
