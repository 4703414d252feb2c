"""Make a place ready: schema and catalogue vectors."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import command
from alembic.config import Config
from sqlalchemy import make_url
from tqdm import tqdm

if TYPE_CHECKING:
    from app.lm.engine import Engine

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"


def alembic_config(url: str) -> Config:
    """Alembic with our migrations and that database."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = url
    return config


def migrate(url: str, revision: str = "head") -> None:
    """Bring a database to a revision; a new SQLite file is made for its owner's eyes only."""
    location = make_url(url)
    if location.get_backend_name() == "sqlite" and location.database:
        file = Path(location.database)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.parent.chmod(0o700)
        file.touch(0o600)
    command.upgrade(alembic_config(url), revision)


def encode_with_bar(engine: Engine, texts: Sequence[tuple[int, str]]) -> int:
    """Encode what is new or changed, with a progress bar on stderr if there is anything to do."""
    bar: Any = None

    def show(done: int, of: int) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(total=of, unit="song", desc="Encoding the catalogue", file=sys.stderr)
        bar.update(done - bar.n)

    count = engine.encode_songs(texts, show)
    if bar is not None:
        bar.close()
    return count
