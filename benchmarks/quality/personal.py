"""The rows of the personal adapter: trained, gated and asked by the product's engine, as a retrain does it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import BadInput
from app.lm.asking import Own
from app.lm.engine import Engine
from app.lm.vectors import Floats
from benchmarks.quality.protocol import Case, number_of
from benchmarks.quality.towers import wish_of


@dataclass(frozen=True, slots=True)
class Personal:
    """Scores (N,) of the catalogue: with the adapter whatever the gate says, and with what the gate lets live.

    promoted: the gate's verdict, None if the history was too short to train on. seconds: of training and gate.
    """

    ungated: Floats
    gated: Floats
    promoted: bool | None
    seconds: float


def personal(engine: Engine, case: Case, own: Sequence[Own], off: Floats, least: int) -> Personal:
    """Retrain one listener; ``off`` are the scores with the adapter off. Nothing is left on disk.

    Below ``least`` songs logged the product does not train; the ungated row does wherever the engine can.
    """
    listener = f"{number_of('listener', case.key):016x}"
    version = f"{0:016x}"
    folder = engine.store.root / listener
    shutil.rmtree(folder, ignore_errors=True)  # a killed run's
    try:
        outcome = engine.train(listener, version, own, seed=number_of("train", case.key) % 2**31)
        on = engine.score(listener, version, own, wish_of(case))[0]
    except BadInput:
        return Personal(off, off, None, 0.0)
    finally:
        engine.forget(listener)
        shutil.rmtree(folder, ignore_errors=True)
    promoted = outcome.verdict.promoted and case.logged >= least
    return Personal(on, on if promoted else off, promoted, outcome.seconds)
