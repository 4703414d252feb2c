"""Spotify's own exports: the extended streaming history, and the basic one of the account data.

Both tell when a play ended; the start is kept. Addresses, user agents and platforms are never looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from app.errors import BadInput
from app.services.counting import ENOUGH_MS, how_it_ended
from app.services.imports.json_stream import values
from app.services.imports.rows import Item, album, each, iso_time, length, name, start_of
from app.services.listens import check_time
from app.services.plain_format import Dropped, Row
from app.services.text import show

# How Spotify says that somebody pressed "next", in years that had no "skipped" yet.
_NEXT = ("fwdbtn", "clickrow-skip")


def read_extended(text: Iterator[str]) -> Iterator[Item]:
    """Rows of endsong_N.json or Streaming_History_Audio_*.json."""
    return each(enumerate(values(text), 1), _extended)


def _extended(line: int, row: Mapping[str, Any]) -> Item:
    title = row.get("master_metadata_track_name")
    if not title:
        return Dropped(line, _untitled(row))
    artist = name(row.get("master_metadata_album_artist_name"), "artist")
    played = length(row.get("ms_played"))
    if played is None:
        raise BadInput(f"ms_played {show(str(row.get('ms_played')))} is no length")
    skipped = row.get("skipped")
    if skipped is None:
        skipped = row.get("reason_end") in _NEXT
    # Where it was skipped and nobody knows how long the song is, only four minutes make it a listen.
    ended = how_it_ended(played, 2 * ENOUGH_MS if skipped else None)
    at = start_of(_end(row.get("ts")), played)
    of = album(row.get("master_metadata_album_album_name"))
    return Row(line, artist, name(title, "title"), at, 1, None, album=of, played_ms=played, ended=ended)


def _untitled(row: Mapping[str, Any]) -> str:
    if row.get("episode_name") or row.get("spotify_episode_uri"):
        return "a podcast episode"
    if row.get("audiobook_title") or row.get("audiobook_chapter_title"):
        return "an audiobook"
    return "no title"


def _end(value: Any) -> datetime:
    """The end of a play. Nearly all are written alike, which is read here ten times as fast."""
    if isinstance(value, str) and len(value) == 20 and value.endswith("Z") and value.isascii():
        try:
            return datetime(int(value[:4]), int(value[5:7]), int(value[8:10]), int(value[11:13]), int(value[14:16]),
                            int(value[17:19]), tzinfo=UTC)  # fmt: skip
        except ValueError:
            pass
    return iso_time(value)


def read_basic(text: Iterator[str]) -> Iterator[Item]:
    """Rows of StreamingHistory_music_0.json. Times have minutes only, and their zone is undocumented: UTC is taken."""
    return each(enumerate(values(text), 1), _basic)


def _basic(line: int, row: Mapping[str, Any]) -> Item:
    if "podcastName" in row:
        return Dropped(line, "a podcast episode")
    played = length(row.get("msPlayed"))
    if played is None:
        raise BadInput(f"msPlayed {show(str(row.get('msPlayed')))} is no length")
    artist, title = name(row.get("artistName"), "artist"), name(row.get("trackName"), "title")
    at = check_time(start_of(iso_time(row.get("endTime")), played))
    return Row(line, artist, title, at, 1, None, played_ms=played, ended=how_it_ended(played, None))
