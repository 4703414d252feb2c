"""Take an import back: exactly what it brought, and nothing that came by another way."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table as Rows
from sqlalchemy import delete, exists, func, insert, inspect, select, true, update
from sqlalchemy.orm import Session

from app.errors import Conflict, NotFound
from app.services import chores
from app.services.text import is_id, show
from app.tables import (
    AdapterVersion,
    Feedback,
    HiddenArtist,
    Listen,
    Listener,
    Playlist,
    Preference,
    Song,
    SongGenre,
    SongPlays,
    Table,
    now,
)  # fmt: skip
from app.tables_imports import Import, SoftDuplicate, UndatedPlays

UNDOABLE = ("ready", "encoding", "done", "stopped", "failed")
_FOLLOWS = {SongGenre.__tablename__, SongPlays.__tablename__}  # these go with their song
_COPIED = ("listener_id", "song_id", "listened_at", "ended", "source", "album", "duration_ms", "played_ms", "rating",
           "import_id")  # fmt: skip


def own_import(db: Session, listener: str, import_id: str) -> Import:
    """A listener's own import. Raises NotFound, also for somebody else's."""
    found = db.get(Import, import_id) if is_id(import_id) else None
    if found is None or found.listener_id != listener:
        raise NotFound(f"You have no import {show(import_id)}.")
    return found


def undo(db: Session, listener: str, import_id: str) -> dict[str, Any]:
    """Remove the listens, feedback, picks, versions and unused songs that an import brought; returns how many.

    What other imports told as well comes back from their soft duplicates. ``versions`` lists adapter versions whose
    folders, and ``removed`` songs whose vectors, are the caller's to remove. Raises NotFound or Conflict.
    """
    made = own_import(db, listener, import_id)
    if made.state not in UNDOABLE:
        raise Conflict(f"This import is {made.state}; only one that is not running can be undone.")
    _undo_undated(db, import_id)
    mine = select(Listen.id).where(Listen.import_id == import_id)
    listens = db.scalar(select(func.count()).select_from(Listen).where(Listen.import_id == import_id)) or 0
    again = _bring_back(db, SoftDuplicate.repeats_id.in_(mine), SoftDuplicate.import_id != import_id, gone=import_id)
    db.execute(delete(SoftDuplicate).where(SoftDuplicate.import_id == import_id))
    db.execute(delete(Listen).where(Listen.import_id == import_id))
    feedback = _number(db.execute(delete(Feedback).where(Feedback.import_id == import_id)))
    versions = _undo_brought(db, made)
    songs = _remove_unused_songs(db, import_id)
    if songs:
        chores.ask(db, "shred")
    made.state, made.finished_at = "undone", now()
    return {"listens": listens, "feedback": feedback, "songs": len(songs), "back": again, "versions": versions,
            "removed": songs}  # fmt: skip


def count_duplicates(db: Session, listener: str, import_id: str) -> int:
    """Make an import's soft duplicates listens after all; returns how many. Raises NotFound."""
    own_import(db, listener, import_id)
    return _bring_back(db, SoftDuplicate.import_id == import_id)


def duplicates(db: Session, import_id: str) -> int:
    """How many soft duplicates of an import do not count."""
    return len(db.scalars(select(SoftDuplicate.id).where(SoftDuplicate.import_id == import_id)).all())


def _number(result: Any) -> int:
    return max(int(result.rowcount), 0)


def _bring_back(db: Session, *which: Any, gone: str = "") -> int:
    """Soft duplicates become listens, unless a listen stands at that very second that will stay."""
    there = exists().where(
        Listen.listener_id == SoftDuplicate.listener_id, Listen.song_id == SoftDuplicate.song_id,
        Listen.listened_at == SoftDuplicate.listened_at, Listen.import_id.is_distinct_from(gone) if gone else true(),
    )  # fmt: skip
    chosen = list(db.scalars(select(SoftDuplicate).where(*which, ~there).order_by(SoftDuplicate.id)))
    if gone:  # the same second may be taken by a listen that is about to go
        db.execute(delete(Listen).where(Listen.import_id == gone))
    values = [{name: getattr(one, name) for name in _COPIED} | {"plays": 1, "created_at": now()} for one in chosen]
    if values:
        db.connection().execute(insert(_LISTENS), values)
    for one in chosen:
        db.delete(one)
    db.flush()
    return len(values)


_LISTENS: Rows = inspect(Listen).local_table  # type: ignore[assignment]


def _undo_undated(db: Session, import_id: str) -> None:
    """Counts go back to what they would be without this import; listens that others counted on become theirs."""
    for note in db.scalars(select(UndatedPlays).where(UndatedPlays.import_id == import_id)).all():
        listen = db.get_one(Listen, note.listen_id)
        others = db.scalars(
            select(UndatedPlays)
            .where(UndatedPlays.listen_id == note.listen_id, UndatedPlays.import_id != import_id)
            .order_by(UndatedPlays.before.asc().nulls_first())
        ).all()
        later = [o for o in others if _rank(o) >= _rank(note)]
        if later:  # the next one raised the count from here
            later[0].before, later[0].before_rating = note.before, note.before_rating
        if others:
            first = min(others, key=_rank)
            listen.plays = max(first.before or 1, *(o.counted for o in others))
            listen.import_id = first.import_id if first.before is None else listen.import_id
        elif note.before is not None:
            listen.plays, listen.rating = note.before, note.before_rating
        db.delete(note)
    db.flush()


def _rank(note: UndatedPlays) -> int:
    """Imports of one listen in their order: each found what the one before had left."""
    return -1 if note.before is None else note.before


def _undo_brought(db: Session, made: Import) -> list[str]:
    for kind, value in made.brought.get("picks", []):
        pick = (Preference.listener_id == made.listener_id, Preference.kind == kind, Preference.value == value)
        db.execute(delete(Preference).where(*pick))
    mine = Playlist.listener_id == made.listener_id
    db.execute(delete(Playlist).where(mine, Playlist.id.in_(made.brought.get("playlists", []))))
    keys = HiddenArtist.artist_key.in_(made.brought.get("hidden", []))
    db.execute(delete(HiddenArtist).where(HiddenArtist.listener_id == made.listener_id, keys))
    versions: list[str] = list(made.brought.get("versions", []))
    if versions:
        listener = db.get_one(Listener, made.listener_id)
        if listener.live_version in versions:
            listener.live_version = made.brought.get("live_before")
        db.execute(delete(AdapterVersion).where(AdapterVersion.id.in_(versions)))
    return versions


def _remove_unused_songs(db: Session, import_id: str) -> list[int]:
    """Songs that joined the catalogue by this import and that nothing speaks of, in whichever table."""
    unused = [Song.import_id == import_id]
    for table in Table.metadata.tables.values():
        for column in table.columns:
            if table.name not in _FOLLOWS and any(k.column.table.name == "songs" for k in column.foreign_keys):
                unused.append(~exists().where(column == Song.id))
    removed = list(db.scalars(select(Song.id).where(*unused)))
    for start in range(0, len(removed), 5_000):
        part = Song.id.in_(removed[start : start + 5_000])
        db.execute(delete(Song).where(part).execution_options(synchronize_session=False))
    db.execute(update(Song).where(Song.import_id == import_id).values(import_id=None))
    return removed
