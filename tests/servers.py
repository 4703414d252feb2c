"""Real servers for tests: Debian's PostgreSQL, in a folder of its own, reached by a socket in it, and moto's S3."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from app.settings import PROJECT


def _as_nobody_special(command: list[str]) -> None:
    """Run one of PostgreSQL's commands, which refuse to run as root, as its own user then."""
    if os.geteuid() == 0:
        command = ["runuser", "-u", "postgres", "--", *command]
    subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def postgres_server() -> Iterator[str]:
    """Gives a URL with a place for the database's name: ``{name}``."""
    commands = subprocess.run(
        [PROJECT / "tools" / "postgres"], capture_output=True, text=True, check=True
    ).stdout.strip()
    folder = Path(tempfile.mkdtemp(prefix="earshot-pg-"))
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    data = str(folder / "data")
    start = (
        f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c port=54321 -c fsync=off"
        " -c max_connections=300"
    )
    try:
        _as_nobody_special(
            [f"{commands}/initdb", "-D", data, "-U", "earshot", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
        )
        _as_nobody_special([f"{commands}/pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", start, "start"])
        try:
            yield f"postgresql+psycopg://earshot@/{{name}}?host={folder}&port=54321"
        finally:
            _as_nobody_special([f"{commands}/pg_ctl", "-D", data, "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fresh(server: str, name: str, template: str = "template1") -> str:
    """The URL of a new database, in place of one of that name, as a copy of another that nobody is connected to."""
    engine = create_engine(server.format(name="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    engine.dispose()
    return server.format(name=name)


@contextmanager
def s3_server() -> Iterator[str]:
    """moto's server, an S3 in all but size; gives its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
    finally:
        server.stop()


def new_bucket(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty place on that S3, which this process and its children reach from now on."""
    import boto3
    import s3fs

    for name, value in {
        "AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = f"earshot-{os.urandom(4).hex()}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return f"s3://{bucket}/place"
