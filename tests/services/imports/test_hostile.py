"""Files that mean harm, or are merely broken, are refused or accounted for; nothing else happens."""

from __future__ import annotations

import io
import json
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.errors import BadInput
from app.services.imports import account, json_stream
from app.services.imports.members import MOST_ENTRIES, opened
from app.services.plain_format import Dropped
from tests.inputs import times

from .exports_made import LISTENBRAINZ_ROWS, PLAYS, SPOTIFY_ROWS, WRITERS, spotify, zipped

ROWS = spotify(PLAYS)


def read(path: Path) -> list[Any]:
    """Everything that is read from a path."""
    with opened([(path.name, path)]) as members:
        return [item for source in account.plan(members).sources for item in source.items()]


def archive_of(tmp_path: Path, entry: str = "a.json", content: bytes = ROWS, **facts: Any) -> Path:
    """A zip with one entry whose directory is as given."""
    info = zipfile.ZipInfo(entry)
    info.compress_type = facts.pop("compress_type", zipfile.ZIP_DEFLATED)
    for name, value in facts.items():
        setattr(info, name, value)
    path = tmp_path / "some.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, content)
    return path


@pytest.mark.parametrize("name", ["../a.json", "/etc/a.json", "x/../../a.json", "..\\a.json", "C:\\a.json"])
def test_paths_that_lead_out_of_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="leads out of the archive"):
        read(archive_of(tmp_path, name))


def test_links_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="a link or device"):
        read(archive_of(tmp_path, content=b"/etc/passwd", external_attr=(stat.S_IFLNK | 0o777) << 16, create_system=3))


def test_a_bomb_is_refused_by_its_directory(tmp_path: Path) -> None:
    path = archive_of(tmp_path, content=b"[" + b" " * 50_000_000 + b"]")
    assert path.stat().st_size < 100_000
    with pytest.raises(BadInput, match="would unpack to 50,000,002 bytes"):
        read(path)


def test_a_bomb_that_lies_about_its_size_gives_no_more_than_it_says(tmp_path: Path) -> None:
    path = archive_of(tmp_path, content=ROWS + b" " * 5_000_000)
    raw = bytearray(path.read_bytes())
    place = raw.rindex(b"PK\x01\x02")
    raw[place + 24 : place + 28] = struct.pack("<I", 900)  # the unpacked size in the directory
    path.write_bytes(raw)
    try:
        found = read(path)
    except BadInput as problem:
        assert "damaged" in str(problem)
    else:
        assert isinstance(found[-1], Dropped)


def test_too_many_entries_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(MOST_ENTRIES + 1):
            archive.writestr(f"{n}", "")
    with pytest.raises(BadInput, match="5,001 entries"):
        read(path)


def test_overlapping_entries_are_refused(tmp_path: Path) -> None:
    """Both entries of the directory point to the first one's data, as in the bombs of one kernel and many names."""
    path = tmp_path / "overlap.zip"
    path.write_bytes(zipped({"a.json": ROWS, "b.json": ROWS}))
    raw = bytearray(path.read_bytes())
    second = raw.rindex(b"PK\x01\x02")
    raw[second + 42 : second + 46] = struct.pack("<I", 0)
    path.write_bytes(raw)
    with pytest.raises(BadInput, match="overlap"):
        read(path)


def test_a_zip_in_a_zip_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "nested.zip"
    path.write_bytes(zipped({"inner.zip": zipped({"a.json": ROWS})}))
    with pytest.raises(BadInput, match="not hold"):
        read(path)
    path.write_bytes(zipped({"inner.zip": zipped({"a.json": ROWS}), "b.json": ROWS}))
    assert len(read(path)) == len(PLAYS)


def test_passwords_and_odd_packing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="packed in a way"):
        read(archive_of(tmp_path, compress_type=zipfile.ZIP_LZMA))
    path = archive_of(tmp_path)
    raw = bytearray(path.read_bytes())
    place = raw.rindex(b"PK\x01\x02")
    raw[place + 8] |= 1
    path.write_bytes(raw)
    with pytest.raises(BadInput, match="password"):
        read(path)


def test_a_link_in_a_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out.json").write_bytes(ROWS)
    (tmp_path / "in" / "link.json").symlink_to(tmp_path / "out.json")
    with pytest.raises(BadInput, match="holds no files"):
        read(tmp_path / "in")


@pytest.mark.parametrize(
    "value",
    ["[" * 100_000, '{"a":' * 100_000, "9" * 10_000, '"' + "x" * 9_000_000 + '"', '{"ts": NaN, "a": Infinity}',
     "\x00", "nul"],
    ids=["nested lists", "nested objects", "a long number", "a long string", "not a number", "nul", "cut"],
)  # fmt: skip
def test_evil_json_between_good_rows_costs_itself(tmp_path: Path, value: str) -> None:
    good = json.dumps(json.loads(ROWS)[0])
    path = tmp_path / "evil"
    path.write_text(f"[{good},\n{value},\n{good}]")
    found = read(path)
    assert len([item for item in found if not isinstance(item, Dropped)]) == 2
    assert [item.reason for item in found if isinstance(item, Dropped)] or value == "9" * 10_000


@settings(max_examples=times(40), deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(rows=st.lists(st.one_of(SPOTIFY_ROWS, LISTENBRAINZ_ROWS, st.integers(), st.none()), min_size=1, max_size=20))
def test_whatever_the_rows_hold_each_is_taken_or_dropped_with_a_reason(tmp_path: Path, rows: list[Any]) -> None:
    lead = json.loads(ROWS)[:1]
    path = tmp_path / "any"
    path.write_text(json.dumps(lead + rows))
    found = read(path)
    assert len(found) == 1 + len(rows)
    assert [item.line for item in found] == list(range(1, len(rows) + 2))
    assert all(item.reason for item in found if isinstance(item, Dropped))


@settings(max_examples=times(40), deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(
    name=st.sampled_from(sorted(WRITERS)), at=st.integers(0, 2000), junk=st.binary(max_size=40), cut=st.integers(0, 400)
)
def test_a_damaged_export_never_breaks_the_reading(tmp_path: Path, name: str, at: int, junk: bytes, cut: int) -> None:
    whole = WRITERS[name][0](PLAYS)
    place = at % len(whole)
    path = tmp_path / "damaged"
    path.write_bytes(whole[:place] + junk + whole[place + cut :])
    try:
        found = read(path)
    except BadInput:
        return
    assert all(item.reason for item in found if isinstance(item, Dropped))


_LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=9)
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)


@settings(max_examples=times(80), deadline=None)
@given(
    values=st.lists(_VALUES.map(lambda value: {"v": value}), max_size=9), size=st.integers(1, 50),
    shape=st.sampled_from(["array", "lines", "pretty"]),
)  # fmt: skip
def test_values_are_found_however_the_text_is_cut(values: list[Any], size: int, shape: str) -> None:
    out = io.StringIO()
    if shape == "lines":
        out.writelines(json.dumps(value) + "\n" for value in values)
    else:
        json.dump(values, out, indent=2 if shape == "pretty" else None)
    text = out.getvalue()
    pieces = (text[i : i + size] for i in range(0, len(text), size))
    assert list(json_stream.values(pieces)) == values
