"""The files of an import: a file, a folder or a zip, checked before anything in it is read.

Nothing is ever unpacked to disk: entries are read as streams, under their own names only in reports.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from app.errors import BadInput
from app.services.text import show

MOST_ENTRIES = 5_000
MOST_UNPACKED = 2_000_000_000
_MOST_RATIO = 200  # text packs to a tenth or a twentieth; what packs a thousandfold is a bomb
_SMALL = 1_000_000  # below this a ratio says nothing
_ENCRYPTED = 0x1
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_HEADER = 30  # bytes of a local header before its name


@dataclass(frozen=True, slots=True)
class Member:
    """One file that may hold listens. ``open`` gives a new stream from its beginning."""

    name: str
    size: int
    open: Callable[[], BinaryIO]


@contextmanager
def opened(paths: Sequence[tuple[str, Path]]) -> Iterator[list[Member]]:
    """The files behind (name, path), zips and folders looked into. Raises BadInput for what must not be read."""
    with ExitStack() as stack:
        found: list[Member] = []
        for name, path in paths:
            found += _within(stack, name, path)
        if not found:
            raise BadInput(f"{paths[0][0] if paths else 'The upload'} holds no files.")
        yield found


def _within(stack: ExitStack, name: str, path: Path) -> Iterator[Member]:
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.is_file() and not file.is_symlink()]
        if len(files) > MOST_ENTRIES:
            raise BadInput(f"{name} holds {len(files):,} files; at most {MOST_ENTRIES:,} are read.")
        for file in files:
            yield from _within(stack, str(file.relative_to(path)), file)
        return
    try:
        with path.open("rb") as stream:
            head = stream.read(4)
        size = path.stat().st_size
    except FileNotFoundError:
        raise BadInput(f"There is no file {path.name} at {path.parent}.") from None
    except OSError as problem:
        raise BadInput(f"{path} cannot be read: {problem.strerror}.") from None
    if head not in _ZIP:
        yield Member(name, size, lambda: path.open("rb"))
        return
    try:
        archive = stack.enter_context(ZipFile(path))
    except (BadZipFile, OSError, ValueError, NotImplementedError) as problem:
        raise BadInput(f"{name} is no zip that can be read: {problem}.") from None
    check(name, archive, size)
    for info in archive.infolist():
        if not info.is_dir() and info.file_size:
            yield Member(info.filename, info.file_size, _opener(archive, info))


def _opener(archive: ZipFile, info: ZipInfo) -> Callable[[], BinaryIO]:
    def open_entry() -> BinaryIO:
        try:
            return cast(BinaryIO, archive.open(info))
        except (BadZipFile, OSError, RuntimeError, NotImplementedError) as problem:
            raise BadInput(f"{show(info.filename)} in the zip cannot be read: {problem}.") from None

    return open_entry


def check(name: str, archive: ZipFile, size: int) -> None:
    """Refuse a zip by what its directory says: too many entries, too large unpacked, bombs, links, paths, passwords.

    What the directory states is what is read at most, so a lie about a size ends in a damaged entry and not in more.
    Raises BadInput.
    """
    entries = archive.infolist()
    if len(entries) > MOST_ENTRIES:
        raise BadInput(f"{name} holds {len(entries):,} entries; at most {MOST_ENTRIES:,} are read.")
    unpacked = sum(info.file_size for info in entries)
    if unpacked > MOST_UNPACKED:
        raise BadInput(f"{name} would unpack to {unpacked:,} bytes; at most {MOST_UNPACKED:,} are read.")
    for info in entries:
        problem = _problem(info)
        if problem:
            raise BadInput(f"{name} holds {show(info.filename)}, {problem}. It was not read.")
    placed = sorted((info.header_offset, info.compress_size + _HEADER) for info in entries)
    ends = [start for start, _ in placed[1:]] + [size]
    if any(start + length > end for (start, length), end in zip(placed, ends, strict=True) if placed):
        raise BadInput(f"{name} has entries that overlap, as no honest zip has. It was not read.")


def _problem(info: ZipInfo) -> str:
    path = info.filename.replace("\\", "/")
    if path.startswith("/") or ":" in path.split("/")[0] or ".." in path.split("/") or "\0" in info.orig_filename:
        return "a path that leads out of the archive"
    mode = info.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a link or device"
    if info.flag_bits & _ENCRYPTED:
        return "which has a password"
    if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        return "packed in a way that is not read here"
    if info.file_size > _SMALL and info.file_size > _MOST_RATIO * max(info.compress_size, 1):
        return f"which would unpack to {info.file_size:,} bytes from {info.compress_size:,}"
    return ""
