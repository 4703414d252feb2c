"""From records to a table, and to the one JSON object that ``--json`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.quality.measures import METRICS, Gain, bootstrap, by_listener, gain
from benchmarks.quality.resuming import Record
from benchmarks.quality.running import ADAPTER_ROWS, ROWS, row_name


def circles_line(circles: str, friends: bool) -> str:
    """Which circles the table is of, and that the other kind could be asked for where the set knows friends."""
    if circles == "friends":
        return "circles of friends, filled up at random" if friends else "circles at random: the set knows no friends"
    return "circles at random" + ("; circles of the set's friends: --circles friends" if friends else "")


def main_metric(task: str) -> str:
    """The metric that intervals and gains are of."""
    return "auc" if task == "likes" else "ndcg@10"


def values_of(records: Sequence[Record], row: str, metric: str) -> list[float] | None:
    """One value a listener, in the same order for every row; None if the task has no such row or metric."""
    groups = {r["key"]: r["group"] for r in records}
    if row not in records[0]["rows"] or records[0]["rows"][row][metric] is None:
        return None
    return list(by_listener({r["key"]: r["rows"][row][metric] for r in records}, groups).values())


def gain_of(records: Sequence[Record], row: str, task: str, base: str = "base") -> Gain:
    """The paired gain of one row over another in the task's main metric."""
    over, under = values_of(records, row, main_metric(task)), values_of(records, base, main_metric(task))
    assert over is not None and under is not None
    return gain(over, under)


def as_json(records: Sequence[Record], task: str, data: str) -> dict[str, Any]:
    """The object of ``--json``: metrics that a task does not have are None."""
    rows = []
    for name, regime in ROWS:
        row = row_name(name, regime)
        listeners = values_of(records, row, main_metric(task))
        if listeners is None:
            continue
        sure = bootstrap(np.array(listeners, np.float64))
        means = {metric: _mean(values_of(records, row, metric)) for metric in METRICS}
        rows.append(
            {"name": name, "regime": regime, **means, "ci_low": sure.low, "ci_high": sure.high}
            | {"seconds_per_listener": _seconds(records, row)}
        )
    found = gain_of(records, "adapter-gated", task)
    difference = found.difference
    return {
        "task": task,
        "data": data,
        "listeners": len({r["group"] for r in records}),
        "rows": rows,
        "gain": {
            "ndcg@10": difference.mean if task != "likes" else None,
            "auc": difference.mean if task == "likes" else None,
            "ci_low": difference.low,
            "ci_high": difference.high,
            "relative": found.relative,
            "better_share": found.better,
            "worse_share": found.worse,
        },
    }


def _mean(values: list[float] | None) -> float | None:
    return None if values is None else float(np.mean(values))


def _seconds(records: Sequence[Record], row: str) -> float:
    """Seconds of all questions of a listener, averaged over listeners."""
    total: float = sum(r["rows"][row]["seconds"] for r in records)
    return total / len({r["group"] for r in records})


def as_markdown(records: Sequence[Record], task: str) -> str:
    """The table for people: every row with its interval, adapter rows with the paired difference to the base too."""
    metric = main_metric(task)
    shown = [m for m in METRICS if values_of(records, "base", m) is not None]
    lines = [
        f"| row | regime | {' | '.join(shown)} | 95 % interval of {metric} | s a listener | against base, paired |",
        "|" + "---|" * (len(shown) + 5),
    ]
    for name, regime in ROWS:
        row = row_name(name, regime)
        listeners = values_of(records, row, metric)
        if listeners is None:
            continue
        sure = bootstrap(np.array(listeners, np.float64))
        cells = [f"{_mean(values_of(records, row, m)):.4f}" for m in shown]
        versus = _versus(gain_of(records, row, task)) if name in (*ADAPTER_ROWS, "base-signed") else ""
        interval = f"{sure.low:.4f} to {sure.high:.4f}"
        lines.append(
            f"| {name} | {regime or ''} | {' | '.join(cells)} | {interval} | {_seconds(records, row):.2f} | {versus} |"
        )
    verdicts = [r["promoted"] for r in records if r["promoted"] is not None]
    share = f"{sum(verdicts) / len(verdicts):.0%}" if verdicts else "none"
    lines += ["", f"Adapters trained: {len(verdicts)}; let live by the gate: {share}."]
    return "\n".join(lines)


def _versus(found: Gain) -> str:
    relative = "" if found.relative is None else f" ({found.relative:+.1%})"
    sure = found.difference
    return (
        f"{sure.mean:+.4f}{relative} [{sure.low:+.4f}, {sure.high:+.4f}], {found.better:.0%} up, {found.worse:.0%} down"
    )
