"""Migrations: from nothing to head, from each revision to the next with rows in it, and back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from app.db import Database
from app.errors import NotFound
from app.services import accounts, preparing
from app.settings import PROJECT
from tests.services.planting import NOBODYS, plant

ALONE = NOBODYS - {"songs", "circle_versions"}  # what nobody plants

ROWS = (
    "INSERT INTO artists (key, name, genres, related) VALUES ('abba', 'ABBA', '[]', '[]')",
    "INSERT INTO listeners (id, name, name_key, is_admin, time_zone, created_at)"
    " VALUES ('0123456789abcdef', 'Ana', 'ana', 1, 'UTC', 1700000000)",
    "INSERT INTO songs (id, artist, title, artist_key, title_key, search_text, genres, moods, source, created_at)"
    " VALUES (1, 'ABBA', 'SOS', 'abba', 'sos', 'abba sos', '[]', '[]', 'log', 1700000000)",
    "INSERT INTO listens (listener_id, song_id, listened_at, plays, ended, source, created_at)"
    " VALUES ('0123456789abcdef', 1, 1700000000, 1, 'played', 'web', 1700000000)",
    "INSERT INTO listens (listener_id, song_id, plays, ended, source, created_at)"
    " VALUES ('0123456789abcdef', 1, 7, 'played', 'import', 1700000000)",
    "INSERT INTO feedback (listener_id, song_id, verdict, created_at)"
    " VALUES ('0123456789abcdef', 1, 'love', 1700000000)",
    "INSERT INTO preferences (listener_id, kind, value) VALUES ('0123456789abcdef', 'genre', 'pop')",
    "INSERT INTO invites (token_hash, made_by, created_at, expires_at)"
    " VALUES ('aa', '0123456789abcdef', 1700000000, 1700000001)",
    "INSERT INTO sessions (token_hash, listener_id, created_at, seen_at, expires_at, agent)"
    " VALUES ('bb', '0123456789abcdef', 1700000000, 1700000000, 1700000001, '')",
    "INSERT INTO jobs (id, listener_id, state, version, seed, phase, step, \"of\", losses, error, attempts,"
    " cancel_asked, created_at) VALUES ('00000000000000aa', '0123456789abcdef', 'queued', '00000000000000bb', 0, '',"
    " 0, 0, '[]', '', 0, 0, 1700000000)",
    "INSERT INTO adapter_versions (id, listener_id, number, promoted, why, base_fingerprint, \"before\", \"after\","
    " difference, low, high, learnt_from, trainable_parameters, base_parameters, size, seconds, created_at)"
    " VALUES ('00000000000000bb', '0123456789abcdef', 1, 1, 'better', 'ff', '{}', '{}', 0.1, 0.0, 0.2, 10, 1, 2, 3,"
    " 0.5, 1700000000)",
)  # fmt: skip


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database that is not there yet."""
    return f"sqlite:///{tmp_path / 'data' / 'earshot.db'}"


@pytest.fixture
def opened(url: str) -> Iterator[Database]:
    """The same database, opened."""
    (database := Database(url)).engine.connect().close()
    yield database
    database.close()


def revisions() -> list[str]:
    """All revisions, oldest first."""
    script = ScriptDirectory.from_config(preparing.alembic_config("sqlite://"))
    return [r.revision for r in script.walk_revisions()][::-1]


def counts(database: Database) -> dict[str, int]:
    """Rows of each table of ours."""
    with database.read() as db:
        names = [n for n in inspect(database.engine).get_table_names() if not n.startswith(("song_search", "alembic"))]
        return {name: db.scalar(text(f'SELECT count(*) FROM "{name}"')) or 0 for name in names}


def fill(database: Database) -> None:
    """At least one row in every table of the first revision."""
    with database.write() as db:
        for statement in ROWS:
            db.execute(text(statement))


def test_there_is_one_line_of_revisions() -> None:
    assert len(ScriptDirectory.from_config(preparing.alembic_config("sqlite://")).get_heads()) == 1


def test_an_empty_place_gets_the_whole_schema_and_nothing_differs_from_the_tables(url: str) -> None:
    preparing.migrate(url)
    command.check(preparing.alembic_config(url))


def test_migrating_again_changes_nothing(url: str, opened: Database) -> None:
    preparing.migrate(url)
    fill(opened)
    before = counts(opened)
    preparing.migrate(url)
    assert counts(opened) == before


