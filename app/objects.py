"""Files on storage that several machines share: named bytes below one fsspec URL.

A folder, ``file://`` and NFS work with what is installed; ``s3://`` needs the extra ``storage``. A file is there wholly
or not at all: object stores promise it, and in folders a file is renamed into place.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.errors import BadInput, StorageProblem


class Objects:
    """All methods may be called from any thread. Names are relative, with ``/`` between their parts.

    Each raises StorageProblem if the storage does not answer or refuses.
    """

    def __init__(self, url: str) -> None:
        """``url``: a folder, or what fsspec takes. Raises BadInput for one that cannot be used here."""
        from fsspec.core import url_to_fs

        self.url = url
        options: dict[str, Any] = {"use_listings_cache": False} if url.startswith(("s3:", "s3a:")) else {}
        try:
            self._files, root = url_to_fs(url, **options)
        except (ImportError, ValueError) as problem:
            raise BadInput(f"EARSHOT_STORAGE is {url!r}, which cannot be used: {problem}") from None
        self._root = str(root).rstrip("/")
        self._is_folder = "file" in self._files.protocol

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextmanager
    def _named(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as problem:  # each storage has errors of its own; none of them is ours to tell apart
            raise StorageProblem(f"{name} at {self.url}: {type(problem).__name__}: {problem}") from problem

    def get(self, name: str) -> bytes:
        """The bytes of a file. Raises FileNotFoundError."""
        with self._named(name):
            found: bytes = self._files.cat_file(self._path(name))
            return found

    def put(self, name: str, data: bytes) -> None:
        """Write a file, or replace it."""
        with self._named(name):
            if self._is_folder:
                _write_whole(Path(self._path(name)), data)
            else:
                self._files.pipe_file(self._path(name), data)

    def exists(self, name: str) -> bool:
        """Whether a file is there now."""
        with self._named(name):
            return bool(self._files.exists(self._path(name)))

    def names(self, prefix: str) -> list[str]:
        """Every file below a folder, sorted, as names that ``get`` takes."""
        with self._named(prefix):
            self._files.invalidate_cache()
            try:
                found = self._files.find(self._path(prefix))
            except FileNotFoundError as problem:  # an empty folder has no files; a bucket that is missing is a mistake
                raise StorageProblem(f"{self.url}: {problem}") from problem
            names = (str(path)[len(self._root) + 1 :] for path in found)
            return sorted(name for name in names if not Path(name).name.startswith(".writing-"))

    def age(self, name: str) -> float:
        """Seconds since a file was written."""
        from datetime import UTC, datetime

        with self._named(name):
            written = self._files.modified(self._path(name))
            if written.tzinfo is None:
                written = written.replace(tzinfo=UTC)
            return float((datetime.now(UTC) - written).total_seconds())

    def remove(self, names: list[str]) -> None:
        """Delete files, in this order; those that are gone already are no error."""
        for name in names:
            with self._named(name):
                try:
                    self._files.rm_file(self._path(name))
                except FileNotFoundError:
                    continue

    def remove_below(self, prefix: str) -> int:
        """Delete every file below a folder; returns how many."""
        names = self.names(prefix)
        self.remove(names)
        if self._is_folder and names:
            with self._named(prefix):
                self._files.rm(self._path(prefix), recursive=True)
        return len(names)


def _write_whole(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, half = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(half).rename(path)
    except BaseException:
        Path(half).unlink(missing_ok=True)
        raise
