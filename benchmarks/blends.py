"""``python -m benchmarks.blends --data DIR [--pairs N] [--work DIR]``

A list for two people: blend their scores, or the weights of their adapters? A fifth of the songs of each is hidden, an
adapter is trained for each on the rest as the product does it (the base where the gate says no), and one ranking of the
whole catalogue is made for both. What either one knows is left out. Pairs are drawn at random among listeners from
whom the music adapter did not learn. Prints a Markdown table with 95 % bootstrap intervals over pairs.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from app.lm import ranking
from app.lm.asking import Own
from app.lm.blending import fair, together
from app.lm.engine import Engine
from app.lm.evaluation import ndcg, ranks_of
from app.lm.slots import SlotBank
from app.lm.store import LoraTensors
from app.lm.vectors import Floats
from app.settings import Settings
from benchmarks.quality import data, listeners, protocol
from benchmarks.quality.__main__ import open_engine
from benchmarks.quality.measures import bootstrap
from benchmarks.quality.protocol import Case, number_of
from benchmarks.quality.towers import own_of

VERSION = "0" * 16
LEVEL = 0.999  # of the catalogue: where everybody's scores are brought to one height, so that each one's best compete
LISTED = 10
PRODUCT = "taking turns, yielding where one would lose (the product)"
Pair = tuple[Case, Case]


def listener_id(case: Case) -> str:
    """A listener of the data as the engine names one."""
    return f"{number_of('listener', case.key):016x}"


def adapter_of(engine: Engine, case: Case, own: Sequence[Own]) -> LoraTensors | None:
    """Retrain as the product does it; None where the gate keeps the base."""
    outcome = engine.train(listener_id(case), VERSION, own, seed=number_of("train", case.key) % 2**31)
    return engine.adapter(listener_id(case), VERSION)[1] if outcome.verdict.promoted else None


def summed(adapters: Sequence[LoraTensors | None], rank: int) -> LoraTensors:
    """Half of each adapter's change of every matrix, added up exactly: the ranks add up too."""
    there = [a for a in adapters if a is not None]
    names = there[0].a if there else {}
    return LoraTensors(
        {n: torch.cat([a.a[n] for a in there], dim=1) for n in names},
        {n: torch.cat([a.b[n] / len(adapters) for a in there], dim=0) for n in names},
        sum(a.rank for a in there) or rank,
    )


def averaged(adapters: Sequence[LoraTensors | None], rank: int) -> LoraTensors:
    """The mean of both A and of both B, which keeps the rank but is no mean of the changes."""
    there = [a for a in adapters if a is not None]
    names = there[0].a if there else {}
    return LoraTensors(
        {n: torch.stack([a.a[n] for a in there]).sum(dim=0) / len(adapters) for n in names},
        {n: torch.stack([a.b[n] for a in there]).sum(dim=0) / len(adapters) for n in names},
        rank,
    )


def of_one_tower(engine: Engine, bank: SlotBank, adapter: LoraTensors | None, owns: Sequence[Sequence[Own]]) -> Floats:
    """Scores (N,) of both people's songs as one history, each person with the same weight in all."""
    songs = [song for own in owns for song in own]
    liked = [sum(song.weight for song in own if song.weight > 0) for own in owns]
    weights = [song.weight / total for own, total in zip(owns, liked, strict=True) for song in own]
    key = None if adapter is None or not adapter.a else ("blend", adapter)
    bank.drop("blend")
    parts = [
        bank.encode(engine.base.lower([s.text for s in songs[i : i + 64]]), [key] * len(songs[i : i + 64])).numpy()
        for i in range(0, len(songs), 64)
    ]
    taste = ranking.taste_of(
        [s.id for s in songs], np.concatenate(parts), np.array(weights, np.float32), engine.vectors.snapshot().mean,
        engine.settings.rule,
    )  # fmt: skip
    return ranking.scores(taste, engine.vectors.snapshot().units)


def rankings(engine: Engine, bank: SlotBank, pair: Pair, songs: Sequence[data.Song]) -> Mapping[str, Sequence[Floats]]:
    """By row: the scores for the first and for the second, which are the same wherever there is one list for both."""
    owns = [own_of(case, songs) for case in pair]
    adapters = [adapter_of(engine, case, own) for case, own in zip(pair, owns, strict=True)]
    base = [engine.score("", None, own)[0] for own in owns]
    single = [
        engine.score(listener_id(case), VERSION if adapter is not None else None, own)[0]
        for case, own, adapter in zip(pair, owns, adapters, strict=True)
    ]
    rank = engine.settings.rank
    open_rows = np.setdiff1d(np.arange(len(songs)), sorted({*pair[0].out, *pair[1].out}))

    def listed(values: Floats) -> list[int]:
        return [int(row) for row in ranking.top(values, open_rows, LISTED)]

    both: dict[str, Floats] = {
        PRODUCT: fair(single, [1, 1], listed)[0],
        "taking turns alone": together(single, [1, 1])[0],
        "taking turns, no adapters": together(base, [1, 1])[0],
        "places, reciprocal rank fusion, k = 5": fused(single, 5),
        "scores, averaged": standard(single[0]) + standard(single[1]),
        "scores averaged, no adapters": standard(base[0]) + standard(base[1]),
        "scores, soft maximum": soft_maximum(single),
        "scores, soft maximum, levelled": soft_maximum([v - np.quantile(v, LEVEL) for v in single]),
        "scores, the lower of two": np.minimum(standard(single[0]), standard(single[1])),
        "weights, no adapters": of_one_tower(engine, bank, None, owns),
        "weights, changes added": of_one_tower(engine, bank, summed(adapters, rank), owns),
        "weights, A and B averaged": of_one_tower(engine, bank, averaged(adapters, rank), owns),
    }
    rows: dict[str, Sequence[Floats]] = {name: (values, values) for name, values in both.items()}
    return rows | {"own list alone": single, "the other's list": single[::-1]}


