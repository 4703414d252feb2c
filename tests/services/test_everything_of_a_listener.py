"""What the database holds of a listener goes with them: all of it into the export, none of it stays after deletion."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import select

from app.db import Database
from app.services import accounts, privacy, sharing
from app.services.exporting import rows
from app.tables import Table
from tests.services.planting import NOBODYS, Row, plant

KEYS_AND_HASHES = {
    "listeners.password_hash", "sessions.token_hash", "invites.token_hash", "api_tokens.token_hash",
    "api_tokens.session_hash", "auth_requests.token_hash", "jobs.lease_owner", "imports.lease_owner",
}  # fmt: skip
ME, OTHER = "zyxome", "zyxoother"


@pytest.fixture
def planted(bare_db: Database) -> tuple[str, dict[str, list[Row]], str]:
    """(my id, my rows by table, the id of another who has as many)."""
    with bare_db.write() as db:
        friend = accounts.add_listener(db, "Friend", None, is_admin=True).id
        other, _ = plant(db, OTHER, friend)
        me, made = plant(db, ME, friend)
    return me, made, other


def exported(opened: Database, listener: str) -> dict[str, list[dict[str, Any]]]:
    """The export's rows by table."""
    with opened.read() as db:
        return {name: [json.loads(line) for line in lines] for name, lines in rows.every(db, listener)}


def test_every_table_is_somebodys_or_nobodys(bare_db: Database, planted: tuple[str, dict[str, list[Row]], str]) -> None:
    _, made, _ = planted
    assert set(made) | NOBODYS == set(Table.metadata.tables)
    assert not set(rows.SECRET) - {name.split(".")[1] for name in KEYS_AND_HASHES}


def test_the_export_has_every_row_and_every_column_but_keys(
    bare_db: Database, planted: tuple[str, dict[str, list[Row]], str]
) -> None:
    me, made, _ = planted
    found = exported(bare_db, me)
    assert set(found) == set(made) - {"songs", "circle_versions"}
    for table, mine in found.items():
        expected = [
            {name: value for name, value in row.items() if f"{table}.{name}" not in KEYS_AND_HASHES}
            for row in made[table]
            if not (table == "shares" and row["friend_id"] == me)  # whom a friend named is the friend's to tell
        ]
        told = [{name: value for name, value in row.items() if not name.startswith("song_") or name == "song_id"}
                for row in mine]  # fmt: skip
        assert sorted(told, key=repr) == sorted(expected, key=repr), table
    songs = {row["song_title"] for row in found["listens"]}
    assert songs == {made["songs"][0]["title"]}, "a song's number says nothing elsewhere"


def test_the_export_has_nothing_of_anybody_else(
    bare_db: Database, planted: tuple[str, dict[str, list[Row]], str]
) -> None:
    me, _, other = planted
    said = json.dumps(exported(bare_db, me))
    assert ME in said and OTHER not in said and other not in said


def test_after_deletion_no_table_has_a_word_of_them_and_others_lack_none(
    bare_db: Database, planted: tuple[str, dict[str, list[Row]], str]
) -> None:
    me, _, other = planted
    before = exported(bare_db, other)
    with bare_db.write() as db:
        privacy.delete_account(db, me)
    with bare_db.read() as db:
        for table in Table.metadata.sorted_tables:
            left = repr([tuple(row) for row in db.execute(select(table))])
            assert me not in left and ME not in left, table.name
    assert exported(bare_db, other) == before


def test_the_export_does_not_tell_who_shares_with_one(bare_db: Database) -> None:
    with bare_db.write() as db:
        me, friend = (accounts.add_listener(db, name, None).id for name in ("Me", "Friend"))
        sharing.share(db, friend, "friends", [me])
        sharing.share(db, friend, "off")
    assert "shares" not in exported(bare_db, me)
    assert [row["friend_id"] for row in exported(bare_db, friend)["shares"]] == [me]
