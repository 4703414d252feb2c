"""How often an adapter is in a slot already, by simulation: Zipf traffic through the cache that serves.

Slots are app/lm/slots.py itself, over a stand-in base whose matrices have one number, since only which adapter takes
which slot is asked. Adapters in RAM are app/lm/kept.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from app.lm.base import Base
from app.lm.kept import Kept
from app.lm.slots import SlotBank
from app.lm.store import LoraTensors

_MOST_LISTENERS = 2_000_000  # of one replica, drawn with their popularity


class _SmallBase:
    """As much of a base as slots ask for: one matrix of one number."""

    targets = ("matrix",)

    def upper_network(self) -> nn.Module:
        return nn.ModuleDict({"matrix": nn.Linear(1, 1)})


@dataclass(frozen=True, slots=True)
class Case:
    """A cluster and its traffic. skew: Zipf's exponent; kept: adapters in RAM of a replica; at_home: whether a
    listener's requests go to one replica (consistent hashing) or to any."""

    listeners: int
    replicas: int
    slots: int
    kept: int
    skew: float
    at_home: bool = True


@dataclass(frozen=True, slots=True)
class Hits:
    """Shares of requests whose adapter was in a slot, and whose adapter was in a slot or in RAM."""

    slot: float
    ram: float


def popularity(listeners: int, skew: float, of_all: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """(n,) cumulated shares of the requests of ``listeners`` whose ranks are a random part of ``of_all``."""
    ranks = np.arange(1, of_all + 1) if listeners == of_all else draw.integers(1, of_all + 1, listeners)
    weights = ranks.astype(np.float64) ** -skew
    shares: NDArray[np.float64] = np.cumsum(weights / weights.sum())
    return shares


def simulate(case: Case, requests: int, seed: int = 1) -> Hits:
    """Send requests through one replica; the first half only warms it up."""
    draw = np.random.default_rng(seed)
    mine = max(1, case.listeners // case.replicas) if case.at_home else case.listeners
    if mine > _MOST_LISTENERS:  # the tail beyond is asked for so rarely that it misses whoever it is
        mine = _MOST_LISTENERS
    shares = popularity(mine, case.skew, case.listeners, draw)
    asked = np.minimum(np.searchsorted(shares, draw.random(requests)), mine - 1)
    bank = SlotBank(cast(Base, _SmallBase()), 1, case.slots)
    ram: Kept[int] = Kept(case.kept)
    one = torch.zeros(1, 1)
    tensors = LoraTensors({"matrix": one}, {"matrix": one}, 1, torch.zeros(2))
    slot_hits = ram_hits = 0
    for number, listener in enumerate(asked.tolist()):
        key = f"{listener:016x}"
        warm, near = bank.resident(key), ram.get(key) is not None
        if number >= requests // 2:
            slot_hits += warm
            ram_hits += warm or near
        bank.put(key, tensors)
        if not near:
            ram.put(key, listener, 1)
    counted = requests - requests // 2
    return Hits(slot_hits / counted, ram_hits / counted)


def cases() -> Iterator[Case]:
    """What docs/scaling.md shows."""
    for skew in (0.8, 1.0, 1.2):
        yield Case(200, 1, 64, 1150, skew)
        yield Case(10_000, 1, 64, 1150, skew)
        yield Case(10_000, 2, 64, 1150, skew, at_home=False)
        yield Case(10_000, 2, 64, 1150, skew)
        yield Case(1_000_000, 20, 1000, 25_000, skew, at_home=False)
        yield Case(1_000_000, 20, 1000, 25_000, skew)
        yield Case(100_000_000, 1000, 1000, 100_000, skew)


def table(wanted: Iterator[Case], requests: int) -> str:
    """Markdown."""
    lines = [
        "| listeners | replicas | sent to | slots | kept in RAM | Zipf exponent | in a slot | in a slot or in RAM |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case in wanted:
        found: Any = simulate(case, requests)
        lines.append(
            f"| {case.listeners:,} | {case.replicas:,} | {'their own' if case.at_home else 'any'} | {case.slots:,} "
            f"| {case.kept:,} | {case.skew} | {100 * found.slot:.1f} % | {100 * found.ram:.1f} % |"
        )
    return "\n".join(lines) + "\n"
