"""Delete an account: rows, adapters, vectors, free pages, the log of writes; planted words are sought in every file."""

from __future__ import annotations

import fcntl
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event, select

from app import upkeep
from app.db import Database
from app.errors import Conflict, TooBusy
from app.lm.asking import CIRCLE
from app.lm.compacting import keep_only
from app.lm.vectors import CatalogueVectors
from app.services import accounts, blends, catalogue, chores, importing, listens, playlists, privacy
from app.services.plain_format import Row
from app.settings import Settings
from app.tables import Feedback, Job, Listen, Listener, Preference, Song, Table
from tests.upkeep.conftest import add_version, contents

CANARY = "Zyxocanary"


def bytes_of(word: str) -> list[bytes]:
    """A word as files may hold it."""
    return [form.encode(code) for form in (word, word.lower()) for code in ("utf-8", "utf-16-le")]


def found_in(home: Path) -> list[str]:
    """Files below a home that hold the planted word."""
    words = bytes_of(CANARY)
    return [name for name, data in contents(home).items() if any(word in data for word in words)]


@pytest.fixture
def leaver(bare: Settings, bare_db: Database, people: dict[str, str]) -> str:
    """Someone with the planted word in everything that is theirs."""
    with bare_db.write() as db:
        who = accounts.add_listener(db, f"{CANARY} Person", "a good long password")
        accounts.start_session(db, who.id, 1, f"Browser of {CANARY}")
        accounts.invite(db, who.id, 1)
        rows = [Row(n, CANARY, f"{CANARY} song {n}", 1_700_000_000 + n, 1, None) for n in range(200)]
        importing.import_rows(db, who.id, rows)
        listen, _ = listens.log(db, who.id, artist=CANARY, title="By hand")
        shared, _ = listens.log(db, who.id, artist="Known to both", title="Shared")
        listens.log(db, people["Ben"], song_id=shared.song_id)
        db.add(Feedback(listener_id=who.id, song_id=listen.song_id, verdict="love"))
        db.add(Preference(listener_id=who.id, kind="artist", value=CANARY))
        version = add_version(db, bare.adapters, who.id, words=CANARY)
        db.add(Job(listener_id=who.id, state="failed", error=CANARY, version=version))
        ids = list(db.scalars(select(Song.id)))
    vectors = CatalogueVectors(bare.vectors, "f" * 64, 8)
    vectors.append(ids, [f"{i}" for i in ids], np.ones((len(ids), 8), np.float32))
    return who.id


def test_nothing_planted_is_left_in_any_file(bare: Settings, bare_db: Database, leaver: str) -> None:
    assert found_in(bare.home), "else the search proves nothing"
    with bare_db.write() as db:
        privacy.delete_account(db, leaver)
    privacy.remove_files([bare.adapters], leaver)
    doings = upkeep.doings(bare_db, bare, lambda: pytest.fail("the base is not needed"), None)  # type: ignore[arg-type]
    assert chores.run_due(bare_db, doings) == 1
    assert found_in(bare.home) == []
    with bare_db.read() as db:
        ids = set(db.scalars(select(Song.id)))
        assert db.scalar(select(Song.title).where(Song.artist == "Known to both")) == "Shared", "a friend's stays"
    snapshot = CatalogueVectors(bare.vectors, "f" * 64, 8).snapshot()
    assert set(snapshot.ids.tolist()) == ids and (snapshot.vectors[[0, 1]] == 1).all()


def test_what_a_kill_or_a_late_upload_left_of_somebody_gone_is_removed_too(
    bare: Settings, bare_db: Database, people: dict[str, str], leaver: str
) -> None:
    circles = bare.adapters / CIRCLE / ("a" * 16)
    circles.mkdir(parents=True)
    (bare.adapters / "README.md").write_text("no listener's", encoding="utf-8")
    before = {name for name in contents(bare.home) if leaver not in name}
    with bare_db.write() as db:
        privacy.delete_account(db, leaver)  # and here the process is killed
    late = bare.data / "imports" / leaver / ("b" * 16)
    late.mkdir(parents=True)
    (late / "0").write_text(f"{CANARY} Person", encoding="utf-8")
    upkeep.shred_all(bare_db, bare)
    assert found_in(bare.home) == [] and circles.is_dir()
    assert not (bare.adapters / leaver).exists() and not late.parent.exists()
    assert before <= set(contents(bare.home))


def test_which_songs_are_known_is_read_while_nobody_can_write_vectors(bare: Settings, leaver: str) -> None:
    (folder,) = bare.vectors.glob("*")

    def known() -> set[int]:
        with (folder / "lock").open("a") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return {1}

    assert keep_only(bare.vectors, known) > 0
    assert CatalogueVectors(bare.vectors, "f" * 64, 8).snapshot().ids.tolist() == [1]


