"""A list of songs as a file for other programs: JSPF, XSPF and M3U, by names and ids, for Earshot holds no audio.

Sources: https://www.xspf.org/spec, https://www.xspf.org/jspf and the extended M3U that players agree on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree

from sqlalchemy.orm import Session

from app.errors import NotFound
from app.services import submitting
from app.services.text import show
from app.tables import Song

_RECORDING = "https://musicbrainz.org/recording/"
_XSPF = "http://xspf.org/ns/0/"
# Characters that XML 1.0 cannot hold at all (https://www.w3.org/TR/xml/#charsets).
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_A_NAME = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')

TYPES = {"jspf": "application/jspf+json", "xspf": "application/xspf+xml", "m3u": "audio/x-mpegurl"}


Named = tuple[Song, str | None]  # a song, and the address of its MusicBrainz recording


@dataclass(frozen=True, slots=True)
class File:
    """A file to hand out."""

    name: str
    media_type: str
    content: bytes


def write(db: Session, kind: str, title: str, made_at: int, songs: Sequence[Song]) -> File:
    """A playlist file; ``kind`` is jspf, xspf or m3u. Raises NotFound for another.

    Songs whose MusicBrainz recording is known are named by it too, as ListenBrainz' playlists want.
    """
    writers: dict[str, Callable[[str, int, Sequence[Named]], str]] = {"jspf": _jspf, "xspf": _xspf, "m3u": _m3u}
    if kind not in writers:
        raise NotFound(f"A list comes as jspf, xspf or m3u, not as {show(kind)}.")
    known = submitting.recording_ids(db, [song.id for song in songs])
    named = [(song, _RECORDING + known[song.id] if song.id in known else None) for song in songs]
    name = _NOT_A_NAME.sub(" ", title).strip(" .") or "list"
    return File(f"{name}.{kind}", TYPES[kind], writers[kind](title, made_at, named).encode("utf-8"))


def _date(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def _jspf(title: str, made_at: int, songs: Sequence[Named]) -> str:
    tracks = [
        {"title": song.title, "creator": song.artist} | ({"identifier": [recording]} if recording else {})
        for song, recording in songs
    ]
    playlist = {"title": title, "creator": "Earshot", "date": _date(made_at), "track": tracks}
    return json.dumps({"playlist": playlist}, ensure_ascii=False, indent=1) + "\n"


def _xspf(title: str, made_at: int, songs: Sequence[Named]) -> str:
    root = ElementTree.Element("playlist", {"version": "1", "xmlns": _XSPF})

    def add(to: ElementTree.Element, name: str, text: str) -> None:
        ElementTree.SubElement(to, name).text = _NOT_XML.sub("\ufffd", text)

    add(root, "title", title)
    add(root, "creator", "Earshot")
    add(root, "date", _date(made_at))
    tracks = ElementTree.SubElement(root, "trackList")
    for song, recording in songs:
        track = ElementTree.SubElement(tracks, "track")
        if recording:
            add(track, "identifier", recording)
        add(track, "title", song.title)
        add(track, "creator", song.artist)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, "unicode") + "\n"


def _m3u(title: str, made_at: int, songs: Sequence[Named]) -> str:
    """Each entry is a name and, since M3U wants a place, the file name that a tidy collection would give it."""
    lines = ["#EXTM3U", f"#PLAYLIST:{_one_line(title)}"]
    for song, _ in songs:
        called = f"{_one_line(song.artist)} - {_one_line(song.title)}"
        lines += [f"#EXTINF:-1,{called}", _NOT_A_NAME.sub("_", called).lstrip("#.") + ".mp3"]
    return "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())
