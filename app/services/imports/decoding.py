"""Bytes to text: byte order marks, UTF-8 and UTF-16, and Windows-1252 for what is neither."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Iterator
from typing import BinaryIO
from zipfile import BadZipFile

from app.errors import BadInput

HEAD = 65_536
LONGEST_LINE = 1_000_000
_CHUNK = 1 << 18
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip


class Damaged(BadInput):
    """A file that breaks off in the middle, or whose archive contradicts itself."""


def encoding_of(head: bytes) -> tuple[str, int]:
    """Encoding of a file by its beginning, and how many bytes its mark takes.

    Without a mark: UTF-16 if every other byte is zero, UTF-8 if it is that, else Windows-1252.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name, len(mark)
    for name, at in (("utf-16-le", 1), ("utf-16-be", 0)):
        if len(head) > 3 and head[at:80:2].count(0) > 0.8 * len(head[at:80:2]) and 0 not in head[1 - at : 80 : 2]:
            return name, 0
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # a character cut off at the end is no mistake
    except UnicodeDecodeError:
        return "cp1252", 0
    return "utf-8", 0


def chunks(stream: BinaryIO) -> Iterator[str]:
    """A stream as text. A byte that is no text becomes a lone surrogate, which ``clean`` refuses with its row.

    Raises Damaged where the stream breaks off.
    """
    head = read(stream, HEAD)
    encoding, skip = encoding_of(head)
    wide = encoding.startswith(("utf-16", "utf-32"))
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass" if wide else "surrogateescape")
    part = head[skip:]
    while part or head:
        try:
            yield decoder.decode(part)
        except UnicodeDecodeError:  # half a UTF-16 surrogate pair and the like
            raise Damaged(f"The text is not in the encoding that it began with ({encoding}).") from None
        part = head = read(stream, _CHUNK)


def read(stream: BinaryIO, most: int) -> bytes:
    """Raises Damaged for what an archive's entry can go wrong with."""
    try:
        return stream.read(most)
    except (BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as problem:
        raise Damaged(f"The file is damaged: {problem}.") from None


def lines(text: Iterator[str]) -> Iterator[tuple[int, str | None]]:
    """(number, line without its end) of each line, counted from 1; None for one of more than a million characters.

    Only line feeds end a line: titles may hold the rarer separators of Unicode.
    """
    number, rest, too_long = 0, "", False
    for chunk in text:
        pieces = (rest + chunk).split("\n")
        rest = pieces.pop()
        for piece in pieces:
            number += 1
            yield number, None if too_long or len(piece) > LONGEST_LINE else piece.removesuffix("\r")
            too_long = False
        if len(rest) > LONGEST_LINE:
            rest, too_long = "", True
    if rest or too_long:
        yield number + 1, None if too_long else rest.removesuffix("\r")
