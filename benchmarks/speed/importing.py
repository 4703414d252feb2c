"""Listens imported a second, as benchmarks/imports.py measures it, beside the ORM row by row."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import imports
from benchmarks.speed.place import Place
from benchmarks.speed.table import Row


def measure(place: Place, quick: bool) -> Iterator[Row]:
    """import_per_s, by the clock."""
    count = 20_000 if quick else 1_000_000
    ours, stock = imports.alone("ours", count), imports.alone("row_by_row", imports.BY_ROW)
    mine, theirs = ours["listens"] / ours["run_s"], stock["listens"] / stock["run_s"]
    yield Row(
        "import_per_s", f"listens imported a second, {count:,} rows", mine, "/s", "≥20×", mine / theirs >= 20, theirs,
        "row_by_row_per_s", "the ORM row by row", mine / theirs,
    )  # fmt: skip
