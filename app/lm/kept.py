"""What is kept in RAM because it may be asked for again: bounded in bytes, the longest unused goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """A cache of values by string key. All methods may be called from any thread."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes, self.bytes = most_bytes, 0
        self._values: OrderedDict[str, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> Value | None:
        """A value, which counts as used now."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: str, value: Value, size: int) -> None:
        """Keep a value of ``size`` bytes in place of the key's old one; one larger than all room is not kept."""
        with self._lock:
            self._drop(key)
            if size > self.most_bytes:
                return
            self._values[key] = (value, size)
            self.bytes += size
            while self.bytes > self.most_bytes:
                self._drop(next(iter(self._values)))

    def _drop(self, key: str) -> None:
        found = self._values.pop(key, None)
        if found is not None:
            self.bytes -= found[1]

    def drop(self, prefix: str) -> list[str]:
        """Forget every key that begins so; returns them."""
        with self._lock:
            gone = [key for key in self._values if key.startswith(prefix)]
            for key in gone:
                self._drop(key)
            return gone
