"""Make a place ready: schema and catalogue vectors."""

from __future__ import annotations

import sys
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import make_url
from tqdm import tqdm

from app.db import Database
from app.services import catalogue, encoding, genres

if TYPE_CHECKING:
    from alembic.config import Config

    from app.lm.engine import Engine
    from app.lm.song_text import SongText

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
_PART = 4096


def alembic_config(url: str) -> Config:
    """Alembic with our migrations and that database. Imported where it is needed: no page needs it to start."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = url
    return config


@lru_cache
def revisions() -> list[str]:
    """Every revision of the schema that this Earshot knows, oldest first."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(alembic_config("sqlite://"))
    return [revision.revision for revision in script.walk_revisions()][::-1]


def migrate(url: str, revision: str = "head") -> None:
    """Bring a database to a revision; a new SQLite file is made for its owner's eyes only, as is a folder of its own.

    A folder that holds other things as well, be it /tmp, stays open to whom it was open.
    """
    from alembic import command

    location = make_url(url)
    if location.get_backend_name() == "sqlite" and location.database:
        file = Path(location.database)
        file.parent.mkdir(parents=True, exist_ok=True)
        if not any(file.parent.iterdir()):
            file.parent.chmod(0o700)
        file.touch(0o600)
    command.upgrade(alembic_config(url), revision)


def encode_with_bar(db: Database, engine: Engine, write_text: SongText) -> int:
    """Encode what is new or changed in the catalogue, part by part, then guess the genres of songs that have none.

    Shows a progress bar on stderr if there is anything to do. After a kill, the next call goes on where this one was.
    """
    encoded = last = 0
    with db.read() as session:
        total = catalogue.count(session)
    with tqdm(total=total, unit="song", desc="Encoding the catalogue", file=sys.stderr, delay=1) as bar:
        while True:
            with db.read() as session:
                part = catalogue.texts_after(session, write_text, last, _PART)
            if not part:
                break
            start = int(bar.n)
            encoded += engine.encode_songs(part, partial(_advance, bar, start))
            bar.update(start + len(part) - bar.n)
            last = part[-1][0]
    # A restored backup is older than the vectors, and a stop may come between a song and its vector.
    encoding.forget_gone(db, engine, engine.vectors.snapshot().ids.tolist())
    genres.infer(db, engine, write_text)
    engine.lay_out()
    return encoded


def _advance(bar: Any, start: int, done: int, of: int) -> None:
    bar.update(start + done - bar.n)
