"""Take listens in bulk: a reason for every row that is not taken, nothing twice, each chunk in one transaction.

Songs are matched by folded artist and title; those that are not there join the catalogue. A row whose listen is there
already is folded into it. A play that another source told already (counting.py) is kept in ``soft_duplicates`` and does
not count. Undated rows of one song add up within an import and count at least as much as before it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

from sqlalchemy import Table as Rows
from sqlalchemy import insert, inspect, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from app.services import catalogue
from app.services.imports.matching import Known, matches
from app.services.imports.reporting import ImportReport, Untaken
from app.services.imports.rows import Item, Opinion
from app.services.plain_format import Dropped, Row
from app.services.text import artist_key, title_key
from app.starter.reading import vocabulary
from app.tables import Artist, Feedback, Listen, Song, now
from app.tables_imports import Import, SoftDuplicate, UndatedPlays

CHUNK = 8_000  # rows a transaction: with half as many, pages of indexes are written half as often again
_NAMES_KEPT = 50_000
_AT_ONCE = 250  # listens a statement: 13 values each, a tenth of the variables that SQLite allows in one
_SONG_COLUMNS = (
    "artist", "title", "artist_key", "title_key", "search_text", "year", "genres", "moods", "country", "source",
    "created_at", "import_id",
)  # fmt: skip
_LISTENS: Rows = inspect(Listen).local_table  # type: ignore[assignment]
_SONGS: Rows = inspect(Song).local_table  # type: ignore[assignment]
_ASIDE: Rows = inspect(SoftDuplicate).local_table  # type: ignore[assignment]
_FEEDBACK: Rows = inspect(Feedback).local_table  # type: ignore[assignment]

THERE = "there already"
ADDED_UP = "added to the plays of the same song"


def import_rows(db: Session, listener: str, rows: Iterable[Item], source: str = "import") -> ImportReport:
    """Take rows for one listener in the caller's transaction. Importing the same rows again adds nothing."""
    made = Import(listener_id=listener, state="done", way="shell", name=source, finished_at=now())
    db.add(made)
    db.flush()
    taker = Taker(listener, made.id)
    stream = iter(rows)
    while chunk := list(islice(stream, CHUNK)):
        taker.take(db, chunk, source)
    made.report = taker.report.kept()
    return taker.report


