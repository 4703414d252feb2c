"""Bring a file of songs into the catalogue: a stream in short transactions, so that pages stay usable meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sqlalchemy import Table, func, inspect, select, text
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from app.db import Database
from app.services import catalogue
from app.services.plain_format import Dropped
from app.services.song_files import FileSong
from app.services.text import artist_key
from app.tables import Artist, Song, SongGenre

_CHUNK = 2000
_WAL_PAGES = 16_000  # 64 MB between checkpoints: a page that many rows touch is written once for all of them
_CACHE_KB = 128_000
_PAUSE = 0.02  # between transactions, so that somebody who waits for the write lock gets it
_REASONS_KEPT = 1000


@dataclass(slots=True)
class BulkReport:
    """Every row is accounted for: rows = taken + folded + dropped."""

    rows: int = 0
    taken: int = 0
    folded: int = 0
    dropped: int = 0
    reasons: list[Dropped] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for --json."""
        return {
            "rows": self.rows, "taken": self.taken, "folded": self.folded, "dropped": self.dropped,
            "reasons": [{"line": r.line, "reason": r.reason} for r in self.reasons],
        }  # fmt: skip


def import_songs(
    db: Database,
    rows: Iterable[FileSong | Dropped],
    progress: Callable[[BulkReport], None] = lambda _: None,
    pause: float = _PAUSE,
) -> BulkReport:
    """Take rows until they end. A song that is here already, or came earlier in the file, is folded: it stays as it is.

    After a kill, the same file again takes what is missing.
    """
    report = BulkReport()
    stream = iter(rows)
    while chunk := list(islice(stream, _CHUNK)):
        good = [row for row in chunk if isinstance(row, FileSong)]
        taken = 0
        if good:
            with db.read() as session:
                values = _values(session, good)
            with db.write() as session:  # as short as can be: listeners wait for it
                if db.is_sqlite:
                    _widen(session)
                taken = _insert(session, values)
        report.rows += len(chunk)
        report.taken += taken
        report.folded += len(good) - taken
        report.dropped += len(chunk) - len(good)
        bad = [row for row in chunk if isinstance(row, Dropped)]
        report.reasons += bad[: _REASONS_KEPT - len(report.reasons)]
        progress(report)
        time.sleep(pause)
    return report


def _widen(db: Session) -> None:
    """Settings of this connection that spare the disk; they last as long as the process that imports."""
    db.execute(text(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}"))
    db.execute(text(f"PRAGMA cache_size=-{_CACHE_KB}"))


def _values(db: Session, rows: Sequence[FileSong]) -> list[dict[str, Any]]:
    """Rows as the table takes them. A song without genres or country gets its artist's."""
    keys = {artist_key(row.artist) for row in rows if not row.genres or not row.country}
    known = {facts.key: facts for facts in db.scalars(select(Artist).where(Artist.key.in_(keys)))}
    values: list[dict[str, Any]] = []
    for row in rows:
        facts = known.get(artist_key(row.artist))
        song = catalogue.new_song(
            row.artist, row.title, year=row.year, genres=row.genres or (facts.genres if facts else ()),
            moods=row.moods, country=row.country or (facts.country if facts else None), source="catalogue",
        )  # fmt: skip
        values.append({name: getattr(song, name) for name in _COLUMNS})
    values.sort(key=lambda song: (song["artist_key"], song["title_key"]))  # neighbours in the index, neighbours on disk
    return values


def _insert(db: Session, values: Sequence[dict[str, Any]]) -> int:
    """Insert songs that are not there; returns how many."""
    insert = sqlite_insert if db.get_bind().dialect.name == "sqlite" else postgresql_insert
    statement = insert(_TABLE).on_conflict_do_nothing(index_elements=["artist_key", "title_key"]).returning(Song.id)
    return len(db.connection().execute(statement, values).all())


_TABLE: Table = inspect(Song).local_table  # type: ignore[assignment]
_COLUMNS = ("artist", "title", "artist_key", "title_key", "search_text", "year", "genres", "moods", "country", "source")


def stats(db: Session) -> dict[str, int]:
    """What the catalogue holds, but for what is encoded, which the engine knows."""
    songs = select(func.count()).select_from(Song)

    def number(statement: Any) -> int:
        return int(db.scalar(statement) or 0)

    decades = {year // 10 for year in db.scalars(select(Song.year).distinct()) if year is not None}
    return {
        "songs": number(songs),
        "artists": number(select(func.count(Song.artist_key.distinct()))),
        "genres": number(select(func.count(SongGenre.genre.distinct()))),
        "countries": number(select(func.count(Song.country.distinct()))),
        "decades": len(decades),
        "with_year": number(songs.where(Song.year.is_not(None))),
        "with_genres": number(select(func.count(SongGenre.song_id.distinct()))),
    }
