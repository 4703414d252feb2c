"""How right are guessed genres? ``OMP_NUM_THREADS=1 python benchmarks/genres.py``

Holds out a fifth of the starter catalogue's artists, writes their songs as an import would (title and artist only),
encodes both sides with the base, and lets the other artists vote, as app/services/genres.py does. Five folds; half of
the artists choose the threshold, the others report. Writes benchmarks/genres.md.
"""

from __future__ import annotations

import random
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from app.lm import labels  # noqa: E402
from app.lm.base import load  # noqa: E402
from app.lm.locate import locate  # noqa: E402
from app.lm.song_text import song_text  # noqa: E402
from app.lm.vectors import Floats, unit  # noqa: E402
from app.services import genres  # noqa: E402
from app.starter.reading import read  # noqa: E402

FOLDS = 5
WANTED = 0.70
THRESHOLDS = [round(0.14 + 0.02 * n, 2) for n in range(13)]


def encode(texts: list[str]) -> Floats:
    """Vectors of song texts, in the order given."""
    base = load(locate(PROJECT / "models" / "base.toml"))
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    vectors = np.empty((len(texts), base.dimension), np.float32)
    for start in range(0, len(order), 128):
        part = order[start : start + 128]
        vectors[part] = base.encode([texts[i] for i in part]).numpy()
    return vectors


class Count:
    """Genres guessed and right, songs that got any, genres that songs have."""

    def __init__(self) -> None:
        self.guessed = self.right = self.songs = self.got = self.true = 0

    def add(self, chosen: list[str], written: list[tuple[str, ...]]) -> None:
        """One artist: the same guess for each of their songs."""
        for song in written:
            self.songs += 1
            self.true += len(song)
            self.got += bool(chosen)
            self.guessed += len(chosen)
            self.right += len(set(chosen) & set(song))

    def row(self, name: str) -> str:
        """A line of the table."""
        precision = self.right / self.guessed if self.guessed else float("nan")
        recall = self.right / max(self.true, 1)
        return f"| {name} | {precision:.3f} | {self.got / max(self.songs, 1):.3f} | {recall:.3f} | {self.guessed:,} |"


def main() -> None:
    """Encode, vote, count, write."""
    started = time.monotonic()
    artists = [a for a in read() if any(s.genres for s in a.songs)]
    songs = [(number, song) for number, artist in enumerate(artists) for song in artist.songs]
    names = [artist.name for artist in artists]
    full = encode([song_text(names[n], s.title, s.genres, s.moods, s.year) for n, s in songs])
    bare = encode([song_text(names[n], s.title) for n, s in songs])
    owner = np.array([n for n, _ in songs])
    rows = [np.flatnonzero(owner == n) for n in range(len(artists))]
    order = list(range(len(artists)))
    random.Random(0).shuffle(order)
    counts = {(kind, half, t): Count() for kind in ("together", "alone") for half in (0, 1) for t in THRESHOLDS}
    for fold in range(FOLDS):
        held = order[fold::FOLDS]
        voting = sorted(set(order) - set(held))
        mean = full[np.concatenate([rows[n] for n in voting])].mean(axis=0)
        units, asked = unit(full - mean), unit(bare - mean)
        vote = labels.Vote(
            labels.middles(units, [rows[n] for n in voting]),
            [{g for s in artists[n].songs for g in s.genres} for n in voting],
        )
        for kind, groups in (
            ("together", [rows[n] for n in held]),
            ("alone", [rows[n][i : i + 1] for n in held for i in range(len(rows[n]))]),
        ):
            found = vote.ask(labels.middles(asked, groups))
            for group, shares in zip(groups, found, strict=True):
                half = order.index(int(owner[group[0]])) // FOLDS % 2
                for t in THRESHOLDS:
                    chosen = [g for g, share in shares if share >= t][: genres._MOST_GUESSED]
                    counts[kind, half, t].add(chosen, [songs[i][1].genres for i in group])
    first = {t: counts["together", 0, t] for t in THRESHOLDS}
    reach = [t for t, count in first.items() if count.guessed and count.right >= WANTED * count.guessed]
    assert genres.SURE in THRESHOLDS and min(reach) == genres.SURE, f"the threshold should be {min(reach)}"
    lines = [
        "# Guessed genres", "",
        f"{date.today()}, 2 cores, AVX-512 bf16; `OMP_NUM_THREADS=1 python benchmarks/genres.py`, "
        f"{time.monotonic() - started:.0f} s.", "",
        f"{len(artists):,} artists and {len(songs):,} songs of the starter catalogue, {FOLDS} folds of whole artists; "
        f"held-out songs are written as title and artist only. The {labels.NEAREST} nearest artists vote; at most "
        f"{genres._MOST_GUESSED} genres. Coverage: songs that get any genre. Recall: of all genres that songs have.",
        f"The threshold in use is {genres.SURE}: the smallest whose precision reaches {WANTED:.2f} on the first half "
        "of the artists, songs judged together. How the vote works (voters, number, weights) was tried out before on "
        "one fold drawn from all artists, so the second half is not wholly untouched.",
    ]  # fmt: skip
    for kind, title in (("together", "An artist's songs judged together"), ("alone", "Each song alone")):
        for half, name in ((0, "artists that chose the threshold"), (1, "the other artists")):
            lines += ["", f"## {title}: {name}", "", "| threshold | precision | coverage | recall | guesses |",
                      "|---|---|---|---|---|"]  # fmt: skip
            lines += [counts[kind, half, t].row(f"{t:.2f}") for t in THRESHOLDS if counts[kind, half, t].guessed]
    (PROJECT / "benchmarks" / "genres.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