def test_others_keep_everything(bare: Settings, bare_db: Database, people: dict[str, str], leaver: str) -> None:
    def of_others() -> dict[str, list[str]]:
        with bare_db.read() as db:
            tables = [t for t in Table.metadata.sorted_tables if "listener_id" in t.c]
            return {
                t.name: sorted(repr(tuple(r)) for r in db.execute(select(t).where(t.c.listener_id != leaver)))
                for t in tables
            }

    before, files = of_others(), contents(bare.adapters / people["Ben"])
    with bare_db.write() as db:
        privacy.delete_account(db, leaver)
    privacy.remove_files([bare.adapters], leaver)
    assert of_others() == before and len(before["listens"]) == 11
    assert contents(bare.adapters / people["Ben"]) == files
    with bare_db.read() as db:
        assert db.get(Listener, leaver) is None


def test_every_table_that_names_a_listener_lets_them_go() -> None:
    kinds = {"CASCADE", "SET NULL"}
    for table in Table.metadata.sorted_tables:
        for key in table.foreign_keys:
            if key.column.table.name == "listeners":
                assert key.ondelete in kinds, f"{table.name}.{key.parent.name} would keep a listener from leaving"


def test_what_goes_is_told_beforehand(bare_db: Database, leaver: str) -> None:
    with bare_db.read() as db:
        goes = privacy.what_goes(db, leaver)
    assert goes["listens"] == 202 and goes["songs"] == 201 and goes["adapter_versions"] == 1
    assert "blends" not in goes and all(goes.values())


def test_a_blend_outlives_who_made_it_while_two_people_are_left(bare_db: Database, people: dict[str, str]) -> None:
    with bare_db.write() as db:
        cleo = accounts.add_listener(db, "Cleo", None).id
        three = blends.start(db, people["Ben"], [people["Ana"], cleo]).id
        blends.start(db, people["Ben"], [cleo])
        assert privacy.what_goes(db, people["Ben"])["blends"] == 1
        privacy.delete_account(db, people["Ben"])
    with bare_db.read() as db:
        (left,) = blends.all_of(db, cleo)
        assert left.id == three and [person.id for person in left.people] == [people["Ana"], cleo]


def test_the_only_administrator_stays_while_others_are_there(bare_db: Database, people: dict[str, str]) -> None:
    with pytest.raises(Conflict, match="only administrator"), bare_db.write() as db:
        privacy.delete_account(db, people["Ana"])
    with bare_db.write() as db:
        privacy.delete_account(db, people["Ben"])
        privacy.delete_account(db, people["Ana"])
        assert accounts.everyone(db) == [] and not accounts.has_administrator(db)


def test_a_song_that_somebody_else_played_or_judged_stays(bare_db: Database, people: dict[str, str]) -> None:
    with bare_db.write() as db:
        mine, _ = listens.log(db, people["Ben"], artist="Mine", title="Alone")
        judged, _ = listens.log(db, people["Ben"], artist="Mine", title="Judged by Ana")
        db.add(Feedback(listener_id=people["Ana"], song_id=judged.song_id, verdict="love"))
        count = catalogue.count(db)
        privacy.delete_account(db, people["Ben"])
        assert catalogue.count(db) == count - 1 and db.get(Song, mine.song_id) is None


def test_a_song_that_the_leaver_brought_and_then_took_back_goes_too(bare_db: Database, people: dict[str, str]) -> None:
    with bare_db.write() as db:
        before = catalogue.count(db)
        secret, _ = listens.log(db, people["Ben"], artist="Mine", title="Secret")
        shared, _ = listens.log(db, people["Ben"], artist="Mine", title="Played by Ana")
        listens.log(db, people["Ana"], song_id=shared.song_id)
        for listen in (secret, shared):
            listens.remove(db, people["Ben"], listen.id)
    with bare_db.write() as db:
        privacy.delete_account(db, people["Ben"])
    with bare_db.read() as db:
        assert db.get(Song, secret.song_id) is None and db.get(Song, shared.song_id) is not None
        assert catalogue.count(db) == before + 1, "the catalogue's own songs stay, though nobody has played them"


def test_a_song_in_a_friends_playlist_stays_and_one_in_only_the_leavers_goes(
    bare_db: Database, people: dict[str, str]
) -> None:
    with bare_db.write() as db:
        kept, _ = listens.log(db, people["Ben"], artist="Mine", title="Kept by Ana")
        gone, _ = listens.log(db, people["Ben"], artist="Mine", title="Alone")
        playlists.make(db, people["Ben"], "Ben's", [kept.song_id, gone.song_id])
        hers = playlists.make(db, people["Ana"], "Ana's", [kept.song_id])
        privacy.delete_account(db, people["Ben"])
        assert [song.title for song in playlists.songs_of(db, hers)] == ["Kept by Ana"]
        assert db.get(Song, gone.song_id) is None


def test_shredding_waits_for_somebody_who_reads(bare: Settings, bare_db: Database, leaver: str) -> None:
    slow = Database(bare.url + "?timeout=0")
    event.listen(bare_db.engine, "connect", lambda c, _: c.execute("PRAGMA busy_timeout=10"))
    bare_db.engine.dispose()
    with slow.read() as reading:
        reading.scalar(select(Listen.id))
        with bare_db.write() as db:
            privacy.delete_account(db, leaver)
        with pytest.raises(TooBusy):
            upkeep.shred_all(bare_db, bare)
    upkeep.shred_all(bare_db, bare)
    assert not [name for name in found_in(bare.home) if name.startswith("data/")]
    slow.close()
