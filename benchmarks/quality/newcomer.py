"""The rows of somebody who named five artists and played nothing yet: what the circle's adapter and friends say."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence

from app.errors import BadInput
from app.lm.asking import CIRCLE, Own
from app.lm.circle import train_circle
from app.lm.engine import Engine
from app.lm.vectors import Floats
from benchmarks.quality.data import Dataset
from benchmarks.quality.personal import Personal
from benchmarks.quality.protocol import Case, number_of, weight


def of_circle(engine: Engine, data: Dataset, case: Case, own: Sequence[Own], off: Floats) -> Personal:
    """Train the circle's adapter on the listener's nineteen others, and ask it. Nothing is left on disk."""
    version = f"{0:016x}"
    _clear(engine)  # a killed run's
    try:
        outcome = train_circle(engine, version, members(data, case), seed=number_of("train", case.key) % 2**31)
        on = engine.score(CIRCLE, version, own)[0].copy()
    except BadInput:
        return Personal(off, off, None, 0.0)
    finally:
        _clear(engine)
    promoted = outcome.verdict.promoted
    return Personal(on, on if promoted else off, promoted, outcome.seconds)


def _clear(engine: Engine) -> None:
    engine.forget(CIRCLE)
    shutil.rmtree(engine.store.root / CIRCLE, ignore_errors=True)


def members(data: Dataset, case: Case) -> Mapping[str, list[Own]]:
    """The others' songs as the product takes them, the weightiest first."""
    found = {}
    for other in case.circle:
        own = [Own(x.song, data.songs[x.song].text, weight(x)) for x in data.listens[other]]
        found[other] = sorted(own, key=lambda song: (-abs(song.weight), song.id))
    return found
