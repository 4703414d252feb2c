"""Two machines with one database and one storage: what one encodes and learns the other answers by, and both forget."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from sqlalchemy import select

from app import upkeep
from app.db import Database
from app.lm.asking import Ask, Own
from app.lm.base import Base
from app.lm.engine import Engine
from app.lm.song_text import song_text
from app.objects import Objects
from app.services import catalogue, privacy
from app.settings import Settings
from app.tables import Listener, Song
from tests.conftest import engine_for
from tests.lm.making import peft_tensors, write_adapter

VERSION = "a" * 16


@pytest.fixture
def machines(base: Base, settings: Settings, tmp_path: Path) -> list[Engine]:
    """Two engines, each with folders of its own and the same storage."""
    share = str(tmp_path / "share")
    given = engine_for(base, settings).settings
    return [
        Engine(
            base,
            dataclasses.replace(given, vectors=tmp_path / name / "v", adapters=tmp_path / name / "a", storage=share),
        )
        for name in ("one", "two")
    ]


def test_what_one_machine_makes_the_other_answers_by_and_both_forget(
    machines: list[Engine], db: Database, ana: Listener, tmp_path: Path
) -> None:
    one, two = machines
    with db.read() as session:
        texts = catalogue.texts(session, song_text)[:60]
    assert (one.encode_songs(texts), two.encode_songs(texts), two.encoded()) == (60, 0, 60)
    tensors = peft_tensors(one.bank.shapes, 8, seed=3)
    write_adapter(one.store, ana.id, VERSION, tensors, fingerprint=one.fingerprint, rank=8)
    own = [Own(song, text, 1.0) for song, text in texts[:5]]
    answers = [each.recommend(ana.id, VERSION, own, Ask(count=10), lambda ids: {}) for each in machines]
    assert answers[0] == answers[1] and answers[0][1] == VERSION

    privacy.remove_files([tmp_path / "one" / "a"], ana.id, str(tmp_path / "share"))
    assert Objects(str(tmp_path / "share")).names("adapters") == []
    assert two.store.forget_gone() == 1
    two.forget(ana.id)
    assert two.recommend(ana.id, VERSION, own, Ask(count=10), lambda ids: {})[1] is None

    gone, kept = texts[0][0], texts[1][0]
    with db.write() as session:
        for song in session.scalars(select(Song).where(Song.id == gone)):
            session.delete(song)
    place = Settings(home=tmp_path / "one", storage=str(tmp_path / "share"), database_url=str(db.url))
    upkeep.shred_all(db, place)
    for engine in machines:
        engine.vectors.sync()  # type: ignore[attr-defined]
        ids = engine.vectors.snapshot().ids
        assert gone not in ids and kept in ids