def test_each_revision_follows_the_one_before_with_every_row_kept(url: str, opened: Database) -> None:
    first, *later = revisions()
    preparing.migrate(url, first)
    fill(opened)
    before = counts(opened)
    assert min(before.values()) >= 1, "fill() leaves a table empty"
    for revision in later:
        preparing.migrate(url, revision)
        assert {name: count for name, count in counts(opened).items() if name in before} == before
    with opened.read() as db:
        assert db.execute(text("PRAGMA foreign_key_check")).all() == []
        assert db.scalar(text("PRAGMA integrity_check")) == "ok"
        found = "SELECT rowid FROM song_search WHERE song_search MATCH '\"abba\"'"
        assert list(db.scalars(text(found))) == [1]


def test_the_way_back_leaves_nothing_and_can_be_gone_again(url: str, opened: Database) -> None:
    preparing.migrate(url)
    fill(opened)
    opened.close()
    command.downgrade(preparing.alembic_config(url), "base")
    assert set(inspect(opened.engine).get_table_names()) == {"alembic_version"}
    preparing.migrate(url)
    assert sum(counts(opened).values()) == 0


def test_two_processes_may_migrate_at_once(url: str, opened: Database) -> None:
    code = f"from app.services import preparing; preparing.migrate({url!r})"
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for process in both:
        _, problem = process.communicate(timeout=60)
        assert process.returncode == 0, problem
    command.check(preparing.alembic_config(url))


def test_a_new_database_is_for_its_owners_eyes_only(url: str, tmp_path: Path) -> None:
    preparing.migrate(url)
    assert (tmp_path / "data" / "earshot.db").stat().st_mode & 0o077 == 0
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


def test_a_folder_with_other_things_in_it_stays_open_to_whom_it_was(tmp_path: Path) -> None:
    (tmp_path / "somebody's").touch()
    tmp_path.chmod(0o1777)
    preparing.migrate(f"sqlite:///{tmp_path / 'earshot.db'}")
    assert tmp_path.stat().st_mode & 0o7777 == 0o1777
    assert {p.name: p.stat().st_mode & 0o077 for p in tmp_path.glob("earshot.db*")}["earshot.db"] == 0


def test_the_search_index_follows_the_songs(url: str, opened: Database) -> None:
    preparing.migrate(url)
    fill(opened)
    find = text("SELECT count(*) FROM song_search WHERE song_search MATCH :m")
    with opened.write() as db:
        db.execute(text("UPDATE songs SET search_text = 'abba waterloo' WHERE id = 1"))
        assert db.scalar(find, {"m": '"waterloo"'}) == 1
        assert db.scalar(find, {"m": '"sos"'}) == 0
        db.execute(text("DELETE FROM listens"))
        db.execute(text("DELETE FROM feedback"))
        db.execute(text("DELETE FROM songs"))
        assert db.scalar(find, {"m": '"waterloo"'}) == 0


def everything_of(database: Database) -> dict[str, list[dict[str, object]]]:
    """Every row of each table of ours, by column."""
    with database.read() as db:
        tables = [n for n in inspect(database.engine).get_table_names() if not n.startswith(("song_search", "alembic"))]
        found = {name: db.execute(text(f'SELECT * FROM "{name}"')).mappings().all() for name in tables}
    return {name: sorted((dict(row) for row in rows), key=repr) for name, rows in found.items()}


def test_each_step_back_and_forth_keeps_every_row_that_both_know(url: str, opened: Database) -> None:
    """From a database with rows in every table of the newest revision, down step by step, and up again from each."""
    preparing.migrate(url)
    with opened.write() as db:
        friend = accounts.add_listener(db, "Friend", None, is_admin=True).id
        plant(db, "zyxo", friend)
    before = everything_of(opened)
    assert not [name for name, rows in before.items() if not rows and name not in ALONE], "a table was left empty"
    for earlier in revisions()[-2::-1]:
        command.downgrade(preparing.alembic_config(url), earlier)
        after = everything_of(opened)
        for name, rows in after.items():
            kept = [row for row in before[name] if row.get("kind") != "circle"] if name == "jobs" else before[name]
            columns = set(rows[0]) & set(kept[0]) - {"search_text"} if rows and kept else set()  # 0003 writes it anew
            assert [{c: row[c] for c in columns} for row in rows] == [{c: row[c] for c in columns} for row in kept], (
                f"{name} at {earlier}"
            )
        with opened.read() as db:
            assert db.execute(text("PRAGMA foreign_key_check")).all() == []
        before = after
    preparing.migrate(url)
    command.check(preparing.alembic_config(url))
    again = everything_of(opened)
    assert all(len(again[name]) == len(rows) for name, rows in before.items())
    with opened.read() as db:
        assert db.scalar(text("PRAGMA integrity_check")) == "ok"


