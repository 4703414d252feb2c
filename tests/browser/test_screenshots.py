"""The pictures in the docs are of today's pages: the script that takes them runs here, into a folder of its own."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import PROJECT

DOCS = PROJECT / "docs" / "screenshots"


def size(picture: Path) -> tuple[int, int]:
    """Width and height of a PNG, from its header."""
    head = picture.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n", picture
    width, height = struct.unpack(">II", head[16:24])
    return width, height


@pytest.mark.browser
@pytest.mark.training
def test_the_script_takes_every_picture_of_the_docs_anew(seed_home: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, PROJECT / "tools" / "screenshots.py", seed_home, tmp_path / "out"], check=True)
    taken = {picture.name: size(picture) for picture in (tmp_path / "out").iterdir()}
    assert taken == {picture.name: size(picture) for picture in DOCS.iterdir()}, "run `make screenshots`"
    assert min((tmp_path / "out" / name).stat().st_size for name in taken) > 10_000, "a picture is empty"


def test_every_picture_that_a_document_shows_is_there() -> None:
    texts = [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")]
    shown = {
        (text.parent / place).resolve()
        for text in texts
        for place in re.findall(r"!\[[^\]]*\]\(([^)]+\.png)\)", text.read_text(encoding="utf-8"))
    }
    assert shown and all(picture.exists() for picture in shown)
