"""The plain format: what can be taken is, and every other row says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import BadInput
from app.services.plain_format import Dropped, Row, read_plain
from app.tables import now

HEADER = b"artist\ttitle\tat\tplays\trating\n"


def one_file(tmp_path: Path, content: bytes) -> list[Row | Dropped]:
    """Rows of a single file with this content."""
    path = tmp_path / "listens.tsv"
    path.write_bytes(content)
    return list(read_plain(path))


def folder(tmp_path: Path, songs: bytes, listens: bytes) -> list[Row | Dropped]:
    """Rows of a folder with these two files."""
    (tmp_path / "songs.tsv").write_bytes(songs)
    (tmp_path / "listens.tsv").write_bytes(listens)
    return list(read_plain(tmp_path))


def test_one_file_is_read(tmp_path: Path) -> None:
    rows = one_file(tmp_path, HEADER + b"Queen\tBicycle Race\t1700000000\t2\t4.5\nQueen\t39\t\t\t\n")
    assert rows == [
        Row(2, "Queen", "Bicycle Race", 1_700_000_000, 2, 4.5),
        Row(3, "Queen", "39", None, 1, None),
    ]


def test_a_folder_is_read_and_its_user_column_ignored(tmp_path: Path) -> None:
    songs = "song_id\tartist\ttitle\ttags\tyear\ns1\tQueen\t’39\trock|folk\t1975\ns2\tBjörk\tJóga\t\t\n".encode()
    listens = b"user_id\tsong_id\tplays\trating\tat\nu1\ts1\t3\t5\t\nu2\ts2\t\t\t1700000000\n"
    assert folder(tmp_path, songs, listens) == [
        Row(2, "Queen", "’39", None, 3, 5.0, ("rock", "folk"), 1975),
        Row(3, "Björk", "Jóga", 1_700_000_000, 1, None),
    ]


def test_columns_may_come_in_any_order_and_others_are_ignored(tmp_path: Path) -> None:
    rows = one_file(tmp_path, b"mood\ttitle\tartist\nhappy\t39\tQueen\n")
    assert rows == [Row(2, "Queen", "39", None, 1, None)]


@pytest.mark.parametrize("content", [b"artist\ttitle\r\nQueen\t39\r\n", b"\xef\xbb\xbfartist\ttitle\nQueen\t39"])
def test_windows_line_ends_and_byte_order_marks_do_no_harm(tmp_path: Path, content: bytes) -> None:
    assert one_file(tmp_path, content) == [Row(2, "Queen", "39", None, 1, None)]


def test_missing_fields_at_the_end_of_a_row_are_unknown(tmp_path: Path) -> None:
    assert one_file(tmp_path, HEADER + b"Queen\t39\n") == [Row(2, "Queen", "39", None, 1, None)]


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    assert [r.line for r in one_file(tmp_path, HEADER + b"\nQueen\t39\n\n\n")] == [3]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"Queen\t", "no title"),
        (b"\t39", "the artist is empty"),
        (b"Queen\tA\x00B", "control character"),
        (b"Queen\t\x1b[2J", "control character"),
        (b"Queen\t\xff\xfe", "not UTF-8 at byte 6"),
        (b"Queen\t\xed\xa0\x80", "not UTF-8"),  # a lone surrogate, as some programs write it
        (b"Queen\t" + b"x" * 501, "501 characters"),
        (b"Queen\t" + b"x" * 10_000_000, "longer than 100,000 bytes"),
        (b"Queen\t39\tyesterday", "the time 'yesterday' is no whole number"),
        (b"Queen\t39\t1700000000.5", "no whole number"),
        (b"Queen\t39\t--5", "no whole number"),
        (b"Queen\t39\t-", "no whole number"),
        ("Queen\t39\t１７００００００００".encode(), "no whole number"),
        (b"Queen\t39\t9223372036854775808", "lies in the future"),
        (b"Queen\t39\t" + b"9" * 5000, "no whole number"),
        (b"Queen\t39\t0", "before October 2002"),
        (b"Queen\t39\t-1700000000", "before October 2002"),
        (b"Queen\t39\t\t0", "the play count 0"),
        (b"Queen\t39\t\t-3", "the play count -3"),
        (b"Queen\t39\t\t1000001", "the play count 1000001"),
        (b"Queen\t39\t\tmany", "the play count 'many'"),
        (b"Queen\t39\t\t\tnan", "the rating 'nan'"),
        (b"Queen\t39\t\t\tNaN", "the rating 'NaN'"),
        (b"Queen\t39\t\t\tinf", "the rating 'inf'"),
        (b"Queen\t39\t\t\t1e400", "the rating"),
        (b"Queen\t39\t\t\t6", "not between 0 and 5"),
        (b"Queen\t39\t\t\tgood", "is no number"),
        (b"Queen\t39\t\t\t\textra", "6 fields, but the header has 5"),
    ],
)  # fmt: skip
def test_a_broken_row_says_its_line_and_why_and_the_rest_is_kept(tmp_path: Path, row: bytes, reason: str) -> None:
    rows = one_file(tmp_path, HEADER + b"Queen\tBefore\n" + row + b"\nQueen\tAfter\n")
    assert [r.title for r in rows if isinstance(r, Row)] == ["Before", "After"]
    (dropped,) = [r for r in rows if isinstance(r, Dropped)]
    assert dropped.line == 3 and reason in dropped.reason
    assert len(dropped.reason) < 300
    assert isinstance(rows[-1], Row) and rows[-1].line == 4


def test_a_listen_in_the_future_is_dropped(tmp_path: Path) -> None:
    (row,) = one_file(tmp_path, HEADER + f"Queen\t39\t{now() + 86_400}\n".encode())
    assert isinstance(row, Dropped) and "lies in the future" in row.reason


def test_a_listen_of_a_song_that_is_not_listed_is_dropped(tmp_path: Path) -> None:
    songs = b"song_id\tartist\ttitle\ns1\tQueen\t39\ns2\tQueen\t\xff\n"
    rows = folder(tmp_path, songs, b"song_id\ns1\ns2\ns3\n")
    assert isinstance(rows[0], Row)
    assert [r.line for r in rows if isinstance(r, Dropped) and "not in songs.tsv" in r.reason] == [3, 4]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"artist\tname\nQueen\t39\n", "no column 'title'"),
        (b"Queen,39\n", "no column 'artist'"),
        (b"\x00" * 10_000, "no column 'artist'"),
        (b"x" * 10_000_000, "no column 'artist'"),
        (b"\xff\xfe\x00a", "no column 'artist'"),
    ],
)  # fmt: skip
def test_a_file_in_another_format_is_refused_as_a_whole(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        one_file(tmp_path, content)
    assert len(str(caught.value).encode("utf-8")) < 500


def test_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    assert one_file(tmp_path, HEADER) == []


def test_a_place_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no file nowhere\.tsv"):
        list(read_plain(tmp_path / "nowhere.tsv"))
    with pytest.raises(BadInput, match=r"no file songs\.tsv"):
        list(read_plain(tmp_path))
    (tmp_path / "songs.tsv").mkdir()
    with pytest.raises(BadInput, match="cannot be read"):
        list(read_plain(tmp_path))
