"""An account as a zip: ten lines of stock libraries rank by it as we do, and another Earshot takes it in."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from app.db import Database
from app.lm.engine import Engine
from app.lm.song_text import song_text
from app.services import catalogue, exporting, history, listens, recommending
from app.services.imports import runner, running, undoing
from app.services.imports.staging import Staging
from app.services.recommending import EngineTypes
from app.settings import Settings
from app.tables import AdapterVersion, Listen, Listener, Playlist, Song, new_id
from app.tables_imports import Import
from tests.lm.making import peft_tensors, write_adapter

HELD = {"ranks": [3], "gain": 0.5, "found": 1, "ndcg_10": 0.5, "of": 1, "within": 100, "learnt_since": True}


@pytest.fixture
def version(db: Database, engine: Engine, ana: Listener) -> str:
    """Ana's live version, with weights that move every vector a good deal; she has played twenty songs."""
    made = new_id()
    tensors = {
        name: tensor * (0.05 if "lora_B" in name else 0.02)
        for name, tensor in peft_tensors(engine.bank.shapes, 8, seed=5).items()
    }
    config = {"target_modules": sorted(engine.bank.shapes), "task_type": "FEATURE_EXTRACTION", "lora_dropout": 0.0}
    files = write_adapter(
        engine.store, ana.id, made, tensors, fingerprint=engine.fingerprint, rank=8, config=config
    )  # fmt: skip
    with db.write() as session:
        for n, song in enumerate(session.scalars(select(Song.id).order_by(Song.id).limit(20)).all()):
            listens.log(session, ana.id, song_id=song, at=1_700_000_000 + 600 * n)
        listens.say(session, ana.id, song, "dislike")
        session.add(AdapterVersion(
            id=made, listener_id=ana.id, number=1, promoted=True, why="better", base_fingerprint=engine.fingerprint,
            before=HELD, after=HELD, difference=0.1, low=0.0, high=0.2, learnt_from=20, trainable_parameters=24_576,
            base_parameters=22_000_000, size=files.size, seconds=1.0,
        ))  # fmt: skip
        session.get_one(Listener, ana.id).live_version = made
    return made


@pytest.fixture
def account(
    db: Database, engine: Engine, kinds: EngineTypes, ana: Listener, version: str, settings: Settings, tmp_path: Path
) -> Path:
    """Ana's account as a zip."""
    path = tmp_path / "account.zip"
    with (
        db.read() as session,
        exporting.account_zip(session, engine, kinds, ana.id, tmp_path / "exports", settings.music) as made,
    ):
        path.write_bytes(made.read())
    assert list((tmp_path / "exports").iterdir()) == []
    return path


