"""Which format a file is in, told by what it holds and never by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from app.errors import BadInput
from app.services.imports import decoding, lastfm, listenbrainz, others, own_csv, spotify
from app.services.imports.json_stream import values
from app.services.imports.members import Member
from app.services.imports.rows import Item
from app.services.plain_format import Dropped, read_pair, read_table
from app.services.text import show

_LOOKED_AT = 30  # values at the beginning of a JSON file
_PIECES = 40  # of 256 KB: a page of JSON may be long


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of a file: its first line and, if it is JSON, its first objects."""

    text: str
    line: str
    objects: Sequence[dict[str, Any]]

    def has(self, *keys: str) -> bool:
        """Whether one of the first objects has all of these keys."""
        return any(all(key in found for key in keys) for found in self.objects)


@dataclass(frozen=True, slots=True)
class Format:
    """A format: its name as a listen's source, its words for a person, and how it is told and read."""

    name: str
    label: str
    fits: Callable[[Head], bool]
    read: Callable[[Iterator[str]], Iterator[Item]]
    zone_unknown: bool = False
    proven: bool = True


def _columns(head: Head, separator: str) -> list[str]:
    try:
        return [cell.strip().casefold() for cell in lastfm.cells(head.line, separator)]
    except BadInput:
        return []


def _is_bare(head: Head) -> bool:
    """artist,album,track,date without a header, in one of the first lines: the first may lack its time."""
    for line in head.text.split("\n")[:20]:
        try:
            row = lastfm.cells(line.removesuffix("\r"), ",")
            if len(row) in (4, 5):
                lastfm.spoken_time(" ".join(row[3:]))
                return True
        except BadInput:
            continue
    return False


def _is_pages(head: Head) -> bool:
    for found in head.objects:
        inner = found.get("recenttracks", found)
        if isinstance(inner, dict) and "track" in inner:
            return True
    return False


def _is_table(head: Head) -> bool:
    columns = own_csv.header_of(_columns(head, ","))
    return "artist" in columns and "title" in columns


def _is_plain(head: Head) -> bool:
    return {"artist", "title"} <= set(head.line.split("\t")) and "song_id" not in head.line.split("\t")


FORMATS: tuple[Format, ...] = (
    Format("spotify", "Spotify, extended streaming history",
           lambda h: h.has("ms_played", "master_metadata_track_name"), spotify.read_extended),
    Format("spotify-basic", "Spotify, account data", lambda h: h.has("endTime", "msPlayed"), spotify.read_basic,
           zone_unknown=True),
    Format("listenbrainz-feedback", "ListenBrainz or Earshot, feedback",
           lambda h: h.has("score", "created") or h.has("score", "track_metadata") or h.has("score", "recording_mbid"),
           listenbrainz.read_feedback),
    Format("listenbrainz", "ListenBrainz or Earshot, listens", lambda h: h.has("track_metadata", "listened_at"),
           listenbrainz.read_listens),
    Format("youtube", "YouTube Takeout, watch history", lambda h: h.has("header", "title", "time"), others.read_youtube,
           proven=False),
    Format("lastfm", "Last.fm, pages of JSON", _is_pages, lastfm.read_pages),
    Format("lastfm", "Last.fm, table of lastfmstats",
           lambda h: _columns(h, ";")[:4] == ["artist", "album", "albumid", "track"], lastfm.read_stats),
    Format("lastfm", "Last.fm, table with uts",
           lambda h: _columns(h, ",") == ["uts", "utc_time", "artist", "artist_mbid", "album", "album_mbid", "track",
                                          "track_mbid"], lastfm.read_uts),
    Format("apple", "Apple Music, play activity",
           lambda h: {"event type", "play duration milliseconds"} <= set(_columns(h, ",")), others.read_apple,
           proven=False),
    Format("csv", "Table with artist and title", _is_table, own_csv.read_csv),
    Format("lastfm", "Last.fm, table without a header", _is_bare, lastfm.read_bare),
)  # fmt: skip
PLAIN = "Plain format, tab-separated"
READ_HERE = (
    "Spotify (extended or account data), Last.fm (CSV or JSON), ListenBrainz, Apple Music's play activity, YouTube's "
    "watch history as JSON, an Earshot account, and tables with artist and title"
)


