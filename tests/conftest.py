"""What all tests share: the real base, loaded once; a small real catalogue; a fresh place for each test."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run beside each other and beside a worker: one thread is steady
os.environ["HF_HUB_OFFLINE"] = "1"

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from app.db import Database
from app.lm.asking import Own
from app.lm.base import Base, load
from app.lm.engine import Engine, EngineSettings
from app.lm.locate import locate
from app.lm.song_text import song_text
from app.services import catalogue, passwords, preparing
from app.settings import PROJECT, Settings
from app.starter.reading import StarterArtist, read
from app.tables import Listener
from tests.servers import fresh, postgres_server

BASE_TOML = PROJECT / "models" / "base.toml"
SEED = 7


def pytest_addoption(parser: pytest.Parser) -> None:
    """--database: the same tests on the other database."""
    parser.addoption("--database", choices=["sqlite", "postgres"], default="sqlite", help="what the tests store in")


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """PostgreSQL, started when it is first asked for: a URL with a place for the database's name."""
    with postgres_server() as url:
        yield url


NewUrl = Callable[[str, str], str]


@pytest.fixture(scope="session")
def new_url(request: pytest.FixtureRequest) -> NewUrl:
    """A function (name, template) that gives the URL of a new database of this run: a template's copy, or empty.

    On SQLite it gives "": a database is a file of its home, which is copied with it.
    """
    if request.config.getoption("--database") == "sqlite":
        return lambda name, template: ""
    server: str = request.getfixturevalue("server")
    return lambda name, template: fresh(server, name, template or "template1")


@pytest.fixture(scope="session", autouse=True)
def no_settings_from_outside() -> None:
    """The machine's own EARSHOT_* must not reach the tests."""
    for name in [name for name in os.environ if name.startswith("EARSHOT_")]:
        del os.environ[name]


@pytest.fixture(scope="session", autouse=True)
def cheap_hashing() -> None:
    """Real argon2id at its smallest cost: tests sign in often. test_passwords.py looks at the cost that is shipped."""
    passwords._HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture(scope="session")
def base() -> Base:
    """The real base, verified and loaded, with the music adapter that is the default."""
    return load(locate(BASE_TOML), music_folder=Settings().music)


@pytest.fixture(scope="session")
def starter() -> list[StarterArtist]:
    """A slice of the real starter catalogue: every 40th artist."""
    return read()[::40]


@pytest.fixture(scope="session")
def seed_home(
    tmp_path_factory: pytest.TempPathFactory, base: Base, starter: list[StarterArtist], new_url: NewUrl
) -> Path:
    """A home whose database holds the slice and whose vectors are encoded; copied for each test."""
    home = tmp_path_factory.mktemp("seed")
    settings = Settings(home=home, database_url=new_url("seed", ""))
    preparing.migrate(settings.url)
    db = Database(settings.url)
    with db.write() as session:
        catalogue.load_starter(session, starter)
    with db.read() as session:
        texts = catalogue.texts(session, song_text)
    engine_for(base, settings).encode_songs(texts)
    db.close()
    return home


def engine_for(base: Base, settings: Settings) -> Engine:
    """An engine around the base that is loaded already."""
    return Engine(
        base, EngineSettings(base_toml=BASE_TOML, vectors=settings.vectors, adapters=settings.adapters, rank=8)
    )


@pytest.fixture(scope="session")
def bare_seed(tmp_path_factory: pytest.TempPathFactory, new_url: NewUrl) -> Path:
    """A home with a few songs of the starter catalogue and no base: quick to make; copied for each test."""
    home = tmp_path_factory.mktemp("bare")
    settings = Settings(home=home, database_url=new_url("bare_seed", ""))
    preparing.migrate(settings.url)
    database = Database(settings.url)
    with database.write() as session:
        catalogue.load_starter(session, read()[::400])
    if database.is_sqlite:
        database.outside_transaction("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return home


@pytest.fixture
def bare(bare_seed: Path, tmp_path: Path, new_url: NewUrl) -> Settings:
    """Settings of a fresh home without a base."""
    shutil.copytree(bare_seed, tmp_path / "bare")
    return Settings(home=tmp_path / "bare", database_url=new_url("bare", "bare_seed"))


@pytest.fixture
def bare_db(bare: Settings) -> Iterator[Database]:
    """Its database."""
    database = Database(bare.url)
    yield database
    database.close()


@pytest.fixture
def settings(seed_home: Path, tmp_path: Path, new_url: NewUrl) -> Settings:
    """Settings of a fresh home with the small catalogue in it."""
    home = tmp_path / "home"
    shutil.copytree(seed_home, home)
    return Settings(home=home, database_url=new_url("place", "seed"))


@pytest.fixture
def db(settings: Settings) -> Iterator[Database]:
    """The fresh home's database."""
    database = Database(settings.url)
    yield database
    database.close()


@pytest.fixture
def engine(base: Base, settings: Settings) -> Engine:
    """The fresh home's engine."""
    return engine_for(base, settings)


@pytest.fixture
def ana(db: Database) -> Listener:
    """A listener with no listens."""
    from app.services import accounts

    with db.write() as session:
        return accounts.add_listener(session, "Ana", None)


def own_of(session: Any, ids: list[int], weight: float = 1.0) -> list[Own]:
    """Songs by id as the engine takes them."""
    return [Own(i, text, weight) for i, text in catalogue.texts(session, song_text, ids)]
