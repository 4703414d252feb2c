"""Back up while everything runs, restore into an empty place, and refuse what would mix or overwrite."""

from __future__ import annotations

import io
import json
import resource
import shutil
import sqlite3
import tarfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.db import Database
from app.errors import BadInput, CannotWrite, Conflict
from app.lm.asking import CIRCLE
from app.services import accounts, backup, listens
from app.settings import Settings
from app.tables import Listen, Song
from app.tables_circle import CircleVersion
from tests.upkeep.conftest import add_version, contents


@pytest.fixture
def file(bare: Settings, bare_db: Database, people: dict[str, str], tmp_path: Path) -> Path:
    """A backup of the place."""
    backup.back_up(bare_db, bare.adapters, tmp_path / "kept" / "place.tar.gz")
    return tmp_path / "kept" / "place.tar.gz"


def rows(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table of ours."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as db:
        names = [n for (n,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        return {n: sorted(db.execute(f'SELECT * FROM "{n}"'), key=repr) for n in names if n != "song_search"}


def test_what_is_restored_is_what_was_there(bare: Settings, file: Path, tmp_path: Path) -> None:
    fresh = Settings(home=tmp_path / "fresh")
    found = backup.restore(file, fresh.data, fresh.adapters)
    assert rows(fresh.url) == rows(bare.url) and len(rows(fresh.url)["listens"]) == 10
    assert contents(fresh.adapters) == contents(bare.adapters) and found.adapters == 2
    assert list(fresh.data.glob(".*")) == [] and (fresh.data / "earshot.db").stat().st_mode & 0o077 == 0
    assert file.stat().st_mode & 0o077 == 0 and [p.name for p in file.parent.iterdir()] == [file.name]


def test_a_copy_that_does_not_fit_is_named_and_leaves_nothing(
    bare: Settings, bare_db: Database, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, hard))
    try:
        with pytest.raises(CannotWrite, match="cannot be copied"):
            backup.back_up(bare_db, bare.adapters, tmp_path / "kept" / "place.tar.gz")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_backup_made_while_others_write_is_of_one_moment(
    bare: Settings, bare_db: Database, people: dict[str, str], tmp_path: Path
) -> None:
    stop, written = threading.Event(), []

    def write() -> None:  # a listen and its version together, always
        number = 2
        while not stop.is_set():
            with bare_db.write() as session:
                song = session.scalars(select(Song.id)).first()
                listens.log(session, people["Ben"], song_id=song, at=1_700_000_000 + number)
                add_version(session, bare.adapters, people["Ben"], number)
            written.append(number)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for turn in range(3):
            made = backup.back_up(bare_db, bare.adapters, tmp_path / f"{turn}.tar.gz")
            assert made.missing == ()
    finally:
        stop.set()
        writer.join()
    assert written
    for turn in range(3):
        fresh = Settings(home=tmp_path / f"fresh {turn}")
        found = backup.restore(tmp_path / f"{turn}.tar.gz", fresh.data, fresh.adapters)
        restored = Database(fresh.url)
        with restored.read() as session:
            plays = session.scalar(select(func.count()).select_from(Listen))
        restored.close()
        assert plays == 10 + found.adapters - 2, "listens and versions are of the same moment"


def test_the_circles_adapter_is_in_it_too(
    bare: Settings, bare_db: Database, people: dict[str, str], tmp_path: Path
) -> None:
    version = "d" * 16
    shutil.copytree(next((bare.adapters / people["Ben"]).iterdir()), bare.adapters / CIRCLE / version)
    with bare_db.write() as session:
        session.add(
            CircleVersion(
                id=version, members=2, promoted=True, why="", base_fingerprint="f" * 64, before={}, after={},
                difference=0.1, low=0.0, high=0.2, learnt_from=8, size=1, seconds=1.0,
            )
        )  # fmt: skip
    backup.back_up(bare_db, bare.adapters, tmp_path / "b.tar.gz")
    fresh = Settings(home=tmp_path / "fresh")
    assert backup.restore(tmp_path / "b.tar.gz", fresh.data, fresh.adapters).adapters == 3
    assert contents(fresh.adapters / CIRCLE) == contents(bare.adapters / CIRCLE) != {}
    shutil.rmtree(bare.adapters / CIRCLE)
    assert backup.back_up(bare_db, bare.adapters, tmp_path / "c.tar.gz").missing == (f"{CIRCLE}/{version}",)


def test_a_backup_overwrites_nothing(bare: Settings, bare_db: Database, file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(Conflict, match="there already"):
        backup.back_up(bare_db, bare.adapters, file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("there", ["data/earshot.db", "data/earshot.db-wal", "data/earshot.db-shm", "adapters/x/y"])
def test_a_restore_overwrites_and_mixes_nothing(file: Path, tmp_path: Path, there: str) -> None:
    fresh = Settings(home=tmp_path / "fresh")
    (fresh.home / there).parent.mkdir(parents=True)
    (fresh.home / there).write_text("somebody's", encoding="utf-8")
    before = contents(fresh.home)
    with pytest.raises(Conflict, match="there already"):
        backup.restore(file, fresh.data, fresh.adapters)
    assert contents(fresh.home) == before


def altered(file: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """A copy of a backup whose members were changed; the manifest's digests follow unless the change sets them."""
    with tarfile.open(file) as tar:
        members = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    change(members)
    to = file.parent / "altered.tar.gz"
    with tarfile.open(to, "w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return to


def _manifest(**values: object) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        members["manifest.json"] = json.dumps(json.loads(members["manifest.json"]) | values).encode()

    return change


def _flip(members: dict[str, bytes]) -> None:
    name = next(n for n in members if n.endswith(".safetensors"))
    members[name] = b"X" + members[name][1:]


def _drop(members: dict[str, bytes]) -> None:
    del members[next(n for n in members if n.endswith(".safetensors"))]


def _escape(members: dict[str, bytes]) -> None:
    members["../../escaped"] = b"out"


def _unlisted_adapter(members: dict[str, bytes]) -> None:
    for name in [n for n in members if n.startswith("adapters/")][:3]:
        del members[name]
    facts = json.loads(members["manifest.json"])
    facts["files"] = {n: d for n, d in facts["files"].items() if n in members}
    members["manifest.json"] = json.dumps(facts).encode()


@pytest.mark.parametrize(
    ("change", "words"),
    [(_flip, "sha256"), (_drop, "missing"), (_escape, "does not belong"), (_manifest(format=2), "format 2"),
     (_manifest(revision="9999"), "newer"), (_manifest(revision="0001"), "revisions"), (_manifest(files={}), "belong"),
     (_manifest(files=3), "no backup"), (_unlisted_adapter, "belong together")],
)  # fmt: skip
def test_a_damaged_or_foreign_backup_is_refused_whole(
    file: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], None], words: str
) -> None:
    fresh = Settings(home=tmp_path / "fresh")
    with pytest.raises(BadInput, match=words):
        backup.restore(altered(file, change), fresh.data, fresh.adapters)
    assert contents(fresh.home) == {} and not (tmp_path / "escaped").exists()


@pytest.mark.parametrize("content", [b"", b"not a tar", b"\x1f\x8b\x08\x00" * 9])
def test_what_is_no_backup_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    for path in (tmp_path / "x", tmp_path / "nowhere"):
        with pytest.raises(BadInput):
            backup.restore(path, tmp_path / "data", tmp_path / "adapters")


def test_a_truncated_backup_is_refused(file: Path, tmp_path: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(BadInput):
        backup.restore(file, tmp_path / "data", tmp_path / "adapters")


def test_a_version_whose_files_are_lost_is_named_and_the_rest_is_kept(
    bare: Settings, bare_db: Database, people: dict[str, str], tmp_path: Path
) -> None:
    shutil.rmtree(bare.adapters / people["Ben"])
    made = backup.back_up(bare_db, bare.adapters, tmp_path / "b.tar.gz")
    assert len(made.missing) == 1 and made.missing[0].startswith(people["Ben"])
    fresh = Settings(home=tmp_path / "fresh")
    assert backup.restore(tmp_path / "b.tar.gz", fresh.data, fresh.adapters).adapters == 1


def test_a_restored_place_takes_new_listens(file: Path, tmp_path: Path) -> None:
    fresh = Settings(home=tmp_path / "fresh")
    backup.restore(file, fresh.data, fresh.adapters)
    restored = Database(fresh.url)
    with restored.write() as session:
        ben = accounts.by_name(session, "Ben")
        listens.log(session, ben.id, artist="Queen", title="39")
    restored.close()
