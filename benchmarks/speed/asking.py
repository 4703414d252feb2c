"""A list over HTTP: warm, cold, while somebody's taste is learnt, and for many at once; the start and the memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from app.lm import ranking
from app.services import retraining
from app.tables import Job
from benchmarks.speed import adapters
from benchmarks.speed.place import Client, Person, Place, Server, served
from benchmarks.speed.table import Row, quantile, seconds

WARM, COLD, AT_ONCE, RESIDENT = 20, 100, 200, 1000


def _times(clients: list[Client], count: int) -> list[float]:
    """Milliseconds of asks one after another, the listeners in turn."""
    return [1000 * seconds(clients[n % len(clients)].ask) for n in range(count)]


def measure(place: Place, quick: bool) -> Iterator[Row]:
    """ask_p50_ms to page_ms."""
    part = 10 if quick else 1
    warm = place.people(WARM // (4 if quick else 1), seed=11)
    cold = place.people(COLD // part, seed=12)
    crowd = place.people(AT_ONCE // part, seed=13)
    others = place.people((RESIDENT - AT_ONCE) // part, seed=14)
    with served(place.settings) as server:
        page = min(1000 * seconds(lambda: Client(server.port).get("/login")) for _ in range(20))
        first = server.started
        clients = [Client(server.port, person.token) for person in warm]
        for client in clients * 2:
            client.ask()
        floor = quantile([1000 * seconds(lambda: clients[0].get("/healthz")) for _ in range(200)], 0.5)
        idle = _times(clients, 1000 // part)
        yield Row(
            "ask_p50_ms", "a list over HTTP, 10,000 songs, warm, median", quantile(idle, 0.5), "ms", "",
            limit=floor, limit_what="/healthz of the same server",
        )  # fmt: skip
        yield Row("ask_p99_ms", "the same, 99 %", quantile(idle, 0.99), "ms", "≤15 ms", quantile(idle, 0.99) <= 15)
        first_asks = [1000 * seconds(Client(server.port, person.token).ask) for person in cold]
        yield Row(
            "ask_cold_p99_ms", "the adapter on disk, each listener's first ask, 99 %", quantile(first_asks, 0.99), "ms",
            "≤60 ms", quantile(first_asks, 0.99) <= 60, more={"ask_cold_p50_ms": quantile(first_asks, 0.5)},
        )  # fmt: skip
        yield _at_once(place, server, crowd, quick)
        for person in others:
            Client(server.port, person.token).ask()
        resident = server.resident_mb()
        yield Row(
            "resident_mb", f"web process and worker, 10,000 songs, {len(others) + len(crowd):,} listeners asked",
            resident, "MB", "≤1,200 MB", resident <= 1200,
        )  # fmt: skip
        busy, runs = _while_training(place, server, clients, 300 // part)
        yield Row(
            "ask_p99_ms_training", "a list while retrains run, 99 %", quantile(busy, 0.99), "ms", "≤3× idle",
            quantile(busy, 0.99) <= 3 * quantile(idle, 0.99), ratio=quantile(busy, 0.99) / quantile(idle, 0.99),
            more={"ask_p50_ms_training": quantile(busy, 0.5), "retrains_meanwhile": runs},
        )  # fmt: skip
    starts = [first]
    for _ in range(1 if quick else 3):
        with served(place.settings, wait_for_base=False) as server:
            starts.append(server.started)
    yield Row(
        "start_s", "process start to the first page", min(starts), "s", "≤2 s", min(starts) <= 2,
        more={"page_ms": page, "start_all_s": [round(start, 2) for start in starts]},
    )  # fmt: skip


def _at_once(place: Place, server: Server, crowd: list[Person], quick: bool) -> Row:
    clients = [Client(server.port, person.token) for person in crowd]

    def all_at_once() -> None:
        with ThreadPoolExecutor(len(clients)) as pool:
            list(pool.map(Client.ask, clients))

    took = seconds(all_at_once)
    each = _one_by_one(place, crowd[:5])
    mine, theirs = len(crowd) / took, 1 / each
    return Row(
        "asks_per_s", f"{len(crowd)} listeners asking at once over HTTP, none warm", mine, "/s", "≥5×",
        mine / theirs >= 5, theirs, "stock_asks_per_s", "one at a time, PEFT set_adapter", mine / theirs,
    )  # fmt: skip


def _one_by_one(place: Place, crowd: list[Person]) -> float:
    """Seconds a listener the stock way: set_adapter, encode the own songs, rank; no HTTP, no database, no page."""
    base, snapshot = place.engine.base, place.engine.vectors.snapshot()
    with TemporaryDirectory() as folder:
        model, _ = adapters.stock(base, Path(folder), len(crowd))
    units, least = np.asarray(snapshot.units), float("inf")
    for number, person in enumerate(crowd):

        @torch.inference_mode()
        def ask(name: str = f"a{number:04d}", songs: tuple[int, ...] = person.songs) -> None:
            model.set_adapter(name, inference_mode=True)
            parts = []
            for start in range(0, len(songs), 32):
                ids, mask = base.tokenize([place.texts[song] for song in songs[start : start + 32]])
                parts.append(base.pool(model(input_ids=ids, attention_mask=mask).last_hidden_state, mask, ids))
            vectors = torch.cat(parts).numpy()
            taste = ranking.taste_of(songs, vectors, np.ones(len(songs), np.float32), snapshot.mean, "interest")
            np.argpartition(-ranking.scores(taste, units), 20)

        least = min(least, seconds(ask))
    return least


def click(client: Client) -> None:
    """Press "retrain my taste"."""
    if client.post("/taste/retrain") not in (200, 303):
        raise RuntimeError("the retrain was refused")


def wait(place: Place, person: Person, patience: float = 600) -> Job:
    """The listener's newest job once it has ended. Until then one number is looked at, which takes next to no time."""
    until, seen = time.monotonic() + patience, None
    while time.monotonic() < until:
        seen, before = place.db.changes(), seen
        if seen != before:
            with place.db.read() as session:
                job = retraining.latest(session, person.id)
            if job is not None and job.state not in retraining.ACTIVE:
                return job
        time.sleep(0.005)
    raise RuntimeError("the retrain did not end")


def _while_training(place: Place, server: Server, clients: list[Client], count: int) -> tuple[list[float], int]:
    """Milliseconds of asks that were answered while a job was running, and how many jobs that took."""
    person, runs, times = place.people(1, seed=15, adapters=False)[0], 0, list[float]()
    for client in clients:  # as warm as beside nothing: somebody new makes every list anew, once
        client.ask()
    trainer = Client(server.port, person.token)
    while len(times) < count and runs < 40:
        click(trainer)
        runs += 1
        state: Any = "queued"
        while state in retraining.ACTIVE:
            took = 1000 * seconds(clients[len(times) % len(clients)].ask)
            with place.db.read() as session:
                job = retraining.latest(session, person.id)
            state = job.state if job else "gone"
            if state == "running":
                times.append(took)
    return times, runs
