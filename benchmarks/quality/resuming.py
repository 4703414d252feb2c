"""Results a case, appended to a file as they come, so that a killed run goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def digest_of(settings: Mapping[str, Any], sources: Iterator[Path]) -> str:
    """16 hex digits for settings and for the code that computes the results."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for source in sources:
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()[:16]


class Results:
    """One JSON line a case. A line that a kill cut short is dropped when the file is opened again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: dict[str, Record] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = b""
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break
                try:
                    record = json.loads(line)
                    self.done[record["key"]] = record
                except (ValueError, KeyError, TypeError):
                    break
                whole += line
        path.write_bytes(whole)

    @contextmanager
    def appending(self) -> Iterator[Any]:
        """A function that keeps one record, on disk before it returns."""
        with self.path.open("ab") as stream:

            def keep(record: Record) -> None:
                stream.write(json.dumps(record, sort_keys=True, allow_nan=False).encode() + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
                self.done[record["key"]] = record

            yield keep