class Taker:
    """Takes chunks of rows for one import of one listener. Each call of ``take`` belongs into one transaction."""

    def __init__(self, listener: str, import_id: str, report: ImportReport | None = None) -> None:
        self.listener, self.import_id = listener, import_id
        self.report = report or ImportReport()
        self._song_of: dict[tuple[str, str], int] = {}
        self._genres, _ = vocabulary()
        self._clock = now()

    def take(self, db: Session, items: Sequence[Item], source: str, file: str = "") -> list[Untaken]:
        """Take a chunk; returns what was not taken, and why, in file order.

        ``source`` is the listens' source where a row names none. ``file`` goes into the report.
        """
        report = self.report
        untaken: list[Untaken] = []
        report.rows += len(items)
        named = [item for item in items if not isinstance(item, Dropped)]
        ids = dict(zip(map(id, named), self._songs(db, named), strict=True))
        for item in items:
            if isinstance(item, Dropped):
                untaken.append(Untaken(file, item.line, "dropped", item.reason))
        dated = [(ids[id(r)], r) for r in named if isinstance(r, Row) and r.at is not None]
        undated = [(ids[id(r)], r) for r in named if isinstance(r, Row) and r.at is None]
        said = [(ids[id(r)], r) for r in named if isinstance(r, Opinion)]
        untaken += self._take_dated(db, dated, source, file) if dated else []
        untaken += self._take_undated(db, undated, source, file) if undated else []
        untaken += self._take_opinions(db, said, file) if said else []
        untaken.sort(key=lambda one: one.line)
        for one in untaken:
            report.note(one)
        return untaken

    # -- songs ----------------------------------------------------------------------------------

    def _songs(self, db: Session, rows: Sequence[Row | Opinion]) -> list[int]:
        """Song ids of rows; songs that are not there join the catalogue."""
        known = self._song_of
        if len(known) > _NAMES_KEPT:
            known.clear()
        missing: dict[tuple[str, str], list[Row | Opinion]] = {}
        for row in rows:
            if (row.artist, row.title) not in known:
                missing.setdefault((artist_key(row.artist), title_key(row.title)), []).append(row)
        if missing:
            found = find_songs(db, list(missing))
            fresh = {key: missing[key][0] for key in missing if key not in found}
            found |= self._add(db, fresh) if fresh else {}
            for key, same in missing.items():
                for row in same:
                    known[(row.artist, row.title)] = found[key]
        return [known[(row.artist, row.title)] for row in rows]

    def _add(self, db: Session, fresh: dict[tuple[str, str], Row | Opinion]) -> dict[tuple[str, str], int]:
        artists = list({artist for artist, _ in fresh})
        known = {a.key: a for a in db.scalars(select(Artist).where(Artist.key.in_(artists)))}
        values = [self._song_values(row, known.get(artist)) for (artist, _), row in fresh.items()]
        statement = upsert(db)(_SONGS).on_conflict_do_nothing(index_elements=["artist_key", "title_key"])
        added = db.connection().execute(
            statement.returning(_SONGS.c.id, _SONGS.c.artist_key, _SONGS.c.title_key), values
        )
        ids = {(row.artist_key, row.title_key): row.id for row in added}
        self.report.new_songs += len(ids)
        if len(ids) < len(fresh):  # another process was faster
            ids |= find_songs(db, [key for key in fresh if key not in ids])
        return ids

    def _song_values(self, row: Row | Opinion, facts: Artist | None) -> dict[str, Any]:
        tags = row.tags if isinstance(row, Row) else ()
        genres = [t.casefold() for t in tags if t.casefold() in self._genres][:5]
        song = catalogue.new_song(
            row.artist, row.title, year=row.year if isinstance(row, Row) else None,
            genres=genres or (facts.genres if facts else ()), country=facts.country if facts else None, source="import",
        )  # fmt: skip
        song.created_at, song.import_id = self._clock, self.import_id
        return {name: getattr(song, name) for name in _SONG_COLUMNS}

    # -- dated listens --------------------------------------------------------------------------

    def _take_dated(self, db: Session, rows: Sequence[tuple[int, Row]], source: str, file: str) -> list[Untaken]:
        fresh: list[dict[str, Any]] = []
        aside: list[dict[str, Any]] = []
        untaken: list[Untaken] = []
        for (song, row), match in zip(rows, matches(db, self.listener, rows, source), strict=True):
            if match is None:
                fresh.append(self._values(song, row, source))
                self.report.skips += row.ended == "skipped"
            elif match.exact:
                untaken.append(Untaken(file, row.line, "folded", THERE, row))
            else:
                aside.append(self._aside_values(song, row, source, match))
                untaken.append(Untaken(file, row.line, "folded", match.why, row, soft=True))
        if fresh:
            added = _add_listens(db, fresh)
            self.report.taken += len(fresh)
            if 0 <= added < len(fresh):  # a scrobble came in between, as PostgreSQL allows
                lost = len(fresh) - added
                self.report.taken -= lost
                self.report.count("folded", THERE, lost)
        if aside:
            db.connection().execute(upsert(db)(_ASIDE).on_conflict_do_nothing(), aside)
        return untaken

    def _values(self, song: int, row: Row, source: str) -> dict[str, Any]:
        return {
            "listener_id": self.listener, "song_id": song, "listened_at": row.at, "plays": row.plays,
            "rating": row.rating, "ended": row.ended, "source": row.source or source, "album": row.album,
            "duration_ms": row.duration_ms, "played_ms": row.played_ms, "import_id": self.import_id,
            "created_at": self._clock, "learn": row.learn,
        }  # fmt: skip

    def _aside_values(self, song: int, row: Row, source: str, match: Known) -> dict[str, Any]:
        values = self._values(song, row, source) | {"repeats_id": match.listen}
        del values["plays"], values["created_at"], values["learn"]
        return values

    # -- undated listens ------------------------------------------------------------------------

    def _take_undated(self, db: Session, rows: Sequence[tuple[int, Row]], source: str, file: str) -> list[Untaken]:
        added: dict[int, Row] = {}
        untaken: list[Untaken] = []
        for song, row in rows:
            if song in added:
                rating = row.rating if row.rating is not None else added[song].rating
                added[song] = dataclasses.replace(added[song], plays=added[song].plays + row.plays, rating=rating)
                untaken.append(Untaken(file, row.line, "folded", ADDED_UP, row))
            else:
                added[song] = row
        of_mine = select(Listen).where(
            Listen.listener_id == self.listener, Listen.listened_at.is_(None), Listen.song_id.in_(list(added))
        )
        there = {listen.song_id: listen for listen in db.scalars(of_mine)}
        counted = select(UndatedPlays).where(
            UndatedPlays.import_id == self.import_id, UndatedPlays.listen_id.in_([x.id for x in there.values()])
        )
        notes = {note.listen_id: note for note in db.scalars(counted)}
        self._add_undated(db, [(song, row) for song, row in added.items() if song not in there], source)
        for song, listen in there.items():
            row, note = added[song], notes.get(listen.id)
            untaken.append(Untaken(file, row.line, "folded", THERE if note is None else ADDED_UP, row))
            if note is None:
                note = UndatedPlays(import_id=self.import_id, listen_id=listen.id, before=listen.plays,
                                    before_rating=listen.rating, counted=0)  # fmt: skip
                db.add(note)
            note.counted += row.plays
            listen.plays = max(listen.plays, note.before or 0, note.counted)
            listen.rating = row.rating if row.rating is not None else listen.rating
        db.flush()
        return untaken

    def _add_undated(self, db: Session, rows: Sequence[tuple[int, Row]], source: str) -> None:
        if not rows:
            return
        values = [self._values(song, row, source) for song, row in rows]
        plays = {song: row.plays for song, row in rows}
        added = db.connection().execute(insert(_LISTENS).returning(_LISTENS.c.id, _LISTENS.c.song_id), values)
        db.execute(insert(UndatedPlays), [
            {"import_id": self.import_id, "listen_id": r.id, "before": None, "before_rating": None,
             "counted": plays[r.song_id]}
            for r in added
        ])  # fmt: skip
        self.report.taken += len(rows)
        self.report.undated += len(rows)

    # -- feedback -------------------------------------------------------------------------------

    def _take_opinions(self, db: Session, said: Sequence[tuple[int, Opinion]], file: str) -> list[Untaken]:
        mine = select(Feedback.song_id).where(
            Feedback.listener_id == self.listener, Feedback.song_id.in_([song for song, _ in said])
        )
        there = set(db.scalars(mine))
        untaken: list[Untaken] = []
        fresh: list[dict[str, Any]] = []
        for song, one in said:
            if song in there:
                untaken.append(Untaken(file, one.line, "folded", "you have said something of this song already", one))
                continue
            there.add(song)
            fresh.append({"listener_id": self.listener, "song_id": song, "verdict": one.verdict, "until": one.until,
                          "created_at": self._clock, "import_id": self.import_id})  # fmt: skip
        if fresh:
            db.connection().execute(insert(_FEEDBACK), fresh)
        self.report.taken += len(fresh)
        self.report.feedback += len(fresh)
        return untaken


