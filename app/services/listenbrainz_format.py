"""ListenBrainz' JSON: what players submit becomes plays, what we know becomes its listens.

Limits and rules are those of the ListenBrainz server's own code. Everything raises BadInput, which names the value.
"""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

from app.errors import BadInput
from app.services.listens import check_time
from app.services.submitting import Play
from app.services.text import clean, show
from app.tables import Listen, Song

MOST_LISTENS = 1_000
MOST_BYTES_A_LISTEN = 10_240
MOST_BYTES = MOST_LISTENS * MOST_BYTES_A_LISTEN
_MOST_TAGS, _LONGEST_TAG = 50, 64
_LONGEST_MS = 24 * 86_400 * 1000
_TYPES = ("single", "playing_now", "import")
_MBID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
# Our message ids are UUIDs of version 8 that hold the song's number, so that they can be taken back.
_MSID_HIGH = 0x6561_7273_686F_8000
_MSID_VARIANT = 0b10 << 62


def read_json(body: bytes) -> Any:
    """Any JSON value from outside: no NaN, no NUL, no depth that breaks us."""

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    try:
        found = json.loads(body.decode("utf-8"), parse_constant=refuse)
    except UnicodeDecodeError as problem:
        raise BadInput(f"The JSON document is not UTF-8 at byte {problem.start}.") from None
    except RecursionError:
        raise BadInput("The JSON document is nested too deeply.") from None
    except ValueError as problem:
        raise BadInput(f"Cannot parse the JSON document: {show(str(problem), 100)}") from None
    if b"\\u0000" in body:
        _refuse_nul(found)
    return found


def _refuse_nul(found: Any) -> None:
    waiting = [found]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str) and "\x00" in value:
            raise BadInput(f"{show(value)} holds a NUL character.")
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value


def read_submission(body: bytes) -> tuple[str, list[Play]]:
    """The listen type and the plays of a submit-listens body; one bad listen refuses them all. Raises BadInput."""
    if len(body) > MOST_BYTES:
        raise BadInput(f"The JSON document has {len(body):,} bytes; at most {MOST_BYTES:,} are taken.")
    found = read_json(body)
    if not isinstance(found, dict) or not isinstance(found.get("payload"), list):
        raise BadInput("The JSON document needs listen_type and a list named payload.")
    if beyond := set(found) - {"listen_type", "payload"}:
        raise BadInput(f"The JSON document has listen_type and payload, nothing else, not {show(min(beyond))}.")
    kind, payload = found.get("listen_type"), found["payload"]
    if kind not in _TYPES:
        raise BadInput(f"The JSON document needs a listen_type of {', '.join(_TYPES)}, not {show(str(kind))}.")
    if not payload:
        raise BadInput("The JSON document does not contain any listens.")
    if len(payload) > MOST_LISTENS:
        raise BadInput(f"The JSON document has {len(payload):,} listens; at most {MOST_LISTENS:,} are taken.")
    if len(body) > len(payload) * MOST_BYTES_A_LISTEN:
        raise BadInput(f"{len(payload):,} listens may have {len(payload) * MOST_BYTES_A_LISTEN:,} bytes in all.")
    if kind != "import" and len(payload) != 1:
        raise BadInput(f"A {kind} takes one listen, not {len(payload):,}.")
    return kind, [_play(listen, kind) for listen in payload]


def _play(listen: Any, kind: str) -> Play:
    if not isinstance(listen, dict):
        raise BadInput("A listen is a JSON object.")
    beyond = set(listen) - {"track_metadata", "listened_at"}
    if beyond:
        raise BadInput(f"A listen has listened_at and track_metadata, nothing else, not {show(min(beyond))}.")
    song = listen.get("track_metadata")
    if not isinstance(song, dict):
        raise BadInput("A listen needs track_metadata.")
    more = song.get("additional_info") or {}
    if not isinstance(more, dict):
        raise BadInput("additional_info is a JSON object.")
    _check_tags(more.get("tags"))
    duration, played = _lengths(more)
    return Play(
        _text(song, "artist_name"), _text(song, "track_name"), _time(listen, kind), _album(song), duration, played,
        _mbid(more),
    )  # fmt: skip


def _text(song: dict[str, Any], name: str) -> str:
    value = song.get(name)
    if not isinstance(value, str):
        raise BadInput(f"track_metadata needs {name} as text.")
    return clean(value, name)


def _album(song: dict[str, Any]) -> str | None:
    value = song.get("release_name")
    if value is not None and not isinstance(value, str):
        raise BadInput("release_name is text.")
    return clean(value or "", "release_name", required=False) or None


