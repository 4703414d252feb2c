"""How right are guessed genres? ``OMP_NUM_THREADS=1 python benchmarks/genres.py``

Holds out artists of the starter catalogue, writes their songs as an import would (title and artist only), encodes both
sides with the base in use, and lets the other artists vote, as app/services/genres.py does.

The default music adapter was itself trained on the starter catalogue, but for some artists that it never read. Those
report; the others, held out of the vote in five folds, only choose the threshold. Writes benchmarks/genres.md.
"""

from __future__ import annotations

import hashlib
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
from app.lm.pretraining_data import artist_key  # noqa: E402
from app.lm.pretraining_world import UNSEEN  # noqa: E402
from app.lm.song_text import song_text  # noqa: E402
from app.lm.vectors import Floats, unit  # noqa: E402
from app.services import genres  # noqa: E402
from app.settings import Settings  # noqa: E402
from app.starter.reading import read  # noqa: E402

FOLDS = 5
WANTED = 0.70
KINDS = {"together": "An artist's songs judged together", "alone": "Each song alone"}
THRESHOLDS = [round(0.14 + 0.02 * n, 2) for n in range(26)]


def encode(texts: list[str]) -> Floats:
    """Vectors of song texts, in the order given."""
    base = load(locate(PROJECT / "models" / "base.toml"), music_folder=Settings().music)
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

    def precise(self) -> bool:
        """Whether enough of the guesses are right."""
        return bool(self.guessed) and self.right >= WANTED * self.guessed

    def row(self, name: str) -> str:
        """A line of the table."""
        precision = self.right / self.guessed if self.guessed else float("nan")
        recall = self.right / max(self.true, 1)
        return f"| {name} | {precision:.3f} | {self.got / max(self.songs, 1):.3f} | {recall:.3f} | {self.guessed:,} |"


def never_read(artist: str) -> bool:
    """Whether no music adapter was trained on that artist's texts (docs/music-adapter.md)."""
    return hashlib.sha256(f"unseen {artist_key(artist)}".encode()).digest()[0] < UNSEEN


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
    unread = [n for n, name in enumerate(names) if never_read(name)]
    seen = sorted(set(range(len(artists))) - set(unread))
    random.Random(0).shuffle(seen)
    counts = {(kind, who, t): Count() for kind in KINDS for who in ("read", "unread") for t in THRESHOLDS}
    for who, held in [("unread", unread), *(("read", seen[fold::FOLDS]) for fold in range(FOLDS))]:
        voting = sorted(set(seen) - set(held))
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
                for t in THRESHOLDS:
                    chosen = [g for g, share in shares if share >= t][: genres._MOST_GUESSED]
                    counts[kind, who, t].add(chosen, [songs[i][1].genres for i in group])
    reach = [t for t in THRESHOLDS if counts["together", "read", t].precise()]
    lines = [
        "# Guessed genres", "",
        f"{date.today()}, 2 cores, AVX-512 bf16, other work beside it; `OMP_NUM_THREADS=1 python "
        f"benchmarks/genres.py`, {time.monotonic() - started:.0f} s.", "",
        f"Base with the music adapter `{Settings().music_adapter}`. {len(artists):,} artists and {len(songs):,} songs "
        f"of the starter catalogue; {len(unread)} artists ({sum(len(rows[n]) for n in unread)} songs) were never read "
        "by the music adapter. Held-out songs are written as title and artist only. The "
        f"{labels.NEAREST} nearest artists vote; at most {genres._MOST_GUESSED} genres. Coverage: songs that get any "
        "genre. Recall: of all genres that songs have.", "",
        f"Wanted was {WANTED:.2f} on the artists that the adapter read; the smallest threshold that reaches it: "
        f"{min(reach, default='none')}. {genres.SURE} is in use. The number of voters and their weights were picked "
        "from some sixty variants on the untaught base and one fold drawn from all artists.",
    ]  # fmt: skip
    for kind, title in KINDS.items():
        for who, name in (("unread", "artists that the adapter never read"), ("read", "artists that it read")):
            lines += ["", f"## {title}: {name}", "", "| threshold | precision | coverage | recall | guesses |",
                      "|---|---|---|---|---|"]  # fmt: skip
            lines += [counts[kind, who, t].row(f"{t:.2f}") for t in THRESHOLDS if counts[kind, who, t].guessed]
    (PROJECT / "benchmarks" / "genres.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
