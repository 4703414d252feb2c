"""Listens and words on songs as streams of bytes, in the shapes that our own import reads back to the same."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services.imports.listenbrainz import OURS
from app.services.imports.own_csv import COLUMNS, defused
from app.tables import Feedback, Listen, Song

_AT_ONCE = 2_000
_SCORES = {"love": 1, "dislike": -1}


def line_of(value: Any) -> bytes:
    """One line of JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _listens(db: Session, listener: str) -> Iterable[Any]:
    """A listener's listens with their songs, oldest first and undated ones last, never all in memory."""
    columns = select(
        Listen.listened_at, Listen.plays, Listen.rating, Listen.ended, Listen.source, Listen.album, Listen.duration_ms,
        Listen.played_ms, Listen.learn, Song.artist, Song.title,
    ).join(Song, Song.id == Listen.song_id)  # fmt: skip
    ordered = columns.where(Listen.listener_id == listener).order_by(Listen.listened_at.asc().nulls_last(), Listen.id)
    return db.execute(ordered, execution_options={"yield_per": _AT_ONCE})


def jsonl(db: Session, listener: str) -> Iterator[bytes]:
    """Listens in ListenBrainz' shape, one a line. What it has no place for stands in ``additional_info.earshot``; an
    undated listen has no time."""
    for row in _listens(db, listener):
        ours = {"ended": row.ended, "plays": row.plays, "rating": row.rating, "source": row.source,
                "played_ms": row.played_ms, "learn": row.learn}  # fmt: skip
        info: dict[str, Any] = {"submission_client": "Earshot", OURS: ours}
        if row.duration_ms is not None:
            info["duration_ms"] = row.duration_ms
        if row.played_ms is not None:
            info["duration_played"] = row.played_ms // 1000
        track = {"artist_name": row.artist, "track_name": row.title, "additional_info": info}
        if row.album:
            track["release_name"] = row.album
        yield line_of({"listened_at": row.listened_at, "track_metadata": track})


def csv_lines(db: Session, listener: str) -> Iterator[bytes]:
    """Listens as a table with a header; cells are no formulas."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in _listens(db, listener):
        at = row.listened_at
        spoken = "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        names = (defused(row.artist), defused(row.title), defused(row.album or ""))
        writer.writerow((*names, at, spoken, row.plays, row.rating, row.ended, row.duration_ms, row.played_ms,
                         defused(row.source), "" if row.learn else "no"))  # fmt: skip
        if text.tell() > 1 << 16:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()


def feedback_lines(db: Session, listener: str) -> Iterator[bytes]:
    """What a listener said of songs, in ListenBrainz' shape with our own verdict beside its score."""
    columns = select(Feedback.verdict, Feedback.until, Feedback.created_at, Song.artist, Song.title)
    mine = columns.join(Song, Song.id == Feedback.song_id).where(Feedback.listener_id == listener)
    for row in db.execute(mine.order_by(Feedback.song_id)):
        yield line_of({
            "created": row.created_at, "score": _SCORES.get(row.verdict, 0), "verdict": row.verdict, "until": row.until,
            "track_metadata": {"artist_name": row.artist, "track_name": row.title},
        })  # fmt: skip