@dataclass(frozen=True, slots=True)
class Source:
    """A file whose format is known. ``items`` reads it from its beginning; rows of ``name`` come in file order."""

    name: str
    format: str
    label: str
    items: Callable[[], Iterator[Item]]
    zone_unknown: bool = False
    proven: bool = True


def head_of(member: Member) -> Head:
    """Raises Damaged."""
    with member.open() as stream:
        text = next(decoding.chunks(stream), "")
    objects: list[dict[str, Any]] = []
    if text.lstrip()[:1] in ("{", "["):
        with member.open() as stream:
            begin = islice(decoding.chunks(stream), _PIECES)
            for value in islice(values(begin), _LOOKED_AT):
                objects += [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]
    return Head(text, text.split("\n", 1)[0].removesuffix("\r"), objects)


def sources(members: Sequence[Member]) -> tuple[list[Source], list[str]]:
    """The files that can be read, by format, and the names of those that hold no listens.

    Raises BadInput if none can be read, saying what is there and what is read here.
    """
    heads: dict[str, Head] = {}
    unread: list[str] = []
    damaged: BadInput | None = None
    for member in members:
        try:
            heads[member.name] = head_of(member)
        except BadInput as problem:
            unread.append(member.name)
            damaged = damaged or problem
    found = _pair(members, heads)
    taken = {"songs.tsv", "listens.tsv"} if found else set()
    for member in members:
        if member.name not in heads or member.name.rsplit("/", 1)[-1] in taken:
            continue
        source = _source(member, heads[member.name])
        if source is None:
            unread.append(member.name)
        else:
            found.append(source)
    if not found and damaged is not None:
        raise damaged
    if not found:
        raise BadInput(_nothing(members, heads))
    return found, unread


def _source(member: Member, head: Head) -> Source | None:
    if _is_plain(head):
        return Source(member.name, "import", PLAIN, lambda: _plain(member))
    form = next((form for form in FORMATS if form.fits(head)), None)
    if form is None:
        return None
    items = partial(_read, member, form.read)
    return Source(member.name, form.name, form.label, items, form.zone_unknown, form.proven)


def _read(member: Member, read: Callable[[Iterator[str]], Iterator[Item]]) -> Iterator[Item]:
    """Items of a member; where it breaks off, one last row says so."""
    last = 0
    try:
        with member.open() as stream:
            for item in read(decoding.chunks(stream)):
                last = item.line
                yield item
    except BadInput as problem:
        yield Dropped(last + 1, f"the file breaks off: {problem}")


def _plain(member: Member) -> Iterator[Item]:
    with member.open() as stream:
        yield from read_table(stream, member.name)


def _pair(members: Sequence[Member], heads: dict[str, Head]) -> list[Source]:
    """songs.tsv and listens.tsv of the plain format; here the names tell which is which."""
    by_name = {member.name.rsplit("/", 1)[-1]: member for member in members}
    songs, plays = by_name.get("songs.tsv"), by_name.get("listens.tsv")
    if songs is None or plays is None or "song_id" not in heads[songs.name].line:
        return []

    def read() -> Iterator[Item]:
        with songs.open() as first, plays.open() as second:
            yield from read_pair(first, second)

    return [Source(plays.name, "import", PLAIN, read)]


def _nothing(members: Sequence[Member], heads: dict[str, Head]) -> str:
    first = members[0]
    head = heads.get(first.name)
    begin = head.line if head else ""
    hint = ""
    if begin.lstrip()[:1] == "<":
        hint = " It looks like HTML; Takeout offers JSON for the history as well."
    elif head and head.text.lstrip()[:1] in ("{", "[") and not head.objects:
        hint = " It begins like JSON, but no object in it can be read."
    many = f"None of the {len(members)} files holds" if len(members) > 1 else f"{show(first.name)} does not hold"
    known = f"in a format that is known here; the first begins with {show(begin)}."
    return f"{many} listens {known}{hint} Read are: {READ_HERE}."
