"""Every export is told by what it holds, in whatever encoding and under whatever name."""

from __future__ import annotations

import codecs
import io
import json
import zipfile
from pathlib import Path

import pytest

from app.errors import BadInput
from app.services.imports import account
from app.services.imports.members import opened
from app.services.imports.rows import Item, Opinion
from app.services.plain_format import Dropped, Row

from .exports_made import AT, PLAYS, WRITERS, Play, lastfm_bare, lastfm_stats, listenbrainz, spotify, zipped


def items(path: Path) -> list[Item]:
    """Everything that is read from a path."""
    with opened([(path.name, path)]) as members:
        return [item for source in account.plan(members).sources for item in source.items()]


def file(tmp_path: Path, content: bytes, name: str = "some.bin") -> Path:
    """A file with a name that says nothing."""
    path = tmp_path / name
    path.write_bytes(content)
    return path


def start(play: Play, kept: str) -> int:
    """When a play began, as far as a format keeps it."""
    if kept == "second":
        return play.at
    if kept == "minute":
        return play.at // 60 * 60
    return ((play.at * 1000 + play.ms) // 60_000 * 60_000 - play.ms) // 1000


@pytest.mark.parametrize("format_", WRITERS)
def test_each_export_is_known_by_its_content(tmp_path: Path, format_: str) -> None:
    write, kept = WRITERS[format_]
    rows = [item for item in items(file(tmp_path, write(PLAYS))) if isinstance(item, Row)]
    assert [(r.artist, r.title, r.at) for r in rows] == [(p.artist, p.title, start(p, kept)) for p in PLAYS]


def test_what_is_no_play_is_dropped_with_the_reason(tmp_path: Path) -> None:
    dropped = {
        name: [i.reason for i in items(file(tmp_path, WRITERS[name][0](PLAYS[:1]))) if isinstance(i, Dropped)]
        for name in ("lastfm-pages", "apple", "youtube")
    }
    assert dropped == {
        "lastfm-pages": ["it was playing when the file was made"],
        "apple": ["not the end of a play (PLAY_START)"],
        "youtube": ["a video that is not told to be music"],
    }


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_are_told(tmp_path: Path, encoding: str) -> None:
    for content in (listenbrainz(PLAYS), lastfm_stats(PLAYS).removeprefix(codecs.BOM_UTF8)):
        rows = items(file(tmp_path, content.decode().encode(encoding)))
        assert [r.artist for r in rows if isinstance(r, Row)] == [p.artist for p in PLAYS]


def test_old_windows_files_are_read_and_a_broken_byte_costs_its_row(tmp_path: Path) -> None:
    (row,) = items(file(tmp_path, lastfm_bare(PLAYS[2:3]).decode().encode("cp1252")))
    assert isinstance(row, Row) and (row.artist, row.title) == ("Björk", "Jóga")
    filler = listenbrainz([Play("A", f"T{n}", "", AT + n, 0) for n in range(900)])
    broken = filler + listenbrainz(PLAYS[:1]).replace(b"Sinnerman", b"Sinner\xff") + listenbrainz(PLAYS[2:3])
    *_, bad, good = items(file(tmp_path, broken))
    assert isinstance(bad, Dropped) and "no valid Unicode" in bad.reason and bad.line == 901
    assert isinstance(good, Row) and good.artist == "Björk"


def test_a_play_counts_by_what_was_heard(tmp_path: Path) -> None:
    def ended(ms: int, **more: object) -> str:
        (row,) = items(file(tmp_path, spotify([PLAYS[0]._replace(ms=ms)], **more)))
        assert isinstance(row, Row)
        return row.ended

    assert [ended(29_000), ended(30_000)] == ["skipped", "played"]
    assert ended(100_000, skipped=True) == ended(100_000, reason_end="fwdbtn") == "skipped"
    assert ended(240_000, skipped=True) == ended(100_000, skipped=False, reason_end="fwdbtn") == "played"


def test_podcasts_and_rows_without_a_title_say_so(tmp_path: Path) -> None:
    rows = json.loads(spotify(PLAYS[:3]))
    rows[0] |= {"master_metadata_track_name": None, "episode_name": "Talk"}
    rows[1] |= {"master_metadata_track_name": None}
    rows[2]["ts"] = "1999-01-01T00:00:00Z"
    reasons = [i.reason for i in items(file(tmp_path, json.dumps(rows).encode())) if isinstance(i, Dropped)]
    assert reasons[:2] == ["a podcast episode", "no title"] and "before October 2002" in reasons[2]


def test_a_spotify_zip_is_read_whole_and_what_holds_no_listens_is_named(tmp_path: Path) -> None:
    path = file(tmp_path, zipped({
        "Spotify Extended/Streaming_History_Audio_2023_0.json": spotify(PLAYS[:2]),
        "Spotify Extended/Streaming_History_Audio_2024_1.json": spotify(PLAYS[2:]),
        "Spotify Extended/ReadMe.pdf": b"%PDF-1.7 \x00\xff", "Userdata.json": b'{"username": "x"}',
    }))  # fmt: skip
    with opened([("my.zip", path)]) as members:
        plan = account.plan(members)
    assert [s.label for s in plan.sources] == ["Spotify, extended streaming history"] * 2
    assert plan.unread == ["Spotify Extended/ReadMe.pdf", "Userdata.json"]


def test_a_listenbrainz_export_brings_feedback_too(tmp_path: Path) -> None:
    said = b"".join(json.dumps(row).encode() + b"\n" for row in (
        {"created": AT, "score": 1, "recording_mbid": "x", "track_metadata": {"artist_name": "A", "track_name": "B"}},
        {"created": AT, "score": -1, "recording_mbid": "y", "track_metadata": None},
    ))  # fmt: skip
    found = items(file(tmp_path, zipped({
        "user.json": b'{"user_id": 1, "username": "ana"}', "listens/2023/11.jsonl": listenbrainz(PLAYS),
        "feedback.jsonl": said,
    })))  # fmt: skip
    love, unnamed = found[-2:]
    assert love == Opinion(1, "A", "B", "love")
    assert isinstance(unnamed, Dropped) and "named by an id alone" in unnamed.reason


def test_the_plain_pair_of_files_is_read_from_a_zip(tmp_path: Path) -> None:
    pair = {
        "x/songs.tsv": b"song_id\tartist\ttitle\n1\tA\tB\n",
        "x/listens.tsv": b"song_id\tat\tplays\n1\t\t4\n2\t\t1\n",
    }
    row, lost = items(file(tmp_path, zipped(pair)))
    assert isinstance(row, Row) and (row.artist, row.plays) == ("A", 4)
    assert isinstance(lost, Dropped)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty|no files|not hold"),
        (b"<html><body>history</body>", "looks like HTML"),
        (b"\x00\x01\x02" * 99, "not hold"),
        (b'{"a": 1}', "not hold"),
        (b"{" * 9999, "no object in it can be read"),
        (b"hello\nworld\n", "begins with 'hello'"),
    ],
)
def test_what_no_reader_knows_is_refused_in_words(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        items(file(tmp_path, content))


def test_json_that_breaks_off_costs_its_last_row_only(tmp_path: Path) -> None:
    whole = spotify(PLAYS)
    *rows, last = items(file(tmp_path, whole[: len(whole) - 40]))
    assert len(rows) == len(PLAYS) - 1 and all(isinstance(row, Row) for row in rows)
    assert last == Dropped(len(PLAYS), "the file ends in the middle of it")


def test_a_broken_object_in_the_middle_costs_itself(tmp_path: Path) -> None:
    rows = spotify(PLAYS).replace(b'"ms_played": 244000', b'"ms_played": 244000 oops')
    found = items(file(tmp_path, rows))
    assert [type(item).__name__ for item in found] == ["Row", "Dropped", "Row", "Row", "Row", "Row"]
    lines = listenbrainz(PLAYS).split(b"\n")
    lines[1] = b"no json at all"
    assert [i.line for i in items(file(tmp_path, b"\n".join(lines))) if isinstance(i, Dropped)] == [2]


def test_a_damaged_entry_of_a_zip_says_so_and_keeps_what_came_before(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.jsonl", listenbrainz(PLAYS) * 1000)
    content = out.getvalue().replace(b"Homogenic", b"Homogenia", 1)
    *rows, last = items(file(tmp_path, content))
    assert isinstance(last, Dropped) and "damaged" in last.reason
    assert rows and all(isinstance(row, Row) for row in rows)
    short = zipped({"a.jsonl": listenbrainz(PLAYS)})
    with pytest.raises(BadInput, match="damaged"):
        items(file(tmp_path, short[:60] + bytes([short[60] ^ 0x55]) + short[61:]))
