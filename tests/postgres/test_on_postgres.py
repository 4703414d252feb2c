"""The same on PostgreSQL: migrations, search, browsing, bulk and listens."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import inspect, select, text

from app.db import Database
from app.errors import Conflict
from app.services import (
    browsing,
    bulk,
    catalogue,
    exporting,
    genres,
    importing,
    listens,
    playing,
    preparing,
    submitting,
)
from app.services.imports import running, undoing
from app.services.imports.reporting import ImportReport
from app.services.imports.staging import Staging
from app.services.plain_format import Dropped, Row
from app.services.search import search
from app.services.song_files import FileSong
from app.services.submitting import Play
from app.settings import PROJECT
from app.starter.reading import read
from app.tables import Listen, Listener, Song, SongGenre, SongPlays
from tests.services.imports.exports_made import PLAYS, lastfm_uts, spotify
from tests.services.test_search import SONGS

pytestmark = pytest.mark.postgres


def found(database: Database, query: str, limit: int = 10) -> list[tuple[str, str]]:
    """(artist, title), best first."""
    with database.read() as db:
        return [(song.artist, song.title) for song in search(db, query, limit)]


@pytest.fixture
def full(db: Database) -> Database:
    """The songs that the search is tried with on SQLite."""
    with db.write() as session:
        for artist, title in SONGS:
            catalogue.find_or_add(session, artist, title, source="log")
    return db


def test_every_migration_runs_there_and_back_and_differs_from_no_table(url: str) -> None:
    preparing.migrate(url)
    config = preparing.alembic_config(url)
    command.check(config)
    command.downgrade(config, "base")
    database = Database(url)
    assert set(inspect(database.engine).get_table_names()) == {"alembic_version"}
    preparing.migrate(url, "0001")
    with database.write() as db:
        db.execute(text(
            "INSERT INTO songs (artist, title, artist_key, title_key, search_text, genres, moods, source, created_at)"
            " VALUES ('ABBA', 'SOS', 'abba', 'sos', 'abba sos', '[\"pop\"]', '[]', 'log', 1)"
        ))  # fmt: skip
    preparing.migrate(url)
    with database.read() as db:
        assert db.scalars(select(SongGenre.genre)).all() == ["pop"]
    assert found(database, "abba s") == [("ABBA", "SOS")]
    database.close()


def test_two_processes_may_migrate_at_once(url: str) -> None:
    code = f"from app.services import preparing; preparing.migrate({url!r})"
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for process in both:
        _, problem = process.communicate(timeout=60)
        assert process.returncode == 0, problem
    command.check(preparing.alembic_config(url))


CASES = {
    "beatles": ("The Beatles", "Help!"), "BEATLES yesterday": ("The Beatles", "Yesterday"),
    "yesterday beatles": ("The Beatles", "Yesterday"), "beat yes": ("The Beatles", "Yesterday"),
    "radiohaed": ("Radiohead", "Creep"), "radiohed creep": ("Radiohead", "Creep"),
    "yesterdya": ("The Beatles", "Yesterday"), "beyonce": ("Beyoncé", "Halo"), "bjork joga": ("Björk", "Jóga"),
    "КИНО": ("Кино", "Группа крови"), "крови кино": ("Кино", "Группа крови"), "宇多田": ("宇多田ヒカル", "First Love"),
    "流れ": ("美空ひばり", "川の流れのように"), "川": ("美空ひばり", "川の流れのように"), "u2": ("U2", "One"),
    "guns n roses": ("Guns N’ Roses", "Don't Cry"), "ac/dc": ("AC/DC", "T.N.T."), "100%": ("100% Pure", "50_50"),
}  # fmt: skip


def test_songs_are_found_by_what_people_type(full: Database) -> None:
    missed = {query for query, song in CASES.items() if song not in found(full, query)}
    assert missed == set()
    assert found(full, "creep")[:2] == [("Radiohead", "Creep"), ("Radiohead", "Creep Live at the Astoria")]


@pytest.mark.parametrize(
    "query", ["", "%", "_", "\x00", "\ud800", "'", "beatles' OR 1=1 --", "\\", "b" * 100_000, "beatles " * 10_000]
)
def test_nothing_typed_breaks_the_search(full: Database, query: str) -> None:
    found(full, query)
    assert len(found(full, "beatles")) == 2


def test_search_uses_the_trigram_index(db: Database) -> None:
    songs = (FileSong(n, f"Artist {n * 7919 % 9973}", f"Song {n}", None, (), (), None) for n in range(20_000))
    bulk.import_songs(db, songs, pause=0)
    with db.write() as session:
        session.execute(text("ANALYZE songs"))
        plan = "\n".join(session.scalars(text("EXPLAIN SELECT id FROM songs WHERE search_text LIKE '% 1234%'")))
        assert "song_search_trigrams" in plan


def test_plays_decide_among_equals_and_follow_the_listens(db: Database, ana: Listener) -> None:
    bulk.import_songs(db, (FileSong(n, f"Zebra {n}", f"Love {n}", None, (), (), None) for n in range(3000)), pause=0)
    with db.write() as session:
        song, _ = catalogue.find_or_add(session, "Zebra 2900", "Love 2900", source="log")
        one, _ = listens.log(session, ana.id, song_id=song.id, at=1_700_000_000)
    assert found(db, "love")[0] == ("Zebra 2900", "Love 2900")
    with db.write() as session:
        listens.edit(session, ana.id, one.id, at=None, ended="skipped")
    with db.read() as session:
        assert session.get(SongPlays, song.id) is None
    with pytest.raises(Conflict), db.write() as session:
        listens.log(session, ana.id, song_id=song.id, at=1_700_000_000)
        listens.log(session, ana.id, song_id=song.id, at=1_700_000_000)
    with db.write() as session:
        session.delete(session.get_one(Listener, ana.id))


def test_bulk_rows_are_accounted_for(db: Database) -> None:
    rows: list[FileSong | Dropped] = [FileSong(n, "A", f"T{n % 90}", None, ("jazz",), (), "DE") for n in range(100)]
    report = bulk.import_songs(db, [*rows, Dropped(100, "bad")], pause=0)
    assert (report.rows, report.taken, report.folded, report.dropped) == (101, 90, 10, 1)
    assert bulk.import_songs(db, rows, pause=0).taken == 0
    with db.read() as session:
        assert bulk.stats(session)["with_genres"] == 90


def test_the_starter_catalogue_is_browsed(db: Database, ana: Listener) -> None:
    with db.write() as session:
        catalogue.load_starter(session, read()[::40])
    with db.read() as session:
        counted = browsing.genres(session)
        page = browsing.by_genre(session, counted[0].name)
        assert page.total == counted[0].songs and all(counted[0].name in song.genres for song in page.items)
        for decade in browsing.decades(session):
            assert browsing.by_decade(session, decade.name).total == decade.songs
        for letter in ("", *browsing.LETTERS, browsing.DIGITS, browsing.OTHERS):
            for line in browsing.artists(session, ana.id, letter).items:
                assert browsing.songs_of(session, browsing.artist(session, line.key).key).total == line.songs
        song = page.items[0]
    with db.write() as session:
        genres.edit(session, song.id, "novelty")
    with db.read() as session:
        assert song.id in [s.id for s in browsing.by_genre(session, "novelty").items]
        assert browsing.who_played(session, ana.id, song.id) == []


def test_listens_are_imported_once(db: Database, ana: Listener) -> None:
    rows = [Row(1, "A", "B", 1_700_000_000, 1, None), Row(2, "A", "C", None, 5, 4.0)]
    for turn in range(2):
        with db.write() as session:
            assert importing.import_rows(session, ana.id, rows).taken == (2, 0)[turn]
    with db.write() as session:
        importing.import_rows(session, ana.id, [dataclasses.replace(rows[1], plays=9)])
        assert (
            session.scalar(select(SongPlays.plays).join(Song, Song.id == SongPlays.song_id).where(Song.title == "C"))
            == 9
        )


def test_players_that_submit_the_same_new_song_at_once_make_one_song_and_one_listen(
    db: Database, ana: Listener
) -> None:
    play = Play("Nobody At All", "A Song Nobody Knows", 1_700_000_000, "Album", 200_000, 190_000)
    start = threading.Barrier(6)

    def submit(number: int) -> str:
        start.wait()
        with db.write() as session:
            playing.play_now(session, ana.id, play, f"player {number}")
            return submitting.submit(session, ana.id, [play], "player")[0].became

    with ThreadPoolExecutor(6) as pool:
        became = list(pool.map(submit, range(6)))
    with db.read() as session:
        (song,) = session.scalars(select(Song).where(Song.title == play.title))
        (listen,) = session.scalars(select(Listen))
        now = playing.of(session, ana.id)
    assert became.count("listen") >= 1 and listen.song_id == song.id
    assert now is not None and (now.title, now.song_id) == (play.title, song.id)


def test_imports_run_meet_other_sources_and_are_undone(db: Database, ana: Listener, tmp_path: Path) -> None:
    staging = Staging(tmp_path / "imports")

    def bring(content: bytes) -> tuple[str, ImportReport]:
        path = tmp_path / "file"
        path.write_bytes(content)
        with db.write() as session:
            made = running.begin(session, ana.id, "shell", "file").id
        hold = running.Run(db, staging, made, "test:1")
        hold.look([("file", path)])
        with db.write() as session:
            running.start(session, ana.id, made)
        return made, hold.take([("file", path)])

    first, report = bring(spotify(PLAYS))
    assert (report.taken, bring(spotify(PLAYS))[1].folded) == (len(PLAYS), len(PLAYS))
    _, told = bring(lastfm_uts([play._replace(at=play.at + 30) for play in PLAYS]))
    assert told.soft == len(PLAYS)
    bring(b"artist\ttitle\tplays\nA\tB\t5\n")
    with db.write() as session:
        gone = undoing.undo(session, ana.id, first)
    assert (gone["listens"], gone["back"]) == (len(PLAYS), told.soft)
    with db.read() as session:
        before = b"".join(exporting.jsonl(session, ana.id))
    assert bring(before)[1].taken == 0
