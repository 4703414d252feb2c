"""The whole account as one zip: what the listener did, what was learnt of it, and how to use it without Earshot."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from zipfile import ZIP_DEFLATED, ZipFile

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import AdapterMissing
from app.services import catalogue, hiding, history, listens, playlist_files, playlists
from app.services.exporting import listening, rows
from app.services.exporting.readme import readme, ten_lines
from app.services.imports.account import MARK
from app.tables import AdapterVersion, KeptList, KeptSong, Listener, Song, now

if TYPE_CHECKING:
    from app.lm.engine import Engine
    from app.lm.song_text import SongText
    from app.services.recommending import EngineTypes

_PART = 5_000
_MAX_TOKENS = 64
_VOCABULARY = "vocabulary.safetensors"


def account_zip(
    db: Session, engine: Engine, kinds: EngineTypes, listener_id: str, folder: Path, music: Path | None
) -> BinaryIO:
    """A listener's account as an unnamed file at its beginning; it is gone when it is closed.

    ``folder`` is where the file lies meanwhile; ``music`` the music adapter's folder, if the base has one folded in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    out = cast(BinaryIO, tempfile.TemporaryFile(dir=folder))  # noqa: SIM115  (the caller closes it)
    try:
        with ZipFile(out, "w", ZIP_DEFLATED) as archive:
            _fill(archive, db, engine, kinds, db.get_one(Listener, listener_id), music)
    except BaseException:
        out.close()
        raise
    out.seek(0)
    return out


def _fill(archive: ZipFile, db: Session, engine: Engine, kinds: EngineTypes, who: Listener, music: Path | None) -> None:
    music = music if engine.base.music != "none" else None
    facts = _facts(db, engine, who, music)
    facts["versions"] = [version for version in facts["versions"] if _put_version(archive, engine, who.id, version)]
    live = next((v["folder"] for v in facts["versions"] if v["live"]), "")
    code = ten_lines(
        base=engine.base.files.name, music=music is not None, words=engine.base.vocabulary is not None, adapter=live,
        pooling=engine.base.architecture.pooling, rule=engine.settings.rule, max_tokens=_MAX_TOKENS,
    )  # fmt: skip
    archive.writestr("README.md", readme(facts, code))
    archive.writestr("account.json", json.dumps(facts, ensure_ascii=False, indent=1, allow_nan=False))
    _stream(archive, "listens.jsonl", listening.jsonl(db, who.id))
    _stream(archive, "listens.csv", listening.csv_lines(db, who.id))
    _stream(archive, "feedback.jsonl", listening.feedback_lines(db, who.id))
    _stream(archive, "lists.jsonl", _kept_lists(db, who.id))
    _put_playlists(archive, db, who.id)
    for table, lines in rows.every(db, who.id):
        _stream(archive, f"rows/{table}.jsonl", lines)
    own = history.read(db, who.id, kinds.song_text).own(db, kinds.song_text, kinds.own)
    _stream(archive, "own.jsonl", (listening.line_of({**_read(engine, o.text), "weight": o.weight}) for o in own))
    _stream(archive, "catalogue.jsonl", _catalogue(db, engine, kinds.song_text))
    if music is not None:
        words = [_VOCABULARY] if engine.base.vocabulary is not None else []
        for name in ("adapter_model.safetensors", "adapter_config.json", *words):
            archive.write(music / name, f"music/{name}")


def _stream(archive: ZipFile, name: str, parts: Iterable[bytes]) -> None:
    with archive.open(name, "w", force_zip64=True) as entry:
        for part in parts:
            entry.write(part)


def _read(engine: Engine, text: str) -> dict[str, Any]:
    """A text as the model reads it: with the word of the domain vocabulary that it has, if any."""
    word = engine.word(text)
    return {"text": text} if word is None else {"text": text, "word": word}


def _catalogue(db: Session, engine: Engine, write_text: SongText) -> Iterable[bytes]:
    columns = select(Song.id, Song.artist, Song.title, Song.genres, Song.moods, Song.year).order_by(Song.id)
    last = 0
    while rows := db.execute(columns.where(Song.id > last).limit(_PART)).all():
        for row in rows:
            text = write_text(row.artist, row.title, row.genres, row.moods, row.year)
            yield listening.line_of({"artist": row.artist, "title": row.title, **_read(engine, text)})
        last = rows[-1].id


