"""Encode songs that just joined the catalogue, beside the request that brought them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from app.errors import EarshotError
from app.services import encoding

if TYPE_CHECKING:
    from app.web.rendering import State

log = logging.getLogger("earshot.encoding")

_PART = 256


class EncodingLater:
    """One thread, alive only while there is something to do. What a stop leaves undone, the next start encodes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: set[int] = set()
        self._thread: threading.Thread | None = None

    def add(self, state: State, song_ids: Iterable[int]) -> None:
        """Encode these songs soon."""
        with self._lock:
            self._waiting |= set(song_ids)
            if self._waiting and self._thread is None:
                self._thread = threading.Thread(target=self._run, args=(state,), name="encode-later", daemon=True)
                self._thread.start()

    def _next(self) -> list[int]:
        with self._lock:
            part = sorted(self._waiting)[:_PART]
            self._waiting -= set(part)
            if not part:
                self._thread = None
            return part

    def _run(self, state: State) -> None:
        while part := self._next():
            try:
                encode(state, part)
            except EarshotError as problem:
                log.warning("%d new songs are not encoded yet: %s", len(part), problem)
            except Exception:  # a bug must not leave the thread's place taken for ever
                log.exception("%d new songs are not encoded yet", len(part))

    def stop(self) -> None:
        """Forget what waits, and let the part under way end."""
        with self._lock:
            self._waiting.clear()
            thread = self._thread
        if thread is not None:
            thread.join()

    def wait(self) -> None:
        """Until everything is encoded."""
        thread = self._thread
        if thread is not None:
            thread.join()


def encode(state: State, song_ids: list[int]) -> None:
    """Encode songs and guess genres for those that have none; waits for the base. Raises a BaseProblem."""
    encoding.encode(state.db, state.engine.get(), state.kinds.song_text, song_ids)


def encode_soon(state: State, song_ids: list[int]) -> None:
    """Encode songs that are stored already: at once, so that others can be recommended them, or else beside.

    Never raises for the base's sake: whoever brought them would be told that nothing was done.
    """
    if not state.engine.ready:
        state.later.add(state, song_ids)
        return
    try:
        encode(state, song_ids)
    except EarshotError as problem:
        log.warning("%d new songs are not encoded yet: %s", len(song_ids), problem)
