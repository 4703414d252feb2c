"""``python -m benchmarks.scaling [--measure | --json]``: the tables of docs/scaling.md from measured unit costs."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from benchmarks.scaling import hits, plan
from benchmarks.scaling.units import RECORDED, measure, one_thread, recorded


def main() -> None:
    """Print the tables as Markdown; with --measure, measure the unit costs anew first and keep them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the plans as JSON")
    parser.add_argument("--measure", action="store_true", help="measure the unit costs on this machine and keep them")
    parser.add_argument("--machine", default="this machine", help="what the record calls the machine")
    parser.add_argument("--date", default="", help="the date of the measurement")
    parser.add_argument("--requests", type=int, default=200_000, help="requests of each simulation of the slots")
    chosen = parser.parse_args()
    if chosen.measure:
        one_thread()
        RECORDED.write_text(measure(chosen.machine, chosen.date).as_json(), encoding="utf-8")
    units = recorded()
    plans = plan.all_plans(units)
    if chosen.json:
        print(json.dumps([asdict(each) for each in plans], indent=1))
        return
    print(plan.units_table(units), plan.plans_table(plans), sep="\n")
    print(hits.table(hits.cases(), chosen.requests))


if __name__ == "__main__":
    main()