def fused(values: Sequence[Floats], k: float) -> Floats:
    """Sum of 1/(k + place) over both people (Cormack et al. 2009): (N,)."""
    places = [np.argsort(np.argsort(-one, kind="stable"), kind="stable") + 1 for one in values]
    result: Floats = np.sum([1 / (k + place) for place in places], axis=0).astype(np.float32)
    return result


def soft_maximum(values: Sequence[Floats]) -> Floats:
    """A song needs to fit one of them: log of the mean of exp(sharp · score), as a history of both would be scored."""
    result: Floats = (np.log(np.mean([np.exp(ranking.SHARP * v) for v in values], axis=0)) / ranking.SHARP).astype(
        np.float32
    )
    return result


def standard(values: Floats) -> Floats:
    """Scores (N,) brought to mean 0 and spread 1."""
    result: Floats = (values - values.mean()) / max(float(values.std()), 1e-9)
    return result


def quality(values: Floats, pair: Pair, which: int) -> tuple[float, float]:
    """nDCG@10 and Recall@100 of one person's hidden songs; what either knows is out."""
    out = sorted({*pair[0].out, *pair[1].out})
    known = set(out)
    hidden = np.array([song for song in pair[which].hidden if song not in known], np.int64)
    ranks = ranks_of(values.astype(np.float32), hidden, np.array(out, np.int64))
    return ndcg(ranks), float((ranks <= 100).mean()) if len(ranks) else 0.0


def table(found: Mapping[str, Sequence[Sequence[tuple[float, float]]]]) -> str:
    """Rows of mean over both people and of the worse served one, with the paired difference to the product's row."""
    titles = (
        "one list for two",
        "nDCG@10, both",
        "worse served",
        "Recall@100, both",
        "worse served",
        "nDCG@10 − product",
    )
    lines = ["| " + " | ".join(titles) + " |", "|---|---|---|---|---|---|"]
    reference = np.array([[p[0] for p in people] for people in found[PRODUCT]]).mean(axis=1)
    for name, pairs in found.items():
        values = np.array(pairs)  # (pairs, 2 people, 2 metrics)
        mean, worse = values.mean(axis=1), values.min(axis=1)
        gap = bootstrap(mean[:, 0] - reference)
        lines.append(
            f"| {name} | {mean[:, 0].mean():.3f} | {worse[:, 0].mean():.3f} | {mean[:, 1].mean():.3f} | "
            f"{worse[:, 1].mean():.3f} | {gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}] |"
        )
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.blends", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--work", type=Path, default=None)
    options = parser.parse_args(words)
    settings = Settings()
    read = data.read(options.data)
    histories = {user: [read.songs[x.song].id for x in them] for user, them in read.listens.items()}
    cases = protocol.questions("discover", read, listeners.measurable(histories, settings.music)).cases
    cases = [case for case in cases if len(case.liked) >= settings.min_songs]
    work = (options.work or settings.data / "bench") / read.digest[:16]
    shutil.rmtree(work / "adapters", ignore_errors=True)  # a killed run's
    engine = open_engine(settings, work, settings.music, read.rule, 0)
    with tqdm(total=len(read.songs), desc="encoding") as bar:
        engine.encode_songs(
            [(row, s.text) for row, s in enumerate(read.songs)], lambda done, _: bar.update(done - bar.n)
        )
    if engine.vectors.snapshot().ids.tolist() != list(range(len(read.songs))):  # scores must come in this order
        stored = engine.vectors.snapshot()
        engine.vectors.clear()
        order = stored.vectors[stored.rows(list(range(len(read.songs))))]
        engine.vectors.append(list(range(len(read.songs))), [s.text for s in read.songs], order)
    bank = SlotBank(engine.base, 2 * settings.rank, 1)
    pairs = list(zip(cases[::2], cases[1::2], strict=False))[: options.pairs]
    found: dict[str, list[list[tuple[float, float]]]] = {}
    for pair in tqdm(pairs, desc="pairs"):
        for name, scored in rankings(engine, bank, pair, read.songs).items():
            found.setdefault(name, []).append([quality(scored[which], pair, which) for which in (0, 1)])
        (work / "so-far.md").write_text(table(found) + "\n", encoding="utf-8")  # a killed run has shown something
        for case in pair:
            engine.forget(listener_id(case))
            engine.store.remove(listener_id(case))
    print(f"{read.name}: {len(pairs)} pairs, {len(read.songs)} songs, rule {engine.settings.rule}\n\n{table(found)}")


if __name__ == "__main__":
    main()
