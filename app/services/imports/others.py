"""Apple Music and YouTube Takeout. Written from descriptions of the exports, never proven on a real one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.errors import BadInput
from app.services.counting import how_it_ended
from app.services.imports.json_stream import values
from app.services.imports.lastfm import table
from app.services.imports.rows import Item, album, each, iso_time, length, name, start_of
from app.services.listens import check_time
from app.services.plain_format import Dropped, Row
from app.services.text import show

_TOPIC = " - Topic"


def read_apple(text: Iterator[str]) -> Iterator[Item]:
    """Apple Music Play Activity.csv: the PLAY_END rows are plays, the others steps on the way."""
    found = table(text, ",", header=False)
    _, first = next(found, (0, []))
    columns = [column.strip() for column in first] if isinstance(first, list) else []
    for line, row in found:
        if isinstance(row, Dropped):
            yield row
            continue
        try:
            if len(row) != len(columns):
                raise BadInput(f"{len(row)} fields, the first line has {len(columns)}")
            yield _apple(line, dict(zip(columns, row, strict=True)))
        except BadInput as problem:
            yield Dropped(line, str(problem))


def _apple(line: int, row: Mapping[str, str]) -> Item:
    kind = row.get("Event Type", "")
    if kind != "PLAY_END":
        return Dropped(line, f"not the end of a play ({kind[:40] or 'no event type'})")
    title = row.get("Song Name") or row.get("Content Name") or ""
    artist = row.get("Artist Name") or row.get("Container Artist Name") or ""
    played = length(row.get("Play Duration Milliseconds") or None)
    duration = length(row.get("Media Duration In Milliseconds") or None)
    end, start = row.get("Event End Timestamp"), row.get("Event Start Timestamp")
    at = start_of(iso_time(end), played) if end else check_time(int(iso_time(start).timestamp()))
    skipped = "SKIP" in row.get("End Reason Type", "")
    return Row(
        line, name(artist, "artist"), name(title, "title"), at, 1, None,
        album=album(row.get("Album Name") or row.get("Container Album Name")), duration_ms=duration or None,
        played_ms=played, ended=how_it_ended(played, duration, skipped=skipped),
    )  # fmt: skip


def read_youtube(text: Iterator[str]) -> Iterator[Item]:
    """watch-history.json of an English account: what YouTube Music played, and songs on artists' "Topic" channels."""
    return each(enumerate(values(text), 1), _youtube)


def _youtube(line: int, row: Mapping[str, Any]) -> Item:
    channels = row.get("subtitles")
    channel = channels[0].get("name") if isinstance(channels, list) and channels and _is_dict(channels[0]) else None
    if not isinstance(channel, str):
        return Dropped(line, "no channel: an advertisement, or a video that is gone")
    if row.get("header") != "YouTube Music" and not channel.endswith(_TOPIC):
        return Dropped(line, "a video that is not told to be music")
    title = row.get("title")
    if not isinstance(title, str) or not title.startswith("Watched "):
        return Dropped(
            line, f"the title {show(str(title))} does not begin with “Watched”: only English exports are read"
        )
    at = check_time(int(iso_time(row.get("time")).timestamp()))
    artist = name(channel.removesuffix(_TOPIC), "artist")
    return Row(line, artist, name(title.removeprefix("Watched "), "title"), at, 1, None)


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)