def _facts(db: Session, engine: Engine, who: Listener, music: Path | None) -> dict[str, Any]:
    genres, artists = listens.preferences(db, who.id)
    base = engine.base
    return {
        MARK: 1, "exported_at": now(), "listener": {"name": who.name, "time_zone": who.time_zone},
        "reads": ["listens.jsonl", "feedback.jsonl"], "picks": {"genre": genres, "artist": artists},
        "hidden_artists": [artist.name for artist in hiding.hidden(db, who.id)], "playlists": _playlists(db, who.id),
        "songs_in_catalogue": catalogue.count(db),
        "base": {
            "name": base.files.name, "licence": base.files.licence, "weights_sha256": base.files.weights_sha256,
            "fingerprint": engine.fingerprint, "pooling": base.architecture.pooling, "max_tokens": _MAX_TOKENS,
            "music_adapter_sha256": base.music if music is not None else None,
        },
        "versions": [_version(row, who) for row in _versions(db, who.id)],
    }  # fmt: skip


def _playlists(db: Session, listener_id: str) -> list[dict[str, Any]]:
    """Name, time and songs of each playlist, oldest first."""
    return [
        {"name": one.name, "created_at": one.created_at,
         "songs": [{"artist": song.artist, "title": song.title} for song in playlists.songs_of(db, one)]}
        for one, _ in reversed(playlists.of(db, listener_id))
    ]  # fmt: skip


def _kept_lists(db: Session, listener_id: str) -> Iterable[bytes]:
    """Every list that was asked for, oldest first, with what was shown."""
    shown = select(KeptSong.list_id, Song.artist, Song.title).join(Song, Song.id == KeptSong.song_id)
    for one in db.scalars(select(KeptList).where(KeptList.listener_id == listener_id).order_by(KeptList.created_at)):
        songs = db.execute(shown.where(KeptSong.list_id == one.id).order_by(KeptSong.place)).all()
        yield listening.line_of({
            "created_at": one.created_at, "mode": one.mode, "wish": one.wish, "adventure": one.adventure,
            "version": one.version, "songs": [{"artist": song.artist, "title": song.title} for song in songs],
        })  # fmt: skip


def _put_playlists(archive: ZipFile, db: Session, listener_id: str) -> None:
    for number, (one, _) in enumerate(reversed(playlists.of(db, listener_id)), 1):
        file = playlist_files.write(db, "jspf", one.name, one.created_at, playlists.songs_of(db, one))
        archive.writestr(f"playlists/{number}.jspf", file.content)


def _versions(db: Session, listener_id: str) -> list[AdapterVersion]:
    mine = select(AdapterVersion).where(AdapterVersion.listener_id == listener_id)
    return list(db.scalars(mine.order_by(AdapterVersion.number)))


def _version(row: AdapterVersion, who: Listener) -> dict[str, Any]:
    folder = f"adapters/{row.number}"
    return {
        "id": row.id, "number": row.number, "live": row.id == who.live_version, "promoted": row.promoted,
        "why": row.why, "base_fingerprint": row.base_fingerprint, "before": row.before, "after": row.after,
        "difference": row.difference, "low": row.low, "high": row.high, "learnt_from": row.learnt_from,
        "trainable_parameters": row.trainable_parameters, "base_parameters": row.base_parameters,
        "seconds": row.seconds, "created_at": row.created_at, "folder": folder,
        "weights": f"{folder}/adapter_model.safetensors", "config": f"{folder}/adapter_config.json",
        "card": f"{folder}/card.json",
    }  # fmt: skip


def _put_version(archive: ZipFile, engine: Engine, listener_id: str, version: dict[str, Any]) -> bool:
    """The files of a version; false if they are no longer there."""
    try:
        files = engine.store.fetched(listener_id, version["id"])
    except AdapterMissing:
        return False
    if not all(file.is_file() for file in (files.weights, files.config, files.card)):
        return False
    for file in (files.weights, files.config, files.card):
        archive.write(file, f"{version['folder']}/{file.name}")
    return True
