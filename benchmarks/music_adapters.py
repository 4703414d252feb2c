"""``python -m benchmarks.music_adapters --data DIR [DIR...] [--adapters none music music-clean] [--listeners N]``

What music adapters know before anybody retrains: a fifth of the songs of each held-back listener is hidden, and the
whole catalogue is ranked by the base with each adapter folded in. Both ranking rules, the same listeners for each
adapter, 95 % bootstrap intervals, and the paired difference to the first adapter named. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from app.lm import evaluation, ranking
from app.lm.base import Base, load
from app.lm.locate import locate
from app.lm.pretraining import best_precision
from app.lm.pretraining_data import Source, held_back, read_everybody
from app.lm.pretraining_world import form_of
from app.lm.ranking import Rule
from app.lm.vectors import Floats, Snapshot, snapshot_of
from app.settings import Settings

RULES: tuple[Rule, ...] = ("mean", "interest")
_RESAMPLES = 2000
_FEWEST = 5


def vectors_of(base: Base, source: Source, work: Path) -> Floats:
    """(n, D) of every piece by the base; kept in the work folder by fingerprint and data."""
    path = work / f"{source.digest[:16]}-{base.fingerprint[:16]}.npy"
    if path.is_file():
        kept: Floats = np.load(path)
        return kept
    random = np.random.default_rng(0)
    texts = [form_of(piece, "full", random) for piece in source.pieces]
    half = best_precision(torch.device("cpu")) == "bfloat16"
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        made: Floats = base.encode(texts, batch=128).numpy()
    work.mkdir(parents=True, exist_ok=True)
    np.save(path, made)
    return made


def seed_of(listener: str) -> int:
    """A listener's own split: the same whatever is measured."""
    return int.from_bytes(hashlib.sha256(f"split {listener}".encode()).digest()[:4], "little")


def measure(snapshot: Snapshot, history: dict[int, float], listener: str, rule: Rule) -> tuple[float, float]:
    """nDCG@10 and Recall@100 of one listener's hidden fifth; history: weight by row."""
    known, hidden = evaluation.split(list(history), 0.2, seed_of(listener))
    weights = np.array([history[row] for row in known], np.float32)
    taste = ranking.taste_of(known, snapshot.vectors[known], weights / weights.sum(), snapshot.mean, rule)
    found = evaluation.measure(ranking.scores(taste, snapshot.units), np.array(hidden), np.array(known))
    return found.ndcg_10, found.found / len(hidden)


def interval(values: Floats) -> tuple[float, float]:
    """95 % bootstrap interval of a mean over listeners."""
    draws = np.random.default_rng(0).integers(0, len(values), (_RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def rows(folder: Path, adapters: Sequence[str], listeners: int, settings: Settings, work: Path) -> list[str]:
    """Table rows of one directory."""
    source, everybody = read_everybody(folder)
    names = [name for name in sorted(everybody) if held_back(name) and len(everybody[name].rows) >= _FEWEST]
    names = names[:listeners] if listeners else names
    histories = {n: dict(zip(everybody[n].rows, everybody[n].weights, strict=True)) for n in names}
    lines, first = [], dict[Rule, Floats]()
    for adapter in adapters:
        music = None if adapter == "none" else settings.models / adapter
        base = load(locate(settings.models / "base.toml", settings.base_model), music_folder=music)
        snapshot = snapshot_of(np.arange(len(source.pieces)), vectors_of(base, source, work))
        for rule in RULES:
            found = np.array([measure(snapshot, histories[n], n, rule) for n in names], np.float32)
            mean, (low, high) = found.mean(axis=0), interval(found[:, 0])
            difference = found[:, 0] - first.setdefault(rule, found[:, 0])
            change, (worst, best) = float(difference.mean()), interval(difference)
            lines.append(
                f"| {source.name} | {len(names)} | {adapter} | {rule} | {mean[0]:.3f} [{low:.3f}, {high:.3f}] | "
                f"{mean[1]:.3f} | {change:+.3f} [{worst:+.3f}, {best:+.3f}] |"
            )
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="directories in the plain format")
    parser.add_argument("--adapters", nargs="+", default=["none", "music", "music-clean"], help="names under models/")
    parser.add_argument("--listeners", type=int, default=0, metavar="N", help="how many of each (default: all)")
    given = parser.parse_args()
    settings = Settings()
    print("| data | listeners | adapter | rule | nDCG@10 [95 %] | Recall@100 | nDCG@10 against the first |")
    print("|---|---|---|---|---|---|---|")
    for folder in given.data:
        lines = rows(folder, given.adapters, given.listeners, settings, settings.data / "bench-music")
        print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
