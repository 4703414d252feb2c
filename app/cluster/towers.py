"""A listener's tower as a page sees it in a cluster: an encoder replica that has the adapter warm does the work."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from app.errors import AdapterProblem, TooBusy
from app.lm.base import Base
from app.lm.batching import Batcher
from app.lm.centred import Floats
from app.lm.kept import Kept
from app.lm.slots import SlotBank
from app.lm.store import AdapterStore, LoraTensors
from app.lm.towers import Adapter, Question, Towers

log = logging.getLogger("earshot.cluster")

_TRIES = 12
_REST_SECONDS = 0.5
_WAIT_SECONDS = 60.0
_CHECKED = 100_000  # adapters that are known to be whole


class Calls:
    """Calls of encoder replicas. A listener's go to one replica while it lives (consistent hashing of the session)."""

    def __init__(self, handle: Any) -> None:
        """``handle``: Ray Serve's DeploymentHandle of encoder.py."""
        self._handle = handle

    def __call__(self, method: str, listener: str, *arguments: Any) -> Any:
        """The answer; asks another replica if one dies, since nothing that is asked changes anything.

        Raises what the replica raised, or TooBusy when none answers.
        """
        from ray.exceptions import RayError, RayTaskError
        from ray.serve.exceptions import RayServeException

        for number in range(_TRIES):
            try:
                call = getattr(self._handle.options(session_id=listener), method)
                return call.remote(listener, *arguments).result(timeout_s=_WAIT_SECONDS)
            except AdapterProblem:
                raise
            except RayTaskError:
                raise
            except (RayError, RayServeException, TimeoutError) as problem:
                log.warning("encoder: %s; try %d", type(problem).__name__, number + 1)
                time.sleep(_REST_SECONDS)
        raise TooBusy("No encoder answers; please try again in a moment.")


class _Remote(Batcher[Question, Floats]):
    """In place of a batcher: batches are made where the slots are."""

    def __init__(self, calls: Calls) -> None:
        super().__init__(lambda questions: [], 1)
        self._calls = calls

    def ask(self, question: Question) -> Floats:
        """(n, D) of a question's texts."""
        listener, version = question.adapter[0].split("/") if question.adapter else ("", None)
        found: Floats = self._calls("texts", listener, version, list(question.texts))
        return found


def remote_towers(handle: Any) -> Callable[[Base, SlotBank, AdapterStore, int], Towers]:
    """What Engine makes its towers with, for pages whose encoders are elsewhere."""

    def make(base: Base, bank: SlotBank, store: AdapterStore, most_bytes: int) -> Towers:
        return RemoteTowers(base, bank, store, most_bytes, Calls(handle))

    return make


class RemoteTowers(Towers):
    """Vectors are kept here as ever; adapters and slots are the replicas'."""

    def __init__(self, base: Base, bank: SlotBank, store: AdapterStore, most_bytes: int, calls: Calls) -> None:
        super().__init__(base, bank, store, most_bytes)
        self._calls = calls
        self._batcher = _Remote(calls)
        self._whole: Kept[bool] = Kept(_CHECKED)

    def adapter(self, listener: str, version: str) -> Adapter:
        """An adapter that a replica has checked; its numbers stay there. Raises an AdapterProblem."""
        key = f"{listener}/{version}"
        if self._whole.get(key) is None:
            self._calls("check", listener, version)
            self._whole.put(key, True, 1)
        return key, LoraTensors({}, {}, 0)

    def forget(self, listener: str) -> None:
        """Drop everything of a listener from RAM, here and where its requests go."""
        super().forget(listener)
        self._whole.drop(f"{listener}/")
        self._calls("forget", listener)
