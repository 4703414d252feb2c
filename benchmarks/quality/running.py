"""Measure every row on every case, keep what is done, and gather it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

import app.lm.engine
from app.lm.engine import Engine
from app.lm.trainer import settings_dict
from app.lm.vectors import Floats
from app.services import lifting
from benchmarks.quality import collaborative, lifted, newcomer, towers
from benchmarks.quality.collaborative import Scorer
from benchmarks.quality.data import Dataset
from benchmarks.quality.measures import measure
from benchmarks.quality.personal import personal
from benchmarks.quality.protocol import Case, Histories, Questions
from benchmarks.quality.resuming import Record, Results, digest_of
from benchmarks.quality.words import Bm25

# (row, regime) in the order of the table.
ROWS: tuple[tuple[str, str | None], ...] = (
    ("random", None),
    ("popularity", "circle"),
    ("popularity", "crowd"),
    ("item-knn", "circle"),
    ("item-knn", "crowd"),
    ("als", "circle"),
    ("als", "crowd"),
    ("bm25", None),
    ("base-generic", None),
    ("base", None),
    ("base-signed", None),
    ("linear-map", None),
    ("free-vector", None),
    ("adapter", None),
    ("adapter-gated", None),
    ("first-list", None),
    ("circle-list", None),
)
ADAPTER_ROWS = ("linear-map", "free-vector", "adapter", "adapter-gated", "first-list", "circle-list")
_FIT = {"popularity": collaborative.popularity, "item-knn": collaborative.item_knn, "als": collaborative.als}
_OURS = Path(__file__).parent
_CODE = (
    "asking",
    "base",
    "circle",
    "engine",
    "evaluation",
    "music",
    "proof",
    "ranking",
    "song_text",
    "targets",
    "trainer",
    "tuned",
    "vectors",
)


def row_name(name: str, regime: str | None) -> str:
    """How a row is called in the results file."""
    return f"{name} in the {regime}" if regime else name


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything one run needs. generic: an engine whose base has no music adapter (the same engine if there is none).

    least: songs logged that a retrain of the product needs.
    """

    data: Dataset
    task: str
    questions: Questions
    engine: Engine
    generic: Engine
    least: int

    def settings(self) -> dict[str, Any]:
        """What decides the results, beside the code."""
        return {
            "data": self.data.digest,
            "task": self.task,
            "base": self.engine.fingerprint,
            "generic": self.generic.fingerprint,
            "top_layers": self.engine.settings.top_layers,
            "training": settings_dict(self.engine.training_settings()),
            "least": self.least,
            "circles": sorted((case.key, case.circle) for case in self.questions.cases),
        }

    def results(self, work: Path) -> Results:
        """The file that a run of these settings and this code appends to."""
        lm = Path(app.lm.engine.__file__).parent
        sources = [*(lm / f"{name}.py" for name in _CODE), Path(lifting.__file__), *sorted(_OURS.glob("*.py"))]
        return Results(work / f"{self.data.name}-{self.task}-{digest_of(self.settings(), iter(sources))}.jsonl")


def encode(bench: Bench, quiet: bool = False) -> None:
    """Encode the catalogue with both bases; what the work folder holds already is kept."""
    texts = [(row, song.text) for row, song in enumerate(bench.data.songs)]
    for name, engine in (("base", bench.engine), ("generic base", bench.generic)):
        with tqdm(total=len(texts), desc=f"encoding, {name}", file=sys.stderr, disable=quiet) as bar:
            engine.encode_songs(texts, partial(_advance, bar))
        # Scores come in the order of the snapshot, so its rows must be the catalogue's.
        if engine.vectors.snapshot().ids.tolist() != list(range(len(texts))):
            stored = engine.vectors.snapshot()
            engine.vectors.clear()
            order = stored.rows(list(range(len(texts))))
            engine.vectors.append([row for row, _ in texts], [text for _, text in texts], stored.vectors[order])


def _advance(bar: tqdm[Any], done: int, of: int) -> None:
    bar.total = of
    bar.update(done - bar.n)


