"""A real PostgreSQL: Debian's, in a folder of its own, reached by a socket in it; gone after the tests."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from app.db import Database
from app.services import accounts, preparing
from app.settings import PROJECT
from app.tables import Listener


def as_nobody_special(command: list[str]) -> None:
    """Run one of PostgreSQL's commands, which refuse to run as root, as its own user then."""
    if os.geteuid() == 0:
        command = ["runuser", "-u", "postgres", "--", *command]
    subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """A URL with a place for the database's name."""
    commands = subprocess.run(
        [PROJECT / "tools" / "postgres"], capture_output=True, text=True, check=True
    ).stdout.strip()
    folder = Path(tempfile.mkdtemp(prefix="earshot-pg-"))
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    data = str(folder / "data")
    start = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c port=54321 -c fsync=off"
    try:
        as_nobody_special(
            [f"{commands}/initdb", "-D", data, "-U", "earshot", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
        )
        as_nobody_special([f"{commands}/pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", start, "start"])
        try:
            yield f"postgresql+psycopg://earshot@/{{name}}?host={folder}&port=54321"
        finally:
            as_nobody_special([f"{commands}/pg_ctl", "-D", data, "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def url(server: str) -> Iterator[str]:
    """An empty database."""
    engine = create_engine(server.format(name="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS earshot WITH (FORCE)"))
        connection.execute(text("CREATE DATABASE earshot"))
    engine.dispose()
    yield server.format(name="earshot")


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    """An empty database with all tables."""
    preparing.migrate(url)
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def ana(db: Database) -> Listener:
    """A listener with no listens."""
    with db.write() as session:
        return accounts.add_listener(session, "Ana", None)
