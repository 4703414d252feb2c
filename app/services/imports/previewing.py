"""What an import would do, found out without writing anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services.importing import ADDED_UP, THERE, find_songs
from app.services.imports.detecting import Source
from app.services.imports.matching import matches
from app.services.imports.reporting import ImportReport, Untaken
from app.services.imports.rows import Item, Opinion
from app.services.plain_format import Dropped, Row
from app.services.text import artist_key, title_key
from app.tables import Feedback, Listen

if TYPE_CHECKING:
    from app.services.imports.account import Plan

_EXAMPLES = 8


class Preview:
    """Counts what would be taken, chunk by chunk. Repeats within the files are seen within a chunk only, so that a
    million rows need no more memory than a thousand."""

    def __init__(self, listener: str) -> None:
        self.listener, self.report = listener, ImportReport()
        self.first: int | None = None
        self.last: int | None = None
        self.examples: list[dict[str, Any]] = []
        self._files: dict[str, dict[str, Any]] = {}
        self._new: set[int] = set()

    def look(self, db: Session, chunk: list[Item], source: Source) -> None:
        """Count a chunk."""
        report = self.report
        report.rows += len(chunk)
        file = self._files.setdefault(source.name, {"rows": 0, "label": source.label, "proven": source.proven,
                                                    "zone_unknown": source.zone_unknown})  # fmt: skip
        file["rows"] += len(chunk)
        for item in chunk:
            if isinstance(item, Dropped):
                report.note(Untaken(source.name, item.line, "dropped", item.reason))
        named = [item for item in chunk if not isinstance(item, Dropped)]
        keys = [(artist_key(item.artist), title_key(item.title)) for item in named]
        ids = find_songs(db, list(set(keys)))
        self._new.update(hash(key) for key in keys if key not in ids)
        # A song that is not there yet has a number of its own below zero, so that repeats in the chunk are seen.
        made_up = {key: -n for n, key in enumerate(dict.fromkeys(keys), 1) if key not in ids}
        songs = [ids.get(key) or made_up[key] for key in keys]
        rows = [(song, item) for song, item in zip(songs, named, strict=True) if isinstance(item, Row)]
        self._dated(db, [(song, row) for song, row in rows if row.at is not None], source)
        self._undated(db, [(song, row) for song, row in rows if row.at is None], source)
        said = [(song, item) for song, item in zip(songs, named, strict=True) if isinstance(item, Opinion)]
        self._opinions(db, said, source)

    def _dated(self, db: Session, rows: list[tuple[int, Row]], source: Source) -> None:
        for (_, row), match in zip(rows, matches(db, self.listener, rows, source.format), strict=True):
            assert row.at is not None
            self.first, self.last = min(row.at, self.first or row.at), max(row.at, self.last or row.at)
            if match is None:
                self.report.taken += 1
                self.report.skips += row.ended == "skipped"
                self._show(row)
            else:
                why = THERE if match.exact else match.why
                self.report.note(Untaken(source.name, row.line, "folded", why, row, soft=not match.exact))

    def _undated(self, db: Session, rows: list[tuple[int, Row]], source: Source) -> None:
        mine = select(Listen.song_id).where(
            Listen.listener_id == self.listener, Listen.listened_at.is_(None), Listen.song_id.in_([s for s, _ in rows])
        )
        there = set(db.scalars(mine)) if rows else set()
        counted: set[int] = set()
        for song, row in rows:
            if song in there or song in counted:
                why = THERE if song in there else ADDED_UP
                self.report.note(Untaken(source.name, row.line, "folded", why, row))
                continue
            counted.add(song)
            self.report.taken += 1
            self.report.undated += 1
            self._show(row)

    def _opinions(self, db: Session, said: list[tuple[int, Opinion]], source: Source) -> None:
        mine = select(Feedback.song_id).where(
            Feedback.listener_id == self.listener, Feedback.song_id.in_([song for song, _ in said])
        )
        there = set(db.scalars(mine)) if said else set()
        for song, one in said:
            if song in there:
                why = "you have said something of this song already"
                self.report.note(Untaken(source.name, one.line, "folded", why, one))
            else:
                there.add(song)
                self.report.taken += 1
                self.report.feedback += 1

    def _show(self, row: Row) -> None:
        if len(self.examples) < _EXAMPLES:
            self.examples.append({"artist": row.artist, "title": row.title, "at": row.at, "ended": row.ended})

    def facts(self, plan: Plan) -> dict[str, Any]:
        """Everything that the preview shows, as plain values."""
        self.report.new_songs = len(self._new)
        return self.report.kept() | {
            "files": [{"name": name} | about for name, about in self._files.items()], "unread": plan.unread[:100],
            "unread_count": len(plan.unread), "first": self.first, "last": self.last, "examples": self.examples,
            "zone_unknown": any(file["zone_unknown"] for file in self._files.values()),
            "unproven": any(not file["proven"] for file in self._files.values()),
            "account": plan.account.facts() if plan.account else None,
        }  # fmt: skip
