"""``python -m benchmarks.speed [--json] [--quick] [--only PART …]``: ours, the stock way and the limit in one run."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from app.settings import PROJECT
from benchmarks.speed import adapters, asking, encoding, importing, nearest, training
from benchmarks.speed.place import Place
from benchmarks.speed.table import Row, as_json, as_markdown, machine

PARTS: dict[str, Callable[[Place, bool], Iterator[Row]]] = {
    "adapters": adapters.measure,
    "encoding": encoding.measure,
    "asking": asking.measure,
    "training": training.measure,
    "nearest": nearest.measure,
    "importing": importing.measure,
}


def main() -> None:
    """Measure, print, and write benchmarks/speed.md unless only some parts were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--quick", action="store_true", help="small counts, to see that it runs; writes nothing")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), help="parts to measure")
    parser.add_argument("--work", type=Path, help="a folder that keeps the encoded songs between runs")
    parser.add_argument("--threads", type=int, default=0, help="numeric threads of this process; 0 is every core")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    before = machine()
    with tempfile.TemporaryDirectory() as temporary:
        place = Place(chosen.work or Path(temporary), 600 if chosen.quick else 10_000, chosen.threads)
        rows: list[Row] = []
        for name in chosen.only:
            for row in PARTS[name](place, chosen.quick):
                rows.append(row)
                print(f"{row.key}: {row.ours:.4g} {row.unit}", file=sys.stderr, flush=True)
        place.db.close()
    command = f"python -m benchmarks.speed --threads {chosen.threads}"
    if chosen.only != list(PARTS):
        command += f" --only {' '.join(chosen.only)}"
    table = as_markdown(rows, before, command)
    print(json.dumps(as_json(rows, before), indent=1) if chosen.json else table)
    if not chosen.quick and chosen.only == list(PARTS):
        (PROJECT / "benchmarks" / "speed.md").write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
