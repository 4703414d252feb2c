"""Makes exports as players and services write them: realistic ones, and hostile ones, for hypothesis too.

A play is (artist, title, album, start in whole seconds, ms heard). Each writer gives the bytes of a file.
"""

from __future__ import annotations

import csv
import io
import json
import unicodedata
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from hypothesis import strategies as st

AT = 1_700_000_000


class Play(NamedTuple):
    """One play."""

    artist: str
    title: str
    album: str
    at: int
    ms: int


PLAYS = (
    Play("Nina Simone", "Sinnerman", "Pastel Blues", AT, 622_000),
    Play("Simon & Garfunkel", "Mrs. Robinson (feat. Nobody)", "Bookends", AT + 700, 244_000),
    Play("Björk", "Jóga", "Homogenic", AT + 1000, 305_000),
    Play("宇多田ヒカル", "First Love", "", AT + 1400, 12_000),
    Play('The "Quoted", Band', "=1+1; drop", "A;B,C", AT + 1500, 180_000),
    Play("AC/DC", "T.N.T.", "High Voltage", AT + 90_000, 214_000),
)


def _end(play: Play) -> datetime:
    return datetime.fromtimestamp(play.at, UTC) + timedelta(milliseconds=play.ms)


def spotify(plays: Sequence[Play], **more: Any) -> bytes:
    """The extended history. ``ts`` is the end, so plays must be of whole seconds to come back exactly."""
    rows = [
        {
            "ts": _end(p).strftime("%Y-%m-%dT%H:%M:%SZ"), "platform": "android", "ms_played": p.ms,
            "conn_country": "DE", "ip_addr": "192.0.2.1", "master_metadata_track_name": p.title,
            "master_metadata_album_artist_name": p.artist, "master_metadata_album_album_name": p.album or None,
            "spotify_track_uri": "spotify:track:x",
            "episode_name": None, "reason_start": "trackdone", "reason_end": "trackdone", "shuffle": False,
            "skipped": None, "offline": False, "offline_timestamp": 0, "incognito_mode": False, **more,
        }
        for p in plays
    ]  # fmt: skip
    return json.dumps(rows).encode()


def spotify_basic(plays: Sequence[Play]) -> bytes:
    """The account data: minutes only."""
    rows = [{"endTime": _end(p).strftime("%Y-%m-%d %H:%M"), "artistName": p.artist, "trackName": p.title,
             "msPlayed": p.ms} for p in plays]  # fmt: skip
    return json.dumps(rows, indent=2, ensure_ascii=False).encode()


def _table(rows: Sequence[Sequence[object]], separator: str = ",", quoting: int = csv.QUOTE_MINIMAL) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, quoting=quoting, lineterminator="\r\n").writerows(rows)  # type: ignore[arg-type]
    return text.getvalue().encode()


def lastfm_bare(plays: Sequence[Play], comma: bool = False) -> bytes:
    """artist,album,track,date without a header; times have minutes only."""
    form = "%d %b %Y, %H:%M" if comma else "%d %b %Y %H:%M"
    return _table([(p.artist, p.album, p.title, datetime.fromtimestamp(p.at, UTC).strftime(form)) for p in plays])


def lastfm_stats(plays: Sequence[Play]) -> bytes:
    """Of lastfmstats."""
    rows = [(p.artist, p.album, "", p.title, str(p.at * 1000)) for p in plays]
    return b"\xef\xbb\xbf" + _table([("Artist", "Album", "AlbumId", "Track", "Date#ana"), *rows], ";", csv.QUOTE_ALL)


def lastfm_uts(plays: Sequence[Play]) -> bytes:
    """With the time in the first column."""
    header = ("uts", "utc_time", "artist", "artist_mbid", "album", "album_mbid", "track", "track_mbid")
    spoken = [datetime.fromtimestamp(p.at, UTC).strftime("%d %b %Y, %H:%M") for p in plays]
    rows = [(p.at, t, p.artist, "", p.album, "", p.title, "") for p, t in zip(plays, spoken, strict=True)]
    return _table([header, *rows], quoting=csv.QUOTE_ALL)


def lastfm_pages(plays: Sequence[Play]) -> bytes:
    """Pages of the API; the first begins with what was playing."""
    tracks: list[dict[str, Any]] = [
        {"name": p.title, "artist": {"mbid": "", "#text": p.artist}, "album": {"mbid": "", "#text": p.album},
         "date": {"uts": str(p.at), "#text": "x"}, "image": []}
        for p in plays
    ]  # fmt: skip
    now = {"name": "Now", "artist": {"#text": "Playing"}, "@attr": {"nowplaying": "true"}}
    return json.dumps([{"track": [now, *tracks[:2]]}, {"track": tracks[2:]}]).encode()


