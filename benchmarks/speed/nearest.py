"""The best 50 of a million songs: exact at the speed of memory, and by a compressed index."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from app.lm.centred import ROWS_AT_ONCE, Centred, Floats, Stored
from app.lm.index import SongIndex
from app.lm.vectors import unit
from benchmarks.speed.place import Place
from benchmarks.speed.table import Row, best, seconds

COUNT = 50


def million(place: Place, path: Path, count: int) -> Floats:
    """Memory-mapped rows that lie as songs do: each between two real songs near each other, a little aside."""
    real = place.engine.vectors.snapshot()
    rows, draw = np.asarray(real.vectors), np.random.default_rng(1)
    made = np.memmap(path, np.float32, "w+", shape=(count, rows.shape[1]))
    units = np.asarray(real.units)
    near = np.concatenate(
        [np.argpartition(-(units[s : s + 500] @ units.T), 20)[:, :20] for s in range(0, len(units), 500)]
    )
    for start in range(0, count, ROWS_AT_ONCE):
        size = min(ROWS_AT_ONCE, count - start)
        one = draw.integers(0, len(rows), size)
        other = near[one, draw.integers(0, near.shape[1], size)]
        share = draw.uniform(0, 1, (size, 1)).astype(np.float32)
        aside = draw.normal(0, 0.02, (size, rows.shape[1])).astype(np.float32)
        made[start : start + size] = unit(share * rows[one] + (1 - share) * rows[other] + aside)
    return np.asarray(made)


def measure(place: Place, quick: bool) -> Iterator[Row]:
    """topk_1m_ms, and index_1m_ms."""
    count = 50_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        rows = million(place, Path(folder) / "vectors.f32", count)
        units = Centred(Stored(rows), rows.mean(axis=0))
        draw = np.random.default_rng(2)
        queries = [unit(units[draw.integers(0, count, 4)].mean(axis=0)) for _ in range(100)]
        least = best(
            {
                "ours": lambda: units.top(queries[0], COUNT),
                "numpy": lambda: np.argpartition(-(rows @ queries[0]), COUNT)[:COUNT],
                "reading": lambda: [part.max() for part in np.array_split(rows, 64)],
            },
            3 if quick else 7,
        )
        mine = 1000 * least["ours"]
        yield Row(
            "topk_1m_ms", f"best 50 of {count:,} songs, exact", mine, "ms", "≤1.5× of memory bandwidth",
            least["ours"] <= 1.5 * least["reading"], 1000 * least["numpy"], "numpy_topk_1m_ms",
            "numpy product and argpartition", least["numpy"] / least["ours"], 1000 * least["reading"],
            f"reading {rows.nbytes / 1e9:.2f} GB once",
        )  # fmt: skip
        index: list[SongIndex] = []
        built = seconds(lambda: index.append(SongIndex.build(units)))
        shares = []
        for query in queries:
            found, exact = index[0].top(units, query, COUNT)[0], units.top(query, COUNT)[0]
            shares.append(len(set(found.tolist()) & set(exact.tolist())) / COUNT)
        recall = float(np.mean(shares))
        pair = best(
            {"index": lambda: index[0].top(units, queries[1], COUNT), "exact": lambda: units.top(queries[1], COUNT)}, 9
        )
        times = pair["exact"] / pair["index"]
        yield Row(
            "index_1m_ms", "the same by the compressed index", 1000 * pair["index"], "ms", "≥5×, recall@50 ≥0.98",
            recall >= 0.98 and times >= 5, 1000 * pair["exact"], "index_exact_1m_ms", "our exact way", times,
            more={"index_recall_50": recall, "index_build_s": built, "index_lists_read": index[0].lists},
        )  # fmt: skip