def _fit_and_score(name: str, histories: Histories, case: Case, songs: int) -> Floats:
    return _FIT[name](histories, songs)(case)


def run(bench: Bench, cases: Sequence[Case], results: Results, quiet: bool = False) -> list[Record]:
    """Measure the cases that are not done yet; all their records, in the order of ``cases``."""
    left = [case for case in cases if case.key not in results.done]
    if left:
        rows = Rows(bench)
        with results.appending() as keep:
            for case in tqdm(left, desc=f"{bench.data.name}, {bench.task}", file=sys.stderr, disable=quiet):
                keep(rows.record(case))
    return [results.done[case.key] for case in cases]


class Rows:
    """Scores a case by every row; crowd models are fitted once and kept."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._crowd: dict[str, tuple[object, Scorer]] = {}
        self._bm25 = Bm25([song.text for song in bench.data.songs]) if bench.task == "ask" else None

    def record(self, case: Case) -> Record:
        """Metrics and seconds of each row for one case."""
        rows: dict[str, Any] = {}
        facts: dict[str, Any] = {}
        for name, regime, values, seconds in self._scored(case, facts):
            measured = measure(values, case)
            rows[row_name(name, regime)] = {**measured, "seconds": round(seconds, 4)}
        return {"key": case.key, "group": case.group, "rows": rows, **facts}

    def _scored(self, case: Case, facts: dict[str, Any]) -> Iterator[tuple[str, str | None, Floats, float]]:
        bench, songs = self.bench, self.bench.data.songs
        yield "random", None, *timed(lambda: collaborative.noise(case, len(songs)))
        for name in _FIT:
            yield name, "circle", *timed(partial(_fit_and_score, name, bench.questions.circle(case), case, len(songs)))
            yield name, "crowd", *timed(partial(self._of_crowd(name, case), case))
        if self._bm25 is not None:
            bm25, question = self._bm25, " ".join([*case.wish, *(songs[s].text for s in case.liked)])
            yield "bm25", None, *timed(lambda: bm25.scores(question))
        own = towers.own_of(case, songs)
        likes = towers.own_of(case, songs, liked_only=True)
        yield "base-generic", None, *timed(lambda: towers.centroid(bench.generic, case, likes))
        off, seconds = timed(lambda: towers.base(bench.engine, case, own))
        if (
            bench.task == "likes"
        ):  # evaluation.md's bar is the centroid of what was liked; the product uses dislikes too
            yield "base", None, *timed(lambda: towers.centroid(bench.engine, case, likes))
            yield "base-signed", None, off, seconds
        else:
            yield "base", None, off, seconds
        yield "linear-map", None, *timed(lambda: towers.linear_map(bench.engine, case, own))
        yield "free-vector", None, *timed(lambda: towers.free_vector(bench.engine, case, own))
        if bench.task == "newcomer":
            found = newcomer.of_circle(bench.engine, bench.data, case, own, off)
        else:
            found = personal(bench.engine, case, own, off, bench.least)
        facts["promoted"] = found.promoted
        yield "adapter", None, found.ungated, found.seconds
        yield "adapter-gated", None, found.gated, found.seconds
        if bench.task != "ask":
            own_songs = 0 if bench.task == "newcomer" else len(case.liked)
            shown, seconds = timed(lambda: lifted.listed(bench.engine, bench.data, case, found.gated, own_songs))
            name = "first-list" if bench.task == "newcomer" else "circle-list"
            yield name, None, shown, found.seconds + seconds

    def _of_crowd(self, name: str, case: Case) -> Scorer:
        """The crowd's model: one for all listeners, or one for each group whose own history is left out."""
        group = case.group if self.bench.questions.by_group else None
        kept = self._crowd.get(name)
        if kept is None or kept[0] != group:
            histories: Histories = self.bench.questions.crowd(case)
            kept = (group, _FIT[name](histories, len(self.bench.data.songs)))
            self._crowd[name] = kept
        return kept[1]


def timed(work: Callable[[], Floats]) -> tuple[Floats, float]:
    """What ``work`` gives, and the seconds it took."""
    started = time.perf_counter()
    values = work()
    return values, time.perf_counter() - started
