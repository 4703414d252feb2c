"""Audioscrobbler 2.0's forms and answers: parameters become plays; answers are JSON or XML of one tree."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl
from xml.etree import ElementTree

from app.errors import BadInput
from app.services.listenbrainz_format import check_mbid
from app.services.listens import EARLIEST
from app.services.submitting import Play
from app.services.text import clean, show
from app.tables import now

MOST_SCROBBLES = 50
_MOST_FIELDS = 1_000
_AHEAD = 3_600
_LONGEST_SECONDS = 24 * 86_400
_INDEXED = re.compile(r"(\w{1,40})\[([0-9]{1,4})\]")

ARTIST, TRACK, TOO_OLD, TOO_NEW = 1, 2, 3, 4
_IGNORED = {
    0: "", ARTIST: "Artist was ignored", TRACK: "Track was ignored", TOO_OLD: "Timestamp was too old",
    TOO_NEW: "Timestamp was too new",
}  # fmt: skip


class ScrobblerError(Exception):
    """An error in Audioscrobbler's numbers."""

    def __init__(self, code: int, message: str, status: int) -> None:
        super().__init__(message)
        self.code, self.status = code, status


def bad_parameters(message: str) -> ScrobblerError:
    """6: a parameter is missing or wrong."""
    return ScrobblerError(6, message, 400)


@dataclass(frozen=True, slots=True)
class Scrobble:
    """One scrobble as it was sent, the play that it is, or the code for why it is ignored."""

    fields: Mapping[str, str]
    play: Play | None
    ignored: int = 0


def read_form(query: str, body: bytes) -> dict[str, str]:
    """Parameters of address and body, the body's first. Raises ScrobblerError 6."""
    try:
        found: dict[str, str] = {}
        for part in (query, body.decode("ascii")):
            found |= parse_qsl(part, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError:
        raise bad_parameters("The parameters are not form-encoded UTF-8, or too many.") from None
    return found


def read_scrobbles(form: Mapping[str, str]) -> list[Scrobble]:
    """The 1 to 50 scrobbles of a form, by index or without one. Raises ScrobblerError 6."""
    by_index: dict[int, dict[str, str]] = {}
    for name, value in form.items():
        if indexed := _INDEXED.fullmatch(name):
            by_index.setdefault(int(indexed[2]), {})[indexed[1]] = value
    if not by_index:
        by_index[0] = dict(form)
    if len(by_index) > MOST_SCROBBLES:
        raise bad_parameters(f"{len(by_index)} scrobbles were sent; at most {MOST_SCROBBLES} are taken at once.")
    return [_scrobble(by_index[index]) for index in sorted(by_index)]


def _scrobble(fields: Mapping[str, str]) -> Scrobble:
    for name in ("artist", "track", "timestamp"):
        if name not in fields:
            raise bad_parameters(f"The parameter {name} is missing.")
    at = fields["timestamp"].strip()
    if not re.fullmatch(r"-?[0-9]{1,30}", at):
        raise bad_parameters(f"The timestamp {show(at)} is no whole number of seconds.")
    if int(at) < EARLIEST:
        return Scrobble(fields, None, TOO_OLD)
    if int(at) >= now() + _AHEAD:
        return Scrobble(fields, None, TOO_NEW)
    for name, code in (("artist", ARTIST), ("track", TRACK)):
        try:
            clean(fields[name], name)
        except BadInput:
            return Scrobble(fields, None, code)
    return Scrobble(fields, _play(fields, int(at)))


def read_playing(form: Mapping[str, str]) -> Play:
    """What updateNowPlaying says. Raises ScrobblerError 6."""
    for name in ("artist", "track"):
        if not form.get(name, "").strip():
            raise bad_parameters(f"The parameter {name} is missing.")
    try:
        return _play(form, None)
    except BadInput as problem:
        raise bad_parameters(str(problem)) from None


def _play(fields: Mapping[str, str], at: int | None) -> Play:
    """What else is told of a song is taken if it can be: a strange album or length does not cost the listen."""
    return Play(
        clean(fields["artist"], "artist"), clean(fields["track"], "track"), at, _album(fields.get("album", "")),
        _milliseconds(fields.get("duration", "")), None, _mbid(fields.get("mbid", "")),
    )  # fmt: skip


def _album(text: str) -> str | None:
    try:
        return clean(text, "album", required=False) or None
    except BadInput:
        return None


def _milliseconds(text: str) -> int | None:
    seconds = int(text) if re.fullmatch(r"[0-9]{1,9}", text.strip()) else 0
    return seconds * 1000 if 0 < seconds <= _LONGEST_SECONDS else None


def _mbid(text: str) -> str | None:
    try:
        return check_mbid(text, "mbid")
    except BadInput:
        return None


# -- answers: a tree of dicts, in which "#text" is an element's text and "@attr" holds its attributes ---------------


def _corrected(text: str) -> dict[str, str]:
    return {"corrected": "0", "#text": text}


def _told(fields: Mapping[str, str], ignored: int) -> dict[str, Any]:
    return {
        "track": _corrected(fields.get("track", "")), "artist": _corrected(fields.get("artist", "")),
        "album": _corrected(fields.get("album", "")), "albumArtist": _corrected(fields.get("albumArtist", "")),
        "ignoredMessage": {"code": str(ignored), "#text": _IGNORED[ignored]},
    }  # fmt: skip


def scrobbles_tree(sent: Sequence[Scrobble]) -> dict[str, Any]:
    """The answer to track.scrobble: one object for one scrobble, else a list."""
    told = [{**_told(one.fields, one.ignored), "timestamp": one.fields["timestamp"]} for one in sent]
    accepted = sum(one.play is not None for one in sent)
    counts = {"accepted": accepted, "ignored": len(sent) - accepted}
    return {"scrobbles": {"@attr": counts, "scrobble": told[0] if len(told) == 1 else told}}


def playing_tree(form: Mapping[str, str]) -> dict[str, Any]:
    """The answer to track.updateNowPlaying."""
    return {"nowplaying": _told(form, 0)}


def as_xml(tree: Mapping[str, Any]) -> bytes:
    """An answer as XML."""
    root = ElementTree.Element("lfm", status="ok")
    for name, value in tree.items():
        _element(root, name, value)
    return _bytes(root)


def error_xml(code: int, message: str) -> bytes:
    """An error as XML."""
    root = ElementTree.Element("lfm", status="failed")
    ElementTree.SubElement(root, "error", code=str(code)).text = _writable(message)
    return _bytes(root)


def _bytes(root: ElementTree.Element) -> bytes:
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode").encode()


def _element(parent: ElementTree.Element, name: str, value: Any) -> None:
    if isinstance(value, list):
        for one in value:
            _element(parent, name, one)
        return
    made = ElementTree.SubElement(parent, name)
    if not isinstance(value, Mapping):
        made.text = _writable(str(value))
        return
    for key, inner in value.items():
        if key == "#text":
            made.text = _writable(inner)
        elif key == "@attr":
            made.attrib.update({attribute: str(one) for attribute, one in inner.items()})
        elif key in ("corrected", "code"):
            made.set(key, inner)
        else:
            _element(made, key, inner)


def _writable(text: str) -> str:
    """XML has no place for some characters that JSON has."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