def _time(listen: dict[str, Any], kind: str) -> int | None:
    at = listen.get("listened_at")
    if kind == "playing_now":
        if "listened_at" in listen:
            raise BadInput("A playing_now has no listened_at.")
        return None
    if isinstance(at, str) and re.fullmatch(r"[0-9]{1,12}", at):
        at = int(at)
    if isinstance(at, bool) or not isinstance(at, int | float):
        raise BadInput(f"listened_at is whole seconds since 1970, not {show(str(at))}.")
    return check_time(int(at) if abs(at) < 2**53 else 2**53)


def _whole(value: Any, name: str) -> int:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise BadInput(f"{name} is a number from 0 on, not {show(str(value))}.")
    return int(value)


def _lengths(more: dict[str, Any]) -> tuple[int | None, int | None]:
    """(length, how much was heard) in milliseconds, where told."""
    duration = played = None
    if more.get("duration") is not None and more.get("duration_ms") is not None:
        raise BadInput("A listen has duration or duration_ms, not both.")
    if more.get("duration_ms") is not None:
        duration = _whole(more["duration_ms"], "duration_ms")
    if more.get("duration") is not None:
        duration = _whole(more["duration"], "duration") * 1000
    if duration is not None and not 0 < duration <= _LONGEST_MS:
        raise BadInput(f"A length of {duration:,} ms is not between 1 ms and 24 days.")
    if more.get("duration_played") is not None:
        played = min(_whole(more["duration_played"], "duration_played") * 1000, _LONGEST_MS)
    return duration, played


def _check_tags(tags: Any) -> None:
    if tags is None:
        return
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise BadInput("tags is a list of texts.")
    if len(tags) > _MOST_TAGS:
        raise BadInput(f"A listen has {len(tags)} tags; at most {_MOST_TAGS} are taken.")
    too_long = next((tag for tag in tags if len(tag) > _LONGEST_TAG), None)
    if too_long is not None:
        raise BadInput(f"The tag {show(too_long)} has more than {_LONGEST_TAG} characters.")


def _mbid(more: dict[str, Any]) -> str | None:
    for name in ("recording_mbid", "release_mbid", "release_group_mbid", "track_mbid"):
        check_mbid(more.get(name), name)
    for name in ("artist_mbids", "work_mbids"):
        several = more.get(name) or []
        if not isinstance(several, list):
            raise BadInput(f"{name} is a list of MusicBrainz ids.")
        for value in several:
            check_mbid(value, name)
    return check_mbid(more.get("recording_mbid"), "recording_mbid")


def check_mbid(value: Any, name: str) -> str | None:
    """A MusicBrainz id in lower case; blank is none. Raises BadInput."""
    if value is None or value == [] or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(value, str) or not _MBID.fullmatch(value.strip()):
        raise BadInput(f"{name} {show(str(value))} is no MusicBrainz id.")
    return value.strip().lower()


# -- our songs and listens in their words -----------------------------------------------------------


def msid_of(song_id: int) -> str:
    """A song's message id."""
    return str(uuid.UUID(int=(_MSID_HIGH << 64) | _MSID_VARIANT | song_id))


def song_of_msid(msid: str) -> int | None:
    """The song's number in a message id of ours; None for any other."""
    if not _MBID.fullmatch(msid):
        return None
    number = uuid.UUID(msid).int
    low = number & (2**64 - 1)
    if number >> 64 != _MSID_HIGH or low >> 62 != 0b10:
        return None
    return low & (2**62 - 1)


def listen_json(listen: Listen, user_name: str, mbid: str | None) -> dict[str, Any]:
    """One dated listen (its song loaded) as ListenBrainz gives it."""
    more: dict[str, Any] = {"submission_client": "Earshot", "music_service_name": listen.source}
    if listen.duration_ms is not None:
        more["duration_ms"] = listen.duration_ms
    if listen.played_ms is not None:
        more["duration_played"] = listen.played_ms // 1000
    return {
        "inserted_at": listen.created_at, "listened_at": listen.listened_at, "user_name": user_name,
        "recording_msid": msid_of(listen.song_id), "track_metadata": metadata(listen.song, listen.album, mbid, more),
    }  # fmt: skip


def metadata(song: Song, album: str | None, mbid: str | None, more: dict[str, Any] | None = None) -> dict[str, Any]:
    """A song as track_metadata."""
    info = {**(more or {}), "recording_msid": msid_of(song.id)}
    if mbid:
        info["recording_mbid"] = mbid
    if song.genres:
        info["tags"] = list(song.genres)
    found: dict[str, Any] = {"artist_name": song.artist, "track_name": song.title, "additional_info": info}
    if album:
        found["release_name"] = album
    return found
