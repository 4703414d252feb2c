"""Who may be measured: nobody whom the music adapter has learnt from.

A music adapter's folder may list those listeners in any of its .txt, .md or .json files, by the first hex digits (eight
or more) of a sha256: of the id alone, or of the id and the sorted ids of the listener's songs, one a line (the better
way, since ids of different sets can be the same). Without a list, the fifth of each directory is measured that no
adapter may learn from: ids whose sha256 begins with a byte below 52.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

HELD_BACK = 52  # of 256
_HEX = re.compile(r"\b[0-9a-f]{8,16}\b")


def held_back(listener: str) -> bool:
    """Whether a listener belongs to the fifth that no music adapter may learn from."""
    return hashlib.sha256(listener.encode()).digest()[0] < HELD_BACK


def listed(music: Path | None) -> frozenset[str]:
    """Short hashes that the music adapter's folder lists, cut to eight digits."""
    if music is None or not music.is_dir():
        return frozenset()
    files = [f for f in sorted(music.iterdir()) if f.suffix in (".txt", ".md", ".json")]
    return frozenset(found[:8] for f in files for found in _HEX.findall(f.read_text(encoding="utf-8")))


def marks(listener: str, songs: Iterable[str]) -> tuple[str, str]:
    """Eight hex digits for a listener's id, and eight for the id together with the ids of the listener's songs."""
    whole = "\n".join([listener, *sorted(songs)])
    return hashlib.sha256(listener.encode()).hexdigest()[:8], hashlib.sha256(whole.encode()).hexdigest()[:8]


def measurable(histories: Mapping[str, Sequence[str]], music: Path | None, *, everyone: bool = False) -> list[str]:
    """The listeners of a directory, by id and song ids, who may be measured with a music adapter (None: no adapter)."""
    if everyone:
        return sorted(histories)
    hashes = listed(music)
    if not hashes:
        return [listener for listener in sorted(histories) if held_back(listener)]
    return [x for x in sorted(histories) if not hashes.intersection(marks(x, histories[x]))]
