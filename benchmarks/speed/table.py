"""What was measured: one row a key, ours beside the stock way and the limit, in words and in JSON."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement. ``faster`` is how many times better than stock; figures are the best of alternating runs."""

    key: str
    what: str
    ours: float
    unit: str
    target: str
    met: bool | None = None
    stock: float | None = None
    stock_key: str = ""
    stock_what: str = ""
    ratio: float | None = None
    limit: float | None = None
    limit_what: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)


def seconds(run: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def best(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The least seconds of each of several ways, run in turn so that a busy moment hits all of them alike."""
    least = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            least[name] = min(least[name], seconds(run))
    return least


def quantile(values: list[float], share: float) -> float:
    """The value below which that share of them lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def machine() -> dict[str, Any]:
    """Where it ran, as far as it matters."""
    flags = _cpuinfo("flags").split()
    return {
        "processor": _cpuinfo("model name"),
        "cores": os.cpu_count(),
        "bf16": sorted({"avx512_bf16", "amx_bf16"} & set(flags)),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
        "date": str(date.today()),
    }


def _cpuinfo(name: str) -> str:
    with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "")


def as_json(rows: list[Row], before: Mapping[str, Any]) -> dict[str, Any]:
    """Flat keys: every row's, its stock key's, and what else a row has to say."""
    flat: dict[str, Any] = {}
    for row in rows:
        flat[row.key] = row.ours
        if row.stock_key:
            flat[row.stock_key] = row.stock
        if row.limit is not None:
            flat[f"{row.key}_limit"] = row.limit
        flat.update(row.more)
    return flat | {"machine": dict(before), "load_after": round(os.getloadavg()[0], 1)}


def as_markdown(rows: list[Row], before: Mapping[str, Any], command: str) -> str:
    """benchmarks/speed.md."""
    lines = [
        "# Speed", "",
        f"{before['date']}; {before['cores']} cores, {before['processor']}, {', '.join(before['bf16']) or 'no bf16'}; "
        f"load {before['load']} before, {os.getloadavg()[0]:.1f} after; `{command}`.", "",
        "| key | what | ours | stock way | ratio | limit | to reach | met |", "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in rows:
        stock = "" if row.stock is None else f"{_number(row.stock)} ({row.stock_what})"
        limit = "" if row.limit is None else f"{_number(row.limit)} ({row.limit_what})"
        ratio = "" if row.ratio is None else f"{_number(row.ratio)}×"
        met = {None: "", True: "yes", False: "**no**"}[row.met]
        lines.append(
            f"| `{row.key}` | {row.what} | {_number(row.ours)} {row.unit} | {stock} | {ratio} | {limit} "
            f"| {row.target} | {met} |"
        )
    lines += ["", "More of the same run:", ""]
    lines += [f"- `{key}`: {value}" for row in rows for key, value in row.more.items()]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
