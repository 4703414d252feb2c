"""Unit costs of one core, measured on the real engine: processor seconds, so that work beside it counts little."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from app.lm.asking import Ask, Own
from app.lm.lora import LoraFacts
from app.settings import PROJECT
from benchmarks.speed.place import Place

RECORDED = PROJECT / "benchmarks" / "scaling" / "units.json"
LISTENS = 100


@dataclass(frozen=True, slots=True)
class Units:
    """Seconds are those of one core; bytes are as they lie in RAM or on disk."""

    machine: str
    date: str
    dimension: int
    adapter_numbers: int
    adapter_ram_bytes: int
    adapter_disk_bytes: int
    own_vectors_bytes: int
    listen_bytes: int
    encode_song_s: float
    encode_mixed_s: float
    scan_song_s: float
    ask_warm_s: float
    retrain_s: float
    reread_s: float

    def as_json(self) -> str:
        """Readable, and the same for the same numbers."""
        return json.dumps(asdict(self), indent=1) + "\n"


def recorded(file: Path = RECORDED) -> Units:
    """The costs that were measured last."""
    return Units(**json.loads(file.read_text(encoding="utf-8")))


def _seconds(run: Callable[[], object], turns: int) -> float:
    """Least processor seconds of one run."""
    run()
    took = []
    for _ in range(turns):
        before = time.process_time()
        run()
        took.append(time.process_time() - before)
    return min(took)


def measure(machine: str, date: str, songs: int = 10_000, quick: bool = False) -> Units:
    """Measure in a fresh home with the starter catalogue's first songs and listeners of a hundred songs."""
    turns = 1 if quick else 5
    with tempfile.TemporaryDirectory() as home:
        place = Place(Path(home), songs, threads=1)
        engine = place.engine
        person = place.people(1, seed=51)[0]
        folder = engine.store.folder(person.id, person.version or "")
        beside = folder.path.parent / ".own" / f"{person.version}.safetensors"
        adapter = engine.adapter(person.id, person.version or "")
        texts = [place.texts[song] for song in place.songs[:: max(1, len(place.songs) // 256)]][:256]
        own = [Own(song, place.texts[song], 1.0) for song in person.songs]
        facts: LoraFacts = engine.facts()
        units = engine.vectors.snapshot().units
        draw = np.random.default_rng(1)
        query = draw.normal(size=units.shape[1]).astype(np.float32)

        def ask() -> None:
            engine.scores.forget(person.id)
            engine.recommend(person.id, person.version, own, Ask(count=20), lambda ids: {})

        def retrain() -> None:
            engine.train(person.id, f"{next(numbers):016x}", own, seed=1)

        numbers = iter(range(1, 100))
        measured = Units(
            machine=machine,
            date=date,
            dimension=engine.base.dimension,
            adapter_numbers=facts.trainable_parameters,
            adapter_ram_bytes=adapter[1].size,
            adapter_disk_bytes=folder.size,
            own_vectors_bytes=beside.stat().st_size,
            listen_bytes=_listen_bytes(place),
            encode_song_s=_seconds(lambda: engine.base.encode_many(texts), turns) / len(texts),
            encode_mixed_s=_seconds(lambda: engine.towers.texts(adapter, texts), turns) / len(texts),
            scan_song_s=_seconds(lambda: units.top(query, 50), 3 * turns) / len(units),
            ask_warm_s=_seconds(ask, 3 * turns),
            retrain_s=_seconds(retrain, 1 if quick else 3),
            reread_s=_seconds(
                lambda: engine.store.read(person.id, person.version or "", engine.fingerprint, engine.bank.shapes),
                3 * turns,
            ),
        )
        place.db.close()
    return measured


def _listen_bytes(place: Place) -> int:
    """What one more listen adds to the database file, indexes included."""
    place.db.outside_transaction("PRAGMA wal_checkpoint(TRUNCATE)")
    file = place.settings.data / "earshot.db"
    before = file.stat().st_size
    place.people(20, seed=52, adapters=False)
    place.db.outside_transaction("PRAGMA wal_checkpoint(TRUNCATE)")
    return max(1, (file.stat().st_size - before) // (20 * LISTENS))


def one_thread() -> None:
    """Costs are a core's: no work is spread over several."""
    torch.set_num_threads(1)
