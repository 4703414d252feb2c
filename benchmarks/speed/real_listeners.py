"""``python -m benchmarks.speed.real_listeners --data DIR [--listeners N] [--songs N]``

Quality of the row ``retrain_100_s`` on real listeners, in the plain format of benchmarks/quality: our retrain beside
the stock way (Trainer and PEFT on all linear layers), each on the same songs, the same fifth hidden, as many passes,
nDCG@10 over the whole catalogue. Listeners are drawn by a digest of their ids among those whom the music adapter did
not learn from and who have as many songs. Prints a Markdown table with 95 % bootstrap intervals over listeners.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from app.lm.asking import Own
from app.settings import Settings
from benchmarks.quality import data, listeners
from benchmarks.quality.__main__ import open_engine
from benchmarks.quality.data import Dataset
from benchmarks.quality.measures import bootstrap
from benchmarks.quality.protocol import number_of, weight
from benchmarks.speed.training import Learnt, stock

ROWS = ("base", "ours, whatever the gate says", "ours, gated", "stock way")
VERSION = "0" * 16


def histories(read: Dataset, music: Path | None, songs: int, count: int) -> dict[str, list[int]]:
    """The most played songs of some listeners, ``songs`` each."""
    ids = {user: [read.songs[x.song].id for x in them] for user, them in read.listens.items()}
    free = sorted(listeners.measurable(ids, music), key=lambda user: number_of("retrain", user))
    found: dict[str, list[int]] = {}
    for user in free:
        liked = sorted((x for x in read.listens[user] if weight(x) > 0), key=lambda x: (-weight(x), x.song))
        if len(liked) >= songs and len(found) < count:
            found[user] = [x.song for x in liked[:songs]]
    return found


def table(found: Sequence[Sequence[float]]) -> str:
    """Means of the rows and the paired differences to the stock way. found: (listeners, rows)."""
    values = np.array(found)
    lines = ["| way | nDCG@10 | less the stock way, paired | better, worse |", "|---|---|---|---|"]
    for name, column in zip(ROWS, values.T, strict=True):
        gap = column - values[:, -1]
        at = bootstrap(gap)
        share = f"{(gap > 1e-9).sum()}, {(gap < -1e-9).sum()}"
        lines.append(f"| {name} | {column.mean():.4f} | {at.mean:+.4f} [{at.low:+.4f}, {at.high:+.4f}] | {share} |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.real_listeners", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--listeners", type=int, default=16)
    parser.add_argument("--songs", type=int, default=40)
    parser.add_argument("--work", type=Path, default=None)
    options = parser.parse_args(words)
    settings, read = Settings(), data.read(options.data)
    work = (options.work or settings.data / "bench") / f"retrains-{read.digest[:16]}"
    engine = open_engine(settings, work, settings.music, read.rule, 0)
    texts = {row: song.text for row, song in enumerate(read.songs)}
    engine.encode_songs(list(texts.items()))
    found: list[list[float]] = []
    for user, songs in tqdm(histories(read, settings.music, options.songs, options.listeners).items(), desc=read.name):
        listener = f"{number_of('listener', user):016x}"
        outcome = engine.train(listener, VERSION, [Own(song, texts[song], 1.0) for song in songs], seed=0)
        engine.forget(listener)
        shutil.rmtree(engine.store.root / listener, ignore_errors=True)
        before, after = outcome.before.ndcg_10, outcome.after.ndcg_10
        _, theirs = stock(Learnt(engine, texts), songs)
        found.append([before, after, after if outcome.verdict.promoted else before, theirs])
    print(f"{read.name}: {len(found)} listeners, {options.songs} songs each, {len(texts)} in the catalogue\n")
    print(table(found))


if __name__ == "__main__":
    main()