def changed(account: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """The same zip with entries changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(account) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    path = account.with_name("changed.zip")
    path.write_bytes(out.getvalue())
    return path


def bring(db: Database, engine: Engine, who: Listener, path: Path, staging: Staging) -> tuple[str, list[str]]:
    """Import a zip for somebody; gives the import's id and its notes."""
    with db.write() as session:
        made = running.begin(session, who.id, "shell", "account").id
    hold = running.Run(db, staging, made, "test:1")
    hold.look([("a.zip", path)])
    with db.write() as session:
        running.start(session, who.id, made)
    hold.take([("a.zip", path)], runner.adopter(engine))
    with db.read() as session:
        return made, list(session.get_one(Import, made).brought["notes"])


def ranked(db: Database, engine: Engine, kinds: EngineTypes, who: Listener) -> list[str]:
    """The twenty songs that the engine scores highest for somebody, known ones too."""
    with db.read() as session:
        own = history.read(session, who.id, song_text).own(session, song_text, kinds.own)
        live = session.get_one(Listener, who.id).live_version
        values, _, answered = engine.score(who.id, live, own)
        assert answered == live is not None
        ids = engine.vectors.snapshot().ids[np.argsort(-values, kind="stable")[:20]].tolist()
        songs = {song.id: song for song in session.scalars(select(Song).where(Song.id.in_(ids)))}
        return [f"{songs[i].title} by {songs[i].artist}" for i in ids]


def in_float32(db: Database, engine: Engine) -> Engine:
    """The engine anew, with the whole catalogue encoded in float32."""
    with db.read() as session:
        ids, texts = zip(*catalogue.texts(session, song_text), strict=True)
    engine.vectors.clear()
    engine.vectors.append(ids, texts, engine.base.encode(texts).numpy())
    return Engine(engine.base, engine.settings)


@pytest.mark.training
def test_ten_lines_of_stock_transformers_and_peft_rank_as_we_do(
    account: Path, db: Database, engine: Engine, kinds: EngineTypes, ana: Listener, tmp_path: Path
) -> None:
    folder = tmp_path / "unpacked"
    with zipfile.ZipFile(account) as archive:
        archive.extractall(folder)
    code = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text("utf-8"), flags=re.S)[0]
    assert len(code.splitlines()) == 10
    assert f'base = "{engine.base.files.name}"' in code
    code = code.replace(f'"{engine.base.files.name}"', repr(str(engine.base.files.folder)))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    engine = in_float32(db, engine)  # where bfloat16 is faster, the catalogue is read so, and near ties change places
    ours = ranked(db, engine, kinds, ana)
    assert done.stdout.splitlines() == ours
    with db.write() as session:
        session.get_one(Listener, ana.id).live_version = None
        own = history.read(session, ana.id, song_text).own(session, song_text, kinds.own)
        values, _, _ = engine.score(ana.id, None, own)
        best = engine.vectors.snapshot().ids[np.argsort(-values, kind="stable")[:20]].tolist()
        names = {song.id: f"{song.title} by {song.artist}" for song in session.scalars(select(Song))}
    assert [names[i] for i in best] != ours, "else the adapter does nothing and the test proves nothing"


def test_an_account_comes_to_a_friends_name_with_its_adapter_and_can_go_again(
    account: Path, db: Database, engine: Engine, kinds: EngineTypes, ana: Listener, ben: Listener, tmp_path: Path
) -> None:
    made, notes = bring(db, engine, ben, account, Staging(tmp_path / "staging"))
    assert notes == []
    with db.read() as session:
        (row,) = session.scalars(select(AdapterVersion).where(AdapterVersion.listener_id == ben.id))
        assert session.get_one(Listener, ben.id).live_version == row.id
        assert (row.number, row.after, row.why) == (1, HELD, "better")
        mine = recommending.recommend(session, engine, kinds, ana.id)
        his = recommending.recommend(session, engine, kinds, ben.id)
    assert [s.song.id for s in his.suggestions] == [s.song.id for s in mine.suggestions] and his.version == row.id
    config = json.loads(engine.store.folder(ben.id, row.id).config.read_text("utf-8"))
    assert config["base_model_name_or_path"] == engine.base.files.name
    _, again = bring(db, engine, ana, account, Staging(tmp_path / "staging"))
    assert again == ["Version 1 is here already."]
    with db.write() as session:
        gone = undoing.undo(session, ben.id, made)
        assert gone["versions"] == [row.id] and session.get_one(Listener, ben.id).live_version is None
        assert session.scalars(select(Listen).where(Listen.listener_id == ben.id)).all() == []


def test_a_version_whose_files_are_not_in_the_shared_storage_is_left_out(
    db: Database, engine: Engine, kinds: EngineTypes, ana: Listener, version: str, tmp_path: Path
) -> None:
    places = {"adapters": tmp_path / "a", "vectors": tmp_path / "v", "storage": str(tmp_path / "share")}
    shared = Engine(engine.base, dataclasses.replace(engine.settings, **places))
    with (
        db.read() as session,
        exporting.account_zip(session, shared, kinds, ana.id, tmp_path / "exports", None) as made,
        zipfile.ZipFile(made) as archive,
    ):
        assert json.loads(archive.read("account.json"))["versions"] == []
        assert not [name for name in archive.namelist() if name.startswith("adapters/")]


