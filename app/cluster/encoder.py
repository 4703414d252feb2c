"""An encoder replica: the base and a slot bank of its own; texts through listeners' adapters, whoever asks."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import BaseAltered, StorageProblem
from app.lm.centred import Floats
from app.lm.engine import Engine
from app.opening import open_engine
from app.settings import Settings

_LOOK_SECONDS = 600.0


def same_base(engine: Engine, fingerprint: str) -> Engine:
    """The engine, if its base is the one that the cluster serves: vectors of two bases must never meet.

    Raises BaseAltered.
    """
    if engine.fingerprint != fingerprint:
        raise BaseAltered(
            f"This machine's base or music adapter has the fingerprint {engine.fingerprint[:12]}, the cluster's has "
            f"{fingerprint[:12]}: every machine needs the same Earshot and the same models/."
        )
    return engine


@dataclass(frozen=True, slots=True)
class Told:
    """What a replica says of itself."""

    node: str
    pid: int
    fingerprint: str
    answered: int
    listeners: tuple[str, ...]


class Encoder:
    """Its methods run in threads of the replica; what arrives while a batch is computed is the next batch, whoever
    asks for it (lm/batching.py), so listeners share forward passes."""

    def __init__(self, settings: Settings, fingerprint: str, threads: int = 1) -> None:
        """Loads the base. Raises a BaseProblem, also if it is not the one of that fingerprint."""
        self._engine: Engine = same_base(open_engine(settings, threads), fingerprint)
        self._lock = threading.Lock()
        self._answered: dict[str, int] = {}
        self._looked = time.monotonic()

    def check(self, listener: str, version: str) -> None:
        """Read an adapter and check it, so that it is warm. Raises an AdapterProblem."""
        self._engine.adapter(listener, version)

    def texts(self, listener: str, version: str | None, texts: Sequence[str]) -> Floats:
        """(n, D) of texts through a listener's adapter, or through the base. Raises an AdapterProblem."""
        adapter = None if version is None else self._engine.adapter(listener, version)
        found = self._engine.towers.texts(adapter, texts)
        with self._lock:
            self._answered[listener] = self._answered.get(listener, 0) + 1
        self._forget_gone()
        return found

    def forget(self, listener: str) -> None:
        """Drop everything of a listener from RAM."""
        self._engine.forget(listener)
        with self._lock:
            self._answered.pop(listener, None)

    def told(self) -> Told:
        """Where this is, and whom it has answered."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        with self._lock:
            counts = dict(self._answered)
        return Told(node, os.getpid(), self._engine.fingerprint, sum(counts.values()), tuple(sorted(counts)))

    def _forget_gone(self) -> None:
        """Now and then: adapters that were deleted elsewhere leave this machine's cache."""
        with self._lock:
            if time.monotonic() - self._looked < _LOOK_SECONDS:
                return
            self._looked = time.monotonic()
        try:
            self._engine.store.forget_gone()
        except StorageProblem:
            return  # they leave at the next look
