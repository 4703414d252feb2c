"""``python -m benchmarks.cluster``: lists a second by Ray with one and two encoders, beside the single process.

Every list has a wish of its own, so each needs a forward pass through its listener's adapter. Writes
benchmarks/cluster.md.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.settings import PROJECT, Settings
from benchmarks.speed.place import Client, Person, Place, served

BROWSERS = 16


@dataclass(frozen=True, slots=True)
class Measured:
    """Lists a second, and milliseconds of one: median and 95 %."""

    what: str
    a_second: float
    median_ms: float
    high_ms: float


def crowd(port: int, people: list[Person], asks: int, what: str) -> Measured:
    """Browsers that each ask for list after list, the listeners in turn; the first of everybody's only warm up."""
    clients = [Client(port, person.token) for person in people]
    locks = [threading.Lock() for _ in people]

    def ask(number: int) -> float:
        at = number % len(clients)
        with locks[at]:
            started = time.perf_counter()
            query = urllib.parse.urlencode({"wish": f"songs for hour {number}", "count": 20})
            status, _ = clients[at].get(f"/api/v1/recommendations?{query}")
            if status != 200:
                raise RuntimeError(f"{what}: status {status}")
            return 1000 * (time.perf_counter() - started)

    with ThreadPoolExecutor(BROWSERS) as pool:
        list(pool.map(ask, range(len(people))))
        started = time.perf_counter()
        took = list(pool.map(ask, range(len(people), len(people) + asks)))
        seconds = time.perf_counter() - started
    return Measured(what, asks / seconds, float(np.median(took)), float(np.quantile(took, 0.95)))


@contextmanager
def by_ray(settings: Settings, encoders: int) -> Iterator[None]:
    """The app on a Ray cluster of one machine, with so many encoders."""
    from app.cluster.starting import Shape, connect, deploy

    shape = Shape(least_encoders=encoders, most_encoders=encoders, encoder_cpus=0.5)
    ray = connect(settings, shape)
    from ray import serve

    deploy(settings, shape)
    try:
        yield
    finally:
        serve.shutdown()
        ray.shutdown()


def measure(songs: int, listeners: int, asks: int, rounds: int) -> list[Measured]:
    """The single process, then one and two encoders, in turn; of each the best round, since other work goes on."""
    found: list[list[Measured]] = [[], [], []]
    with tempfile.TemporaryDirectory() as home:
        place = Place(Path(home), songs, threads=1)
        people = place.people(listeners, seed=61)
        place.db.close()
        for _ in range(rounds):
            with served(place.settings) as server:
                found[0].append(crowd(server.port, people, asks, "single process"))
            for encoders in (1, 2):
                settings = place.settings.model_copy(update={"port": server.port + encoders})
                with by_ray(settings, encoders):
                    name = f"Ray Serve, {encoders} encoder{'s' if encoders > 1 else ''}"
                    found[encoders].append(crowd(settings.port, people, asks, name))
    return [max(several, key=lambda one: one.a_second) for several in found]


def main() -> None:
    """Measure, print, and write benchmarks/cluster.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--songs", type=int, default=2000, help="songs of the catalogue")
    parser.add_argument("--listeners", type=int, default=100, help="listeners with an adapter each")
    parser.add_argument("--asks", type=int, default=600, help="lists asked for while measured")
    parser.add_argument("--rounds", type=int, default=2, help="rounds, of which the best counts")
    parser.add_argument("--machine", default="this machine", help="what the page calls the machine")
    parser.add_argument("--date", default="", help="the date of the measurement")
    chosen = parser.parse_args()
    found = measure(chosen.songs, chosen.listeners, chosen.asks, chosen.rounds)
    ratios = [found[1].a_second / found[0].a_second, found[2].a_second / found[1].a_second]
    lines = [
        "# Ray beside the single process",
        "",
        f"{chosen.machine}, {chosen.date}: {chosen.listeners} listeners with an adapter each, {chosen.songs:,} songs, "
        f"{BROWSERS} browsers that ask without a pause, {chosen.asks} lists, each with a wish of its own and so with a "
        "forward pass through the listener's adapter. `python -m benchmarks.cluster` writes this page.",
        "",
        "| what | lists a second | median | 95 % |",
        "|---|---|---|---|",
        *(f"| {m.what} | {m.a_second:.1f} | {m.median_ms:.0f} ms | {m.high_ms:.0f} ms |" for m in found),
        "",
        f"One encoder gives {ratios[0]:.2f} times the lists of the single process, two give {ratios[1]:.2f} times "
        "those of one. The single process computes in the process of its pages, with half of the cores; an encoder has "
        "a process of its own, which is what is gained here. A second one has no core left: pages, proxy, encoders and "
        "browsers share this machine, so this shows what a cluster costs, not what more machines bring.",
        "",
    ]
    text = "\n".join(lines)
    print(text)
    (PROJECT / "benchmarks" / "cluster.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