# Rows that point to songs and listens in every way there is.
POINTING = (
    "INSERT INTO imports (id, listener_id, state, way, name, files, shift_minutes, step, \"of\", preview, report,"
    " report_bytes, brought, error, stop_asked, created_at) VALUES ('00000000000000cc', '0123456789abcdef', 'done',"
    " 'web', '', '[]', 0, 0, 0, '{}', '{}', 0, '{}', '', 0, 1700000000)",
    "INSERT INTO soft_duplicates (listener_id, song_id, listened_at, ended, source, import_id, repeats_id)"
    " VALUES ('0123456789abcdef', 1, 1700000030, 'played', 'import', '00000000000000cc', 1)",
    "INSERT INTO undated_plays (import_id, listen_id, counted) VALUES ('00000000000000cc', 2, 7)",
    "INSERT INTO kept_lists (id, listener_id, mode, wish, adventure, created_at)"
    " VALUES ('00000000000000dd', '0123456789abcdef', 'discover', '', 0, 1700000000)",
    "INSERT INTO kept_songs (list_id, song_id, place) VALUES ('00000000000000dd', 1, 1)",
    "INSERT INTO recordings (mbid, song_id) VALUES ('m', 1)",
    "INSERT INTO song_lookups (song_id, asked_at) VALUES (1, 1700000000)",
    "UPDATE songs SET genres = '[\"pop\"]' WHERE id = 1",
)  # fmt: skip
NOWHERE = (
    "INSERT INTO recordings (mbid, song_id) VALUES ('n', 77)",
    "INSERT INTO undated_plays (import_id, listen_id, counted) VALUES ('00000000000000cc', 77, 1)",
)
SONG = (
    "INSERT INTO songs (artist, title, artist_key, title_key, search_text, genres, moods, source, created_at)"
    " VALUES ('ABBA', :title, 'abba', :title, :title, '[\"pop\"]', '[]', 'log', 1700000000) RETURNING id"
)
LISTEN = (
    "INSERT INTO listens (listener_id, song_id, listened_at, plays, ended, source, created_at)"
    " VALUES ('0123456789abcdef', 1, 1700000100, 1, 'played', 'web', 1700000000) RETURNING id"
)


def schema(database: Database) -> list[tuple[str, str, str]]:
    """Every trigger, index and virtual table as it was said."""
    with database.read() as db:
        said = (
            "SELECT type, name, sql FROM sqlite_master WHERE type <> 'table' OR sql LIKE 'CREATE VIRTUAL%' ORDER BY 2"
        )
        return [(kind, name, sql) for kind, name, sql in db.execute(text(said))]


def content(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table of ours."""
    return {name: rows_of(database, name) for name in counts(database)}


def rows_of(database: Database, name: str) -> list[tuple[object, ...]]:
    with database.read() as db:
        return sorted((tuple(row) for row in db.execute(text(f'SELECT * FROM "{name}"'))), key=repr)


def ids_given_twice(database: Database) -> list[bool]:
    """Whether a song and a listen get the number of one that has just gone."""
    found = []
    for table, insert in (("songs", SONG), ("listens", LISTEN)):
        given = []
        for _ in range(2):
            with database.write() as db:
                given.append(db.scalar(text(insert), {"title": "waterloo"} if table == "songs" else {}))
            with database.write() as db:
                db.execute(text(f"DELETE FROM {table} WHERE id = {given[-1]}"))
        found.append(given[0] == given[1])
    return found


def test_ids_are_not_given_again_and_the_rebuilt_tables_keep_all_that_hangs_on_them(url: str, opened: Database) -> None:
    preparing.migrate(url, "0020")
    fill(opened)
    with opened.write() as db:
        for statement in POINTING:
            db.execute(text(statement))
    around, rows = schema(opened), content(opened)
    assert {name for _, name, _ in around} >= {"song_search_insert", "song_genres_update", "song_plays_update_new"}
    assert ids_given_twice(opened) == [True, True]
    for revision, twice in (("0070", False), ("0020", True), ("0070", False)):
        opened.close()
        move = preparing.migrate if revision == "0070" else lambda url, to: command.downgrade(alembic(url), to)
        move(url, revision)
        assert (schema(opened), content(opened)) == (around, rows)
        assert ids_given_twice(opened) == [twice, twice] and content(opened) == rows
        with opened.write() as db:
            assert db.execute(text("PRAGMA foreign_key_check")).all() == []
            db.execute(text("INSERT INTO song_search(song_search, rank) VALUES ('integrity-check', 1)"))
        for statement in NOWHERE:
            with pytest.raises(NotFound), opened.write() as db:  # a foreign key that leads nowhere, by name
                db.execute(text(statement))
    preparing.migrate(url)
    command.check(alembic(url))


def test_the_way_from_nothing_gives_no_id_again_either(url: str, opened: Database) -> None:
    preparing.migrate(url)
    fill(opened)
    assert ids_given_twice(opened) == [False, False]


def alembic(url: str) -> Config:
    return preparing.alembic_config(url)