def _listenbrainz(play: Play) -> dict[str, Any]:
    track: dict[str, Any] = {"artist_name": play.artist, "track_name": play.title, "release_name": play.album}
    return {"listened_at": play.at + 0.25, "track_metadata": {**track, "additional_info": {}}}


def listenbrainz(plays: Sequence[Play]) -> bytes:
    """JSON Lines of the export."""
    return b"".join(json.dumps(_listenbrainz(p), ensure_ascii=False).encode() + b"\n" for p in plays)


def listenbrainz_array(plays: Sequence[Play]) -> bytes:
    """The older single array."""
    return json.dumps([_listenbrainz(p) for p in plays]).encode()


def apple(plays: Sequence[Play]) -> bytes:
    """Play Activity.csv, a few of its columns; a step on the way before each end."""
    header = ("Artist Name", "Album Name", "Song Name", "Event Type", "Event End Timestamp", "End Reason Type",
              "Play Duration Milliseconds", "Media Duration In Milliseconds")  # fmt: skip
    rows: list[Sequence[object]] = [header]
    for p in plays:
        end = _end(p).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        rows.append((p.artist, p.album, p.title, "PLAY_START", "", "", "", p.ms))
        rows.append((p.artist, p.album, p.title, "PLAY_END", end, "NATURAL_END_OF_TRACK", p.ms, p.ms))
    return _table(rows)


def youtube(plays: Sequence[Play]) -> bytes:
    """Takeout's watch history; a film between the songs."""
    rows: list[dict[str, Any]] = [{"header": "YouTube", "title": "Watched A film", "time": "2023-01-01T00:00:00Z",
                                   "subtitles": [{"name": "Cinema"}]}]  # fmt: skip
    for p in plays:
        when = datetime.fromtimestamp(p.at, UTC).strftime("%Y-%m-%dT%H:%M:%S.123Z")
        rows.append({"header": "YouTube Music", "title": f"Watched {p.title}", "time": when,
                     "subtitles": [{"name": f"{p.artist} - Topic", "url": "x"}], "products": ["YouTube"]})  # fmt: skip
    return json.dumps(rows).encode()


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip of files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


# Writers by name; what each keeps: "second", "minute" (of the start) or "end minute", and whether the album.
WRITERS: dict[str, tuple[Callable[[Sequence[Play]], bytes], str]] = {
    "spotify": (spotify, "second"), "spotify-basic": (spotify_basic, "end minute"),
    "lastfm-bare": (lastfm_bare, "minute"), "lastfm-comma": (lambda p: lastfm_bare(p, True), "minute"),
    "lastfm-stats": (lastfm_stats, "second"), "lastfm-uts": (lastfm_uts, "second"),
    "lastfm-pages": (lastfm_pages, "second"), "listenbrainz": (listenbrainz, "second"),
    "listenbrainz-array": (listenbrainz_array, "second"), "apple": (apple, "second"), "youtube": (youtube, "second"),
}  # fmt: skip


# -- for hypothesis ---------------------------------------------------------------------------------

NAMES = st.one_of(
    st.sampled_from(["Nina Simone", "AC/DC", "The The", "Björk", "宇多田ヒカル", "=SUM(A1)", "'Til Tuesday", "@x",
                     "-", "a,b;c\"d", "\u202eevil", "👩‍🎤", "e\u0301", "１２", "Mrs. X (feat. Y)", "＝x"]),
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30),
)  # fmt: skip
GOOD_NAMES = NAMES.map(lambda text: unicodedata.normalize("NFC", text)).filter(
    lambda text: bool(text.strip()) and text.isprintable() and text == text.strip()
)
_ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**30), 10**30), st.floats(), st.text(max_size=20),
    st.just("\x00"), st.just("\ud800"), st.just("x" * 600), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip
SPOTIFY_ROWS = st.fixed_dictionaries(
    {
        "ts": st.one_of(st.just("2020-01-01T00:00:00Z"), st.datetimes().map(str), _ODD),
        "ms_played": st.one_of(st.integers(0, 500_000), _ODD),
        "master_metadata_track_name": st.one_of(NAMES, _ODD),
        "master_metadata_album_artist_name": st.one_of(NAMES, _ODD),
        "master_metadata_album_album_name": st.one_of(NAMES, _ODD),
        "skipped": st.one_of(st.booleans(), _ODD), "episode_name": st.one_of(st.none(), NAMES), "reason_end": _ODD,
    }
)  # fmt: skip
LISTENBRAINZ_ROWS = st.fixed_dictionaries(
    {
        "listened_at": st.one_of(st.integers(AT, AT + 10_000), st.floats(AT, AT + 10_000), _ODD),
        "track_metadata": st.one_of(
            st.fixed_dictionaries({"artist_name": st.one_of(NAMES, _ODD), "track_name": st.one_of(NAMES, _ODD),
                                   "release_name": _ODD, "additional_info": _ODD}), _ODD),
    }
)  # fmt: skip
