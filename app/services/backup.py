"""One file that holds a whole place: the database as of one moment, and the adapters that its rows name.

A tar.gz with ``manifest.json`` first: format, schema revision, and the sha256 of every file. The catalogue vectors and
the base are not in it; both can be made or fetched again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.db import Database
from app.errors import BadInput, CannotWrite, Conflict
from app.services import preparing
from app.tables import now

FORMAT = 1
DATABASE = "earshot.db"
_NAME = re.compile(r"earshot\.db|adapters/[0-9a-f]{16}/[0-9a-f]{16}/[a-z_]+\.(?:json|safetensors)")
_TRIES = 3
UNFINISHED, TRIAL = ".backup-", ".trial-"  # how folders are called in which a backup is made, or restored on trial
_UNFINISHED_SECONDS = 6 * 3600
_CIRCLE = "c" + 15 * "0"  # as whose the adapter of the whole circle lies in the store
_MANIFEST_MOST = 64 << 20


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds. ``missing`` are versions that the database names and whose files were not there."""

    revision: str
    created_at: int
    files: dict[str, str]
    missing: tuple[str, ...]

    @property
    def adapters(self) -> int:
        """How many versions it holds."""
        return sum(name.endswith("/card.json") for name in self.files)


def back_up(database: Database, adapters: Path, file: Path) -> Backup:
    """Write a backup while everything runs on.

    Raises Conflict if the file is there, BadInput for PostgreSQL, CannotWrite if SQLite cannot make its copy.
    """
    if not database.is_sqlite:
        raise BadInput("This is for SQLite. Back PostgreSQL up with pg_dump, and then the folder adapters/.")
    if file.exists():
        raise Conflict(f"{file} is there already; nothing was written.")
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=file.parent) as made:
        place = Path(made)
        for tries_left in reversed(range(_TRIES)):
            missing = _snapshot(database, adapters, place)
            if not missing or not tries_left:  # an account that was deleted in between is not in the next snapshot
                break
        found = _describe(place, missing)
        _pack(place, found, place / "packed")
        (place / "packed").rename(file)
    _fsync(file.parent)
    return found


def sweep(folder: Path, seconds: float = _UNFINISHED_SECONDS) -> int:
    """Remove what killed backups and trials left beside the backups, once it is so old; returns how many.

    Each may hold a whole copy of the database.
    """
    old = [path for mark in (UNFINISHED, TRIAL) for path in folder.glob(f"{mark}*") if _age(path) > seconds]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
    return len(old)


def _age(path: Path) -> float:
    with suppress(FileNotFoundError):  # it has just been finished
        return time.time() - path.stat().st_mtime
    return 0.0


def _snapshot(database: Database, adapters: Path, place: Path) -> tuple[str, ...]:
    """The database first, then the versions it names: a version is whole on disk before a row speaks of it."""
    (place / DATABASE).unlink(missing_ok=True)
    shutil.rmtree(place / "adapters", ignore_errors=True)
    source = database.engine.raw_connection()
    try:
        with closing(sqlite3.connect(place / DATABASE)) as target:
            source.driver_connection.backup(target)  # type: ignore[union-attr]
            target.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as problem:
        raise CannotWrite(f"The database cannot be copied into the backup: {problem}.") from problem
    finally:
        source.close()
    missing = []
    for listener, version in _versions(place / DATABASE):
        try:
            shutil.copytree(adapters / listener / version, place / "adapters" / listener / version)
        except (FileNotFoundError, shutil.Error):
            shutil.rmtree(place / "adapters" / listener / version, ignore_errors=True)
            missing.append(f"{listener}/{version}")
    return tuple(missing)


def _versions(file: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(file)) as db:
        found = list(db.execute("SELECT listener_id, id FROM adapter_versions ORDER BY listener_id, number"))
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'circle_versions'").fetchone():
            found += [(_CIRCLE, version) for (version,) in db.execute("SELECT id FROM circle_versions ORDER BY id")]
    return found


def _revision(file: Path) -> str:
    with closing(sqlite3.connect(file)) as db:
        row = db.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else ""


def _describe(place: Path, missing: tuple[str, ...]) -> Backup:
    files = sorted(path for path in place.rglob("*") if path.is_file())
    digests = {path.relative_to(place).as_posix(): _sha256(path) for path in files}
    return Backup(_revision(place / DATABASE), now(), digests, missing)