def _other_base(name: str, content: bytes) -> bytes:
    if not name.endswith("card.json"):
        return content
    return json.dumps(json.loads(content) | {"base_fingerprint": "0" * 64}).encode()


def _config(**more: Any) -> Callable[[str, bytes], bytes]:
    def change(name: str, content: bytes) -> bytes:
        if not re.match(r"adapters/.*adapter_config.json", name):
            return content
        return json.dumps(json.loads(content) | more).encode()

    return change


def _weights(replace: Callable[[bytes], bytes]) -> Callable[[str, bytes], bytes]:
    return lambda name, content: replace(content) if re.match(r"adapters/.*safetensors", name) else content


def _told(change: Callable[[dict[str, Any]], None]) -> Callable[[str, bytes], bytes]:
    """What account.json says of the version, changed."""

    def told(name: str, content: bytes) -> bytes:
        if name != "account.json":
            return content
        manifest = json.loads(content)
        change(manifest["versions"][0])
        return json.dumps(manifest).encode()

    return told


BAD: dict[str, tuple[Callable[[str, bytes], bytes], str]] = {
    "another base": (_other_base, "trained on another base"),
    "dora": (_config(use_dora=True), "no plain LoRA"),
    "modules to save": (_config(modules_to_save=["pooler"]), "no plain LoRA"),
    "a huge rank": (_config(r=4096), "rank 4096"),
    "another rank": (_config(r=4), "wrong shape"),
    "not a number": (_weights(lambda b: b[:-4] + b"\x00\x00\xc0\x7f"), "not finite"),
    "cut off": (_weights(lambda b: b[:-9]), "no safetensors"),
    "a pickle": (_weights(lambda b: b"\x80\x04K\x01."), "no safetensors"),
    "more places after than before": (_told(lambda one: one["after"]["ranks"].append(9)), "other hidden songs before"),
    "a place before the first": (_told(lambda one: one["after"].update(ranks=[0])), "no number from 1 on"),
    "a place in words": (_told(lambda one: one["before"].update(ranks=["first"])), "no number from 1 on"),
    "found in words": (_told(lambda one: one["before"].update(found="all")), "are no numbers"),
    "a version of the year 142 million": (_told(lambda one: one.update(created_at=2**52)), "in the future"),
    "a manifest that lies": (
        lambda name, b: b.replace(b'"ndcg_10"', b'"other"') if name == "account.json" else b, "lacks what was measured",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_an_adapter_that_cannot_be_trusted_is_left_out_and_the_rest_is_taken(
    account: Path, db: Database, engine: Engine, ben: Listener, tmp_path: Path, kind: str
) -> None:
    change, said = BAD[kind]
    _, notes = bring(db, engine, ben, changed(account, change), Staging(tmp_path / "staging"))
    assert len(notes) == 1 and said in notes[0]
    assert engine.store.versions(ben.id) == []
    with db.read() as session:
        assert session.get_one(Listener, ben.id).live_version is None
        assert len(session.scalars(select(Listen).where(Listen.listener_id == ben.id)).all()) == 20


def test_a_playlist_of_the_future_is_left_out_and_the_rest_is_taken(
    account: Path, db: Database, engine: Engine, ben: Listener, tmp_path: Path
) -> None:
    songs = [{"artist": "Nina Simone", "title": "Sinnerman"}]
    lists = [{"name": name, "songs": songs, "created_at": at} for name, at in (("then", 2**52), ("now", 1_700_000_000))]

    def plan(name: str, content: bytes) -> bytes:
        return json.dumps(json.loads(content) | {"playlists": lists}).encode() if name == "account.json" else content

    _, notes = bring(db, engine, ben, changed(account, plan), Staging(tmp_path / "staging"))
    assert notes == ["A playlist was left out: it says that it was made in the future"]
    with db.read() as session:
        (kept,) = session.scalars(select(Playlist).where(Playlist.listener_id == ben.id))
        assert (kept.name, kept.created_at) == ("now", 1_700_000_000)
