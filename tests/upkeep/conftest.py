"""A place with two people, their listens, and versions on disk, without a base."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db import Database
from app.services import accounts, listens
from app.settings import Settings
from app.tables import AdapterVersion, Listener, Song, new_id


def add_version(session: Session, adapters: Path, listener: str, number: int = 1, words: str = "better") -> str:
    """A version in the database, live, and files of its shape on disk."""
    held = {"ranks": [1], "gain": 0.5, "found": 1, "ndcg_10": 0.5, "of": 1, "within": 100}
    version = new_id()
    folder = adapters / listener / version
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(words.encode() * 1000)
    (folder / "adapter_config.json").write_text(json.dumps({"words": words}), encoding="utf-8")
    (folder / "card.json").write_text(json.dumps({"words": words}), encoding="utf-8")
    session.add(
        AdapterVersion(
            id=version, listener_id=listener, number=number, promoted=True, why=words, before=held, after=held,
            base_fingerprint="f" * 64, difference=0.1, low=0.0, high=0.2, learnt_from=8, trainable_parameters=1,
            base_parameters=2, size=1, seconds=1.0,
        )
    )  # fmt: skip
    session.get_one(Listener, listener).live_version = version
    return version


@pytest.fixture
def people(bare: Settings, bare_db: Database) -> dict[str, str]:
    """Ids of Ana (the administrator) and Ben, each with listens and a version."""
    found = {}
    with bare_db.write() as session:
        songs = list(session.scalars(select(Song.id).limit(5)))
        for name in ("Ana", "Ben"):
            listener = accounts.add_listener(session, name, None, is_admin=name == "Ana")
            found[name] = listener.id
            for song in songs:
                listens.log(session, listener.id, song_id=song, at=1_700_000_000)
            add_version(session, bare.adapters, listener.id)
    return found


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
