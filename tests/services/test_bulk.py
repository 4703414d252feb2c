"""Songs in bulk: every row is accounted for, nothing comes twice, and a kill costs nothing."""

from __future__ import annotations

import json
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import func, select

from app.cli import main
from app.db import Database
from app.errors import BadInput
from app.lm.engine import Engine
from app.lm.song_text import song_text
from app.services import bulk, catalogue, listens, preparing
from app.services.plain_format import Dropped
from app.services.search import search
from app.services.song_files import FileSong, read_songs
from app.settings import Settings
from app.tables import Artist, Listener, Song, SongGenre

Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file and gives its path."""

    def make(content: str | bytes) -> Path:
        path = tmp_path / "songs.any"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def good(path: Path) -> list[FileSong]:
    """The rows that can be taken."""
    return [row for row in read_songs(path) if isinstance(row, FileSong)]


def test_columns_of_a_csv_may_stand_in_any_order_and_others_are_ignored(write: Write) -> None:
    path = write(
        "recording_mbid,Year,recording_name,artist_credit_name,genres,country\nx,1971,One,Sade,jazz;Soul;x,gb\n"
    )
    assert good(path) == [FileSong(2, "Sade", "One", 1971, ("jazz", "soul"), (), "GB")]


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
def test_the_first_line_shows_the_separator(write: Write, separator: str) -> None:
    path = write(f"\ufeffartist{separator}title\r\nA{separator}B\r\n\r\n")
    assert [(s.artist, s.title) for s in good(path)] == [("A", "B")]


def test_json_lines_are_known_by_their_content(write: Write) -> None:
    one = {"artist": "A", "title": "B", "year": 1999, "genres": ["Jazz", "no such", 3], "moods": "late night/x"}
    two = {"title": "D", "artist-credit": [{"name": "A", "joinphrase": " & "}, {"name": "C"}],
           "first-release-date": "1999-02-03", "genres": [{"name": "soul", "count": 3}]}  # fmt: skip
    path = write(json.dumps(one) + "\n" + json.dumps(two) + "\n")
    assert good(path) == [
        FileSong(1, "A", "B", 1999, ("jazz",), ("late night",), None),
        FileSong(2, "A & C", "D", 1999, ("soul",), (), None),
    ]


def test_every_row_that_is_dropped_says_its_line_and_why(write: Write) -> None:
    long = "x" * 501
    lines = [b"artist,title,year", b"A,B,soon", b",B,", b"A,,", b"A", b"A,B,1,2", b"A,\xff,", b'"A,B,',
             f"A,{long},".encode(), b"A,B\x01,", b"C,D,99999999999999999999999"]  # fmt: skip
    rows = list(read_songs(write(b"\n".join(lines))))
    assert [r.line for r in rows if isinstance(r, Dropped)] == [3, 4, 5, 6, 7, 8, 9, 10]
    assert [(r.line, r.title, r.year) for r in rows if isinstance(r, FileSong)] == [(2, "B", None), (11, "D", None)]
    assert all(r.reason for r in rows if isinstance(r, Dropped))


def test_broken_json_lines_are_dropped_one_by_one(write: Write) -> None:
    path = write(
        '{"artist": "A", "title": "B"}\n{"artist": \n[1]\n{"artist": {"a": 1}, "title": "B"}\n' + "[" * 100_000
    )
    assert [r.line for r in read_songs(path) if isinstance(r, Dropped)] == [2, 3, 4, 5]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"a,b\n1,2\n", b"\xff\xfe", b"\x00" * 10])
def test_what_is_no_file_of_songs_is_refused(write: Write, content: bytes) -> None:
    with pytest.raises(BadInput):
        list(read_songs(write(content)))
    with pytest.raises(BadInput):
        list(read_songs(Path("/no/such/file")))


def test_a_line_without_an_end_does_not_fill_the_memory(write: Write) -> None:
    path = write(b"artist,title\n" + b"x" * 30_000_000 + b"\nA,B\n")
    tracemalloc.start()
    rows = list(read_songs(path))
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    assert [type(r) for r in rows] == [Dropped, FileSong]


def rows_of(count: int, start: int = 0) -> Iterator[FileSong | Dropped]:
    """Many different songs; every tenth line is bad."""
    for n in range(start, start + count):
        yield Dropped(n, "bad") if n % 10 == 9 else FileSong(n, f"Bulk {n % 50}", f"T{n}", 1980, ("jazz",), (), "DE")


def test_rows_are_taken_folded_or_dropped_and_again_nothing_is_taken(db: Database) -> None:
    report = bulk.import_songs(db, rows_of(12_000), pause=0)
    assert (report.rows, report.taken, report.folded, report.dropped) == (12_000, 10_800, 0, 1_200)
    assert len(report.reasons) == 1000
    again = bulk.import_songs(db, rows_of(12_000), pause=0)
    assert (again.taken, again.folded, again.dropped) == (0, 10_800, 1_200)


def test_duplicates_are_folded_within_a_file_and_into_what_is_here(db: Database) -> None:
    with db.write() as session:
        catalogue.find_or_add(session, "Here", "Already", source="log")
    rows = [
        FileSong(1, "The HERE", "already (2011 Remaster)", 1999, ("jazz",), (), None),
        FileSong(2, "New", "Song", None, (), (), None),
        FileSong(3, "new", "SONG (feat. X)", 2000, (), (), None),
    ]
    report = bulk.import_songs(db, rows, pause=0)
    assert (report.taken, report.folded) == (1, 2)
    with db.read() as session:
        assert session.scalar(select(Song.year).where(Song.title == "Already")) is None


def test_taken_songs_are_found_browsed_and_get_their_artists_genres(db: Database) -> None:
    with db.read() as session:
        facts = next(a for a in session.scalars(select(Artist)) if a.genres and a.country)
    bulk.import_songs(db, [FileSong(1, facts.name, "Zyxomma", None, (), (), None)], pause=0)
    with db.read() as session:
        song = search(session, "zyxomma")[0]
        assert (song.genres, song.country, song.genres_from) == (facts.genres, facts.country, "given")
        kept = session.scalars(select(SongGenre.genre).where(SongGenre.song_id == song.id))
        assert set(kept) == set(song.genres)


def test_listeners_can_write_while_songs_come_in(db: Database, ana: Listener) -> None:
    done = threading.Event()

    def run() -> None:
        bulk.import_songs(db, rows_of(40_000))
        done.set()

    thread = threading.Thread(target=run)
    thread.start()
    logged = 0
    while not done.is_set():
        with db.write() as session:
            listens.log(session, ana.id, song_id=1, at=1_700_000_000 + logged)
        logged += 1
        done.wait(0.05)
    thread.join()
    assert logged >= 3


def test_stats_count_what_is_there(db: Database) -> None:
    with db.read() as session:
        before = bulk.stats(session)
    bulk.import_songs(
        db, [FileSong(1, "Zzz", "Q", 1877, ("taarab",), (), "AQ"), FileSong(2, "Zzz", "R", None, (), (), None)]
    )
    with db.read() as session:
        after = bulk.stats(session)
    more = {name: after[name] - before[name] for name in after}
    assert more["songs"] == 2 and more["artists"] == more["countries"] == more["decades"] == 1
    assert more["with_year"] == more["with_genres"] == 1 and more["genres"] in (0, 1)


class Killed(Exception):
    """Stands for a kill."""


def test_encoding_goes_on_where_a_kill_left_it(db: Database, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    bulk.import_songs(db, rows_of(700), pause=0)
    before, calls = engine.encoded(), 0
    encode = engine.base.encode_many

    def dies(texts: list[str]) -> object:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Killed
        return encode(texts)

    with monkeypatch.context() as patched:
        patched.setattr(engine.base, "encode_many", dies)
        with pytest.raises(Killed):
            preparing.encode_with_bar(db, engine, song_text)
    assert engine.encoded() == before + 512
    assert preparing.encode_with_bar(db, engine, song_text) == 630 - 512
    assert preparing.encode_with_bar(db, engine, song_text) == 0


def test_setup_drops_the_vectors_of_songs_that_a_restored_backup_does_not_have(db: Database, engine: Engine) -> None:
    before = engine.vectors.snapshot().ids.tolist()
    engine.encode_songs([(9000 + n, f"Ghost {n} by Nina Simone") for n in range(30)])
    assert preparing.encode_with_bar(db, engine, song_text) == 0
    assert sorted(engine.vectors.snapshot().ids.tolist()) == sorted(before)


def test_the_shell_imports_and_counts(settings: Settings, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARSHOT_HOME", str(settings.home))
    monkeypatch.setenv("EARSHOT_DATABASE_URL", settings.database_url)
    path = write("artist,title\nZzz,One\nZzz,one\n,x\n")
    done = CliRunner().invoke(main, ["catalogue", "import", str(path), "--no-encode", "--json"])
    report = json.loads(done.stdout)
    assert {k: report[k] for k in ("rows", "taken", "folded", "dropped", "encoded")} == {
        "rows": 3, "taken": 1, "folded": 1, "dropped": 1, "encoded": None,
    }  # fmt: skip
    assert report["reasons"] == [{"line": 4, "reason": "The artist is empty"}]
    found = json.loads(CliRunner().invoke(main, ["catalogue", "stats", "--json"]).stdout)
    assert list(found) == ["songs", "artists", "genres", "countries", "decades", "with_year", "with_genres", "encoded"]
    with closing(Database(settings.url)) as database, database.read() as session:
        assert found["songs"] == session.scalar(select(func.count()).select_from(Song))
    assert CliRunner().invoke(main, ["catalogue", "import", "/no/such", "--json"]).exit_code == 1
