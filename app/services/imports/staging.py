"""Where the files of imports lie until they are read: ``data/imports/<listener>/<import>/``, for the owner's eyes only.

A listener has one staged import at a time, so that what is kept is bounded; the list of rows that were not taken stays.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from app.errors import BadInput, NotFound

_ID = re.compile(r"[0-9a-f]{16}")
_PIECE = 1 << 20
MOST_FILES = 200
MOST_REPORT = 50_000_000


@dataclass(frozen=True, slots=True)
class Staging:
    """All staged imports below one folder."""

    root: Path

    def folder(self, listener: str, import_id: str) -> Path:
        """An import's folder; ids are opaque and of one width, so none is a path."""
        if not _ID.fullmatch(listener) or not _ID.fullmatch(import_id):
            raise NotFound("There is no such import.")
        return self.root / listener / import_id

    def keep(
        self, listener: str, import_id: str, files: Sequence[tuple[str, BinaryIO]], most: int
    ) -> list[dict[str, object]]:
        """Copy files in; gives name and size of each. Raises BadInput for none, too many or too much."""
        if not files:
            raise BadInput("No file was chosen.")
        if len(files) > MOST_FILES:
            raise BadInput(f"{len(files)} files were chosen; at most {MOST_FILES} are taken. A zip holds more.")
        folder = self._made(listener, import_id)
        kept: list[dict[str, object]] = []
        left = most
        for place, (name, stream) in enumerate(files):
            size = 0
            with (folder / str(place)).open("wb") as out:
                while piece := stream.read(_PIECE):
                    size += len(piece)
                    if size > left:
                        raise BadInput(f"The files have more than {most:,} bytes, the most that is taken at once.")
                    out.write(piece)
            left -= size
            kept.append({"name": name, "size": size})
        if not any(one["size"] for one in kept):
            raise BadInput("The file is empty.")
        return kept

    def _made(self, listener: str, import_id: str) -> Path:
        folder = self.folder(listener, import_id)
        folder.mkdir(parents=True, exist_ok=True)
        for path in (self.root, self.root / listener, folder):
            path.chmod(0o700)
        return folder

    def paths(self, listener: str, import_id: str, files: Sequence[dict[str, object]]) -> list[tuple[str, Path]]:
        """(name, path) of the files of an import that are still there."""
        folder = self.folder(listener, import_id)
        found = [(str(one["name"]), folder / str(place)) for place, one in enumerate(files)]
        return [(name, path) for name, path in found if path.is_file()]

    def report(self, listener: str, import_id: str) -> Path:
        """The list of rows that were not taken."""
        return self.folder(listener, import_id) / "report.csv"

    def write_report(self, listener: str, import_id: str, at: int, lines: bytes) -> int:
        """Write lines at an offset, dropping what a kill left behind it; gives the new end."""
        if at + len(lines) > MOST_REPORT:
            return at
        path = self._made(listener, import_id) / "report.csv"
        with path.open("r+b" if path.exists() else "w+b") as out:
            out.truncate(at)
            out.seek(at)
            out.write(lines)
        return at + len(lines)

    def forget_files(self, listener: str, import_id: str) -> None:
        """Remove the staged files; the report stays."""
        folder = self.folder(listener, import_id)
        for path in folder.glob("*") if folder.is_dir() else ():
            if path.name != "report.csv":
                path.unlink(missing_ok=True)

    def remove(self, listener: str, import_id: str | None = None) -> None:
        """Remove everything of an import, or of a listener."""
        folder = self.folder(listener, import_id) if import_id else self.folder(listener, "0" * 16).parent
        shutil.rmtree(folder, ignore_errors=True)

    def sweep(self, known: Collection[tuple[str, str]]) -> int:
        """Remove the folders of imports that no row speaks of; returns how many."""
        there = [path for path in self.root.glob("*/*") if path.is_dir()]
        lost = [path for path in there if (path.parent.name, path.name) not in known]
        for path in lost:
            shutil.rmtree(path, ignore_errors=True)
        return len(lost)
