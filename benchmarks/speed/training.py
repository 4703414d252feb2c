"""A retrain from the click to the new list, beside transformers' Trainer with PEFT on all linear layers."""

from __future__ import annotations

import copy
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, TaskType, get_peft_model

from app.lm import evaluation, ranking
from app.lm.engine import HELD_OUT_SHARE, Engine
from app.lm.ranking import SHARP
from benchmarks.quality.measures import bootstrap
from benchmarks.speed.asking import click, wait
from benchmarks.speed.place import Client, Person, Place, served
from benchmarks.speed.table import Row, seconds

TEMPERATURE = 0.05
_PEOPLE = 8  # twenty hidden songs each: of three people a song or two decide which way is the better one


def measure(place: Place, quick: bool) -> Iterator[Row]:
    """retrain_100_s and retrain_growth."""
    people = place.people(1 if quick else _PEOPLE, seed=21, adapters=False, by_facts=True)
    (early,) = place.people(1, seed=22, adapters=False)
    mine, ours_ndcg, ungated, live = [], [], [], []
    with served(place.settings) as server:
        # Nobody has opened "my taste", so the worker is at rest: who clicks first waits for torch and the base too.
        cold = _retrain(place, Client(server.port, early.token), early)
        for person in people:
            client = Client(server.port, person.token)
            mine.append(_retrain(place, client, person))
            version = wait(place, person).version
            card = place.engine.store.card(person.id, version)
            live.append(card["promoted"])
            ungated.append(card["after"]["ndcg_10"])
            ours_ndcg.append(card["after" if card["promoted"] else "before"]["ndcg_10"])  # of what answers from now on
        growth = dict(_growth(place, server.port, quick))
    theirs, stock_ndcg = [], []
    for person in people:
        took, found = stock(place, person.songs)
        theirs.append(took)
        stock_ndcg.append(found)
    # A new list is that of a version that went live, which has gone on with the hidden songs; the others end earlier.
    best, least = min([took for took, lives in zip(mine, live, strict=True) if lives] or mine), min(theirs)
    as_good = bool(np.mean(ours_ndcg) >= np.mean(stock_ndcg))
    gap = bootstrap(np.array(ours_ndcg) - np.array(stock_ndcg))
    yield Row(
        "retrain_100_s", "100 listens, click to new list, everything included", best, "s", "≤5 s and ≥6×",
        best <= 5 and least / best >= 6 and as_good, least, "stock_retrain_100_s",
        "Trainer + PEFT on all linear layers",
        least / best, more={
            "retrain_cold_s": cold, "retrain_100_all_s": mine, "retrain_100_live": live,
            "retrain_100_ndcg": float(np.mean(ours_ndcg)),
            "retrain_100_ungated_ndcg": float(np.mean(ungated)),
            "stock_retrain_100_ndcg": float(np.mean(stock_ndcg)),
            "retrain_100_ndcg_over_stock": [gap.mean, gap.low, gap.high],
            "retrain_100_all_ndcg": ours_ndcg, "stock_retrain_100_all_ndcg": stock_ndcg,
        },
    )  # fmt: skip
    counts = sorted(growth)
    steps = growth[counts[-1]] / growth[counts[-2]]
    yield Row(
        "retrain_growth", f"{counts[-1]:,} listens over {counts[-2]:,}", steps, "times", "sub-linear beyond 1,000",
        steps < 0.7 * counts[-1] / counts[-2], more={"retrain_growth_s": growth},
    )  # fmt: skip


def _retrain(place: Place, client: Client, person: Person) -> float:
    """Seconds from the click to the new list."""
    client.ask()  # the web process has the base
    return seconds(lambda: (click(client), wait(place, person), client.ask()))