def _add_listens(db: Session, values: Sequence[dict[str, Any]]) -> int:
    """Add listens that are not there; how many, -1 if the driver does not say. All dictionaries have the same keys."""
    if db.get_bind().dialect.name != "sqlite":
        return db.connection().execute(upsert(db)(_LISTENS).on_conflict_do_nothing(), values).rowcount
    # Handed to the driver as they are, many rows a statement: every column is a plain number or text, SQLAlchemy's look
    # at each value costs half as much again as SQLite's insert, and so does a statement's own journal for each row.
    columns, one_row = ", ".join(values[0]), f"({', '.join('?' * len(values[0]))})"
    added = 0
    for start in range(0, len(values), _AT_ONCE):
        part = values[start : start + _AT_ONCE]
        statement = f"INSERT INTO listens ({columns}) VALUES {', '.join([one_row] * len(part))} ON CONFLICT DO NOTHING"
        flat = tuple(chain.from_iterable(map(dict.values, part)))
        added += db.connection().exec_driver_sql(statement, flat).rowcount
    return added


def upsert(db: Session) -> Any:
    """The insert of this database that knows ON CONFLICT."""
    return sqlite_insert if db.get_bind().dialect.name == "sqlite" else postgresql_insert


def find_songs(db: Session, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Song ids by (artist key, title key); what is not there is left out."""
    found: dict[tuple[str, str], int] = {}
    columns = select(Song.id, Song.artist_key, Song.title_key)
    for start in range(0, len(keys), 500):
        part = tuple_(Song.artist_key, Song.title_key).in_(keys[start : start + 500])
        found |= {(row.artist_key, row.title_key): row.id for row in db.execute(columns.where(part))}
    return found


def chunks_of(items: Iterator[Item]) -> Iterator[list[Item]]:
    """A stream in chunks of one transaction each."""
    while chunk := list(islice(items, CHUNK)):
        yield chunk


def heartbeat(db: Session, import_id: str, **values: Any) -> None:
    """Write how far an import is."""
    db.execute(update(Import).where(Import.id == import_id).values(**values))
