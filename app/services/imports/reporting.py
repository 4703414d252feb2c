"""What became of the rows: counts, a reason for each that was not taken, and the file that lists them all."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from app.services.imports.own_csv import defused
from app.services.imports.rows import Opinion
from app.services.plain_format import Dropped, Row

Outcome = Literal["folded", "dropped"]
_REASONS_KEPT = 1000
_KINDS_KEPT = 40
_LINES_KEPT = 5
_VALUES = re.compile(r"'(?:[^'\\]|\\.)*…?'|\"(?:[^\"\\]|\\.)*…?\"|\d[\d,.:-]*(?: \d\d:\d\d UTC)?")
HEADER = ("file", "row", "outcome", "reason", "artist", "title", "time_utc")


@dataclass(frozen=True, slots=True)
class Untaken:
    """One row that was not taken. ``soft`` ones are kept beside the listens and can be counted after all."""

    file: str
    line: int
    outcome: Outcome
    reason: str
    row: Row | Opinion | None = None
    soft: bool = False


@dataclass(slots=True)
class ImportReport:
    """Every row is accounted for: rows = taken + folded + dropped.

    Of those taken, ``skips`` were short plays, ``undated`` have no time and ``feedback`` are words on songs; of those
    folded, ``soft`` are soft duplicates. ``kinds`` counts reasons with their values left out.
    """

    rows: int = 0
    taken: int = 0
    folded: int = 0
    dropped: int = 0
    soft: int = 0
    skips: int = 0
    undated: int = 0
    feedback: int = 0
    new_songs: int = 0
    kinds: dict[str, dict[str, Any]] = field(default_factory=dict)
    reasons: list[Dropped] = field(default_factory=list)

    def note(self, one: Untaken) -> None:
        """Count a row that was not taken; the first thousand dropped ones keep their line and reason."""
        self.soft += one.soft
        self.count(one.outcome, one.reason, 1, one.line)
        if one.outcome == "dropped" and len(self.reasons) < _REASONS_KEPT:
            self.reasons.append(Dropped(one.line, one.reason))

    def count(self, outcome: Outcome, reason: str, number: int, line: int | None = None) -> None:
        """Count rows under one reason."""
        if outcome == "folded":
            self.folded += number
        else:
            self.dropped += number
        kind = reason if reason in self.kinds else _VALUES.sub("…", reason)
        if kind not in self.kinds and len(self.kinds) >= _KINDS_KEPT:
            kind = "other reasons"
        seen = self.kinds.setdefault(kind, {"outcome": outcome, "count": 0, "lines": []})
        seen["count"] += number
        if line is not None and len(seen["lines"]) < _LINES_KEPT:
            seen["lines"].append(line)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for --json."""
        return self.kept() | {"reasons": [{"line": r.line, "reason": r.reason} for r in self.reasons]}

    def kept(self) -> dict[str, Any]:
        """What the import's row keeps: everything but the single reasons, which are in the file."""
        return {name: value for name, value in asdict(self).items() if name != "reasons"}

    @classmethod
    def again(cls, kept: dict[str, Any]) -> ImportReport:
        """A report to go on with after a stop."""
        return cls(**{name: value for name, value in kept.items() if name in cls.__dataclass_fields__})


def as_csv(untaken: Sequence[Untaken], header: bool = False) -> bytes:
    """Lines of the file that lists every row that was not taken; cells are no formulas."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(HEADER)
    for one in untaken:
        outcome = "soft duplicate" if one.soft else one.outcome
        row = one.row
        at = row.at if isinstance(row, Row) else None
        spoken = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S") if at is not None else ""
        names = (defused(row.artist), defused(row.title)) if row else ("", "")
        writer.writerow((defused(one.file), one.line, outcome, defused(one.reason), *names, spoken))
    return text.getvalue().encode("utf-8", "backslashreplace")