def _growth(place: Place, port: int, quick: bool) -> Iterator[tuple[int, float]]:
    for count in (100, 1000) if quick else (100, 1000, 10_000):
        person = place.people(1, seed=30 + count, adapters=False, listened=min(count, len(place.songs) // 2))[0]
        client = Client(port, person.token)
        yield count, seconds(lambda c=client, p=person: (click(c), wait(place, p), c.ask()))


@dataclass(frozen=True, slots=True)
class Learnt:
    """What the stock way needs of a place: an engine, and the text of each song."""

    engine: Engine
    texts: Mapping[int, str]


def stock(place: Place | Learnt, songs: Sequence[int]) -> tuple[float, float]:
    """Seconds, and nDCG@10 on the hidden songs: LoRA of rank 8 on every linear layer, no caching, our own objective.

    Same songs learnt from and hidden, as many passes over them, each song found from the others of its batch.
    """
    base, snapshot = place.engine.base, place.engine.vectors.snapshot()
    learn, hide = evaluation.split(songs, HELD_OUT_SHARE, 0)
    passes = place.engine.training_settings().steps
    model: Any = None

    def run() -> None:
        nonlocal model
        config = LoraConfig(
            r=8, lora_alpha=16, target_modules="all-linear", task_type=TaskType.FEATURE_EXTRACTION, lora_dropout=0.0
        )
        model = get_peft_model(copy.deepcopy(base.network), config)
        _train(place, model, learn, passes)

    took = seconds(run)
    with torch.inference_mode():
        ids, mask = base.tokenize([place.texts[song] for song in learn])
        vectors = base.pool(model.eval()(input_ids=ids, attention_mask=mask).last_hidden_state, mask, ids).numpy()
    taste = ranking.taste_of(learn, vectors, np.ones(len(learn), np.float32), snapshot.mean, "interest")
    values = ranking.scores(taste, snapshot.units)
    return took, evaluation.measure(values, snapshot.rows(hide), snapshot.rows(learn)).ndcg_10


def _train(place: Place | Learnt, model: Any, songs: list[int], epochs: int) -> None:
    from transformers import Trainer, TrainingArguments

    base, snapshot = place.engine.base, place.engine.vectors.snapshot()
    mean = torch.from_numpy(snapshot.mean)
    draw = torch.Generator().manual_seed(0)

    class Contrastive(Trainer):  # type: ignore[misc]
        """Each song of a batch is to be found from the others among 3,000 random ones."""

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
            hidden = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).last_hidden_state
            vectors = base.pool(hidden, inputs["attention_mask"], inputs["input_ids"])
            units = torch.nn.functional.normalize(vectors - mean, dim=1)
            rows = torch.randperm(len(snapshot.ids), generator=draw)[:3000]
            own = torch.from_numpy(snapshot.units[inputs["row"].numpy()])
            candidates = torch.cat([torch.from_numpy(snapshot.units[rows.numpy()]), own])
            speaking = candidates @ units.T * SHARP
            losses = []
            for place_, _row in enumerate(inputs["row"]):
                others = torch.arange(len(units)) != place_
                values = torch.logsumexp(speaking[:, others], dim=1) / SHARP / TEMPERATURE
                right = values[len(rows) + place_]
                losses.append(torch.logsumexp(torch.cat([values[: len(rows)], right[None]]), 0) - right)
            return torch.stack(losses).mean()

    texts = [place.texts[song] for song in songs]
    data = [{"text": text, "row": int(row)} for text, row in zip(texts, snapshot.rows(songs), strict=True)]

    def collate(part: list[dict[str, Any]]) -> dict[str, Any]:
        ids, mask = base.tokenize([each["text"] for each in part])
        return {"input_ids": ids, "attention_mask": mask, "row": torch.tensor([each["row"] for each in part])}

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        arguments = TrainingArguments(
            folder, num_train_epochs=epochs, per_device_train_batch_size=32, learning_rate=2.5e-3, use_cpu=True,
            report_to=[], save_strategy="no", logging_strategy="no", remove_unused_columns=False, disable_tqdm=True,
        )  # fmt: skip
        Contrastive(model, arguments, train_dataset=data, data_collator=collate).train()