def _pack(place: Path, found: Backup, to: Path) -> None:
    facts = {
        "format": FORMAT, "revision": found.revision, "created_at": found.created_at, "files": found.files,
        "missing": list(found.missing),
    }  # fmt: skip
    (place / "manifest.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=3) as tar:
            for name in ("manifest.json", *found.files):
                tar.add(place / name, name, recursive=False)
        stream.flush()
        os.fsync(stream.fileno())


# -- and back ---------------------------------------------------------------------------------------


def restore(file: Path, data: Path, adapters: Path) -> Backup:
    """Put a backup's database and adapters in place, all or nothing.

    Refuses to overwrite or to mix: Conflict if anything of another place is there; BadInput for a damaged backup, one
    of a newer Earshot, or one whose parts do not belong together.
    """
    _refuse_what_is_there(data, adapters)
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    adapters.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".restoring-", dir=data) as made:
        place = Path(made)
        found = unpack(file, place)
        check(place, found)
        for folder in sorted((place / "adapters").glob("*")):
            shutil.move(folder, adapters / folder.name)
        (place / DATABASE).chmod(0o600)
        (place / DATABASE).rename(data / DATABASE)
    _fsync(data)
    return found


def _refuse_what_is_there(data: Path, adapters: Path) -> None:
    there = [data / f"{DATABASE}{end}" for end in ("", "-wal", "-shm", "-journal")]
    there += [path for path in adapters.glob("*") if path.is_dir()] if adapters.is_dir() else []
    for path in there:
        if path.exists():
            raise Conflict(f"{path} is there already. A backup is restored into an empty place only; move it away.")


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise BadInput(f"There is no file {file}.") from None
    except (tarfile.TarError, EOFError, OSError, ValueError, KeyError, TypeError, sqlite3.DatabaseError) as problem:
        raise BadInput(f"{file} is no backup of Earshot, or is damaged: {problem}") from problem


def unpack(file: Path, place: Path) -> Backup:
    """Unpack a backup into an empty folder and check every digest. Raises BadInput."""
    with _readable(file), tarfile.open(file, "r:gz") as tar:
        first = tar.next()
        if first is None or first.name != "manifest.json" or not first.isfile() or first.size > _MANIFEST_MOST:
            raise ValueError("it does not begin with a manifest")
        found = _manifest(json.loads(_content(tar, first)))
        left = dict(found.files)
        while member := tar.next():
            if not member.isfile() or left.pop(member.name, None) is None or not _NAME.fullmatch(member.name):
                raise ValueError(f"{member.name!r} does not belong in it")
            path = place / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            source = tar.extractfile(member)
            assert source is not None
            with path.open("wb") as target:
                shutil.copyfileobj(source, target)
                os.fsync(target.fileno())
            if _sha256(path) != found.files[member.name]:
                raise ValueError(f"{member.name} does not have the sha256 that the manifest states")
        if left or DATABASE not in found.files:
            raise ValueError(f"{sorted(left)[0] if left else DATABASE} is missing")
    return found


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    assert stream is not None
    return stream.read()


def _manifest(facts: dict[str, Any]) -> Backup:
    if facts["format"] != FORMAT:
        raise ValueError(f"it has format {facts['format']}; this Earshot reads {FORMAT}")
    revision = str(facts["revision"])
    if revision not in preparing.revisions():
        raise ValueError(f"its schema is {revision}, which this Earshot does not know; a newer one made it")
    files = {str(name): str(digest) for name, digest in dict(facts["files"]).items()}
    return Backup(revision, int(facts["created_at"]), files, tuple(map(str, facts["missing"])))


def check(place: Path, found: Backup) -> None:
    """Whether an unpacked backup is whole: SQLite's own checks, and a folder for each version. Raises BadInput."""
    file = place / DATABASE
    with _readable(file), closing(sqlite3.connect(file)) as db:
        if (said := db.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
            raise ValueError(said)
        if db.execute("PRAGMA foreign_key_check").fetchone():
            raise ValueError("rows refer to rows that are not there")
        if _revision(file) != found.revision:
            raise ValueError(f"manifest and database are of different revisions ({found.revision}, {_revision(file)})")
        named = {f"{listener}/{version}" for listener, version in _versions(file)} - set(found.missing)
        there = {
            path.parent.relative_to(place / "adapters").as_posix() for path in place.glob("adapters/*/*/card.json")
        }
        if named != there:
            raise ValueError(f"database and adapters do not belong together: {sorted(named ^ there)[0]}")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fsync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
