"""Import listens in bulk: one transaction, a reason for every row that is not taken, nothing twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from app.services import catalogue
from app.services.plain_format import Dropped, Row
from app.services.text import artist_key, title_key
from app.starter.reading import vocabulary
from app.tables import Artist, Listen, Song

_CHUNK = 400
_REASONS_KEPT = 1000


@dataclass(slots=True)
class ImportReport:
    """Every row is accounted for: rows = taken + folded + dropped."""

    rows: int = 0
    taken: int = 0
    folded: int = 0
    dropped: int = 0
    undated: int = 0
    new_songs: int = 0
    reasons: list[Dropped] = field(default_factory=list)

    def drop(self, row: Dropped) -> None:
        """Count a dropped row; the first thousand keep their line and reason."""
        self.dropped += 1
        if len(self.reasons) < _REASONS_KEPT:
            self.reasons.append(row)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for --json."""
        return {
            "rows": self.rows, "taken": self.taken, "folded": self.folded, "dropped": self.dropped,
            "undated": self.undated, "new_songs": self.new_songs,
            "reasons": [{"line": r.line, "reason": r.reason} for r in self.reasons],
        }  # fmt: skip


def import_rows(db: Session, listener: str, rows: Iterable[Row | Dropped], source: str = "import") -> ImportReport:
    """Take rows for one listener. Importing the same rows again adds nothing.

    A row whose listen is there already, in the database or earlier in the file, is folded into it. Undated rows of one
    song add up within a file and count at least as much as before.
    """
    report = ImportReport()
    undated: dict[int, Row] = {}
    genres, _ = vocabulary()
    stream = iter(rows)
    while chunk := list(islice(stream, _CHUNK)):
        report.rows += len(chunk)
        good: list[Row] = []
        for row in chunk:
            if isinstance(row, Dropped):
                report.drop(row)
            else:
                good.append(row)
        ids = _songs_for(db, good, genres, report)
        dated: list[dict[str, Any]] = []
        for row, song in zip(good, ids, strict=True):
            if row.at is not None:
                dated.append(_values(listener, song, row, source))
            elif song in undated:
                undated[song] = _added_up(undated[song], row)
                report.folded += 1
            else:
                undated[song] = row
        if dated:
            taken = _insert_new(db, dated)
            report.taken += taken
            report.folded += len(dated) - taken
    _take_undated(db, listener, undated, source, report)
    return report


def _values(listener: str, song: int, row: Row, source: str) -> dict[str, Any]:
    return {
        "listener_id": listener, "song_id": song, "listened_at": row.at, "plays": row.plays, "rating": row.rating,
        "ended": "played", "source": source,
    }  # fmt: skip


def _added_up(one: Row, other: Row) -> Row:
    rating = other.rating if other.rating is not None else one.rating
    return Row(one.line, one.artist, one.title, None, one.plays + other.plays, rating)


def _songs_for(db: Session, rows: Sequence[Row], genres: frozenset[str], report: ImportReport) -> list[int]:
    """Song ids for rows; songs that are not there join the catalogue."""
    keys = [(artist_key(row.artist), title_key(row.title)) for row in rows]
    artists = {artist for artist, _ in keys}
    found: dict[tuple[str, str], int] = {}
    columns = select(Song.id, Song.artist_key, Song.title_key)
    for row_id, artist, title in db.execute(
        columns.where(Song.artist_key.in_(artists), Song.title_key.in_({title for _, title in keys}))
    ):
        found[(artist, title)] = row_id
    known = {a.key: a for a in db.scalars(select(Artist).where(Artist.key.in_(artists)))}
    fresh: dict[tuple[str, str], Song] = {}
    for row, key in zip(rows, keys, strict=True):
        if key not in found and key not in fresh:
            facts = known.get(key[0])
            tags = [t.casefold() for t in row.tags if t.casefold() in genres][:5]
            fresh[key] = catalogue.new_song(
                row.artist, row.title, year=row.year, genres=tags or (facts.genres if facts else ()),
                country=facts.country if facts else None, source="import",
            )  # fmt: skip
    db.add_all(fresh.values())
    db.flush()
    report.new_songs += len(fresh)
    return [found.get(key) or fresh[key].id for key in keys]


def _insert(db: Session) -> Any:
    return sqlite_insert if db.get_bind().dialect.name == "sqlite" else postgresql_insert


def _insert_new(db: Session, values: list[dict[str, Any]]) -> int:
    statement = _insert(db)(Listen).values(values).on_conflict_do_nothing().returning(Listen.id)
    return len(db.scalars(statement).all())


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]


def _take_undated(db: Session, listener: str, rows: dict[int, Row], source: str, report: ImportReport) -> None:
    for part in _chunks(list(rows)):
        there = set(
            db.scalars(
                select(Listen.song_id).where(
                    Listen.listener_id == listener, Listen.listened_at.is_(None), Listen.song_id.in_(part)
                )
            )
        )
        statement = _insert(db)(Listen).values([_values(listener, song, rows[song], source) for song in part])
        more = func.max if db.get_bind().dialect.name == "sqlite" else func.greatest
        new = statement.excluded
        db.execute(
            statement.on_conflict_do_update(
                index_elements=["listener_id", "song_id"],
                index_where=Listen.listened_at.is_(None),
                set_={"plays": more(Listen.plays, new.plays), "rating": func.coalesce(new.rating, Listen.rating)},
            )
        )
        report.taken += len(part) - len(there)
        report.undated += len(part) - len(there)
        report.folded += len(there)
