"""A home to measure in: the starter catalogue's first songs, listeners with adapters, and the app as it is served."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count as count_from
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from sqlalchemy import func, select, text

from app.db import Database
from app.lm.engine import Engine
from app.lm.song_text import song_text
from app.lm.vectors import unit
from app.opening import open_engine
from app.services import accounts, catalogue, listens, preparing
from app.settings import PROJECT, Settings
from app.starter.reading import read
from app.tables import AdapterVersion, Listener, Song, new_id

SONGS = 10_000
LISTENS = 100
SAME_SITE = {"Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True, slots=True)
class Person:
    """A listener of the benchmark, signed in."""

    id: str
    token: str
    version: str | None
    songs: tuple[int, ...]


class Place:
    """One home. Its catalogue and vectors are made once and found again by the next run in the same folder."""

    def __init__(self, home: Path, songs: int = SONGS, threads: int = 0, **given: Any) -> None:
        """``given``: settings other than the home."""
        self.settings = Settings(home=home, **given)
        preparing.migrate(self.settings.url)
        self.db = Database(self.settings.url)
        self.engine: Engine = open_engine(self.settings, threads)
        with self.db.write() as session:
            if not session.scalar(select(func.count()).select_from(Song)):
                catalogue.load_starter(session, _first(songs))
            if not accounts.has_administrator(session):
                accounts.add_listener(session, "Administrator", None, is_admin=True)
        with self.db.read() as session:
            texts = catalogue.texts(session, song_text)
        self.engine.encode_songs(texts)
        self.songs = [song for song, _ in texts]
        self.texts = dict(texts)

    def people(
        self, count: int, seed: int, *, adapters: bool = True, listened: int = LISTENS, by_facts: bool = False
    ) -> list[Person]:
        """Listeners with a taste, and an adapter each on disk and live, if wanted.

        by_facts: their songs are of artists whom the catalogue says are related, not those that lie together by the
        base itself: where it is asked what was learnt of a taste, the base must not have made it.
        """
        return [self._person(seed * 100_000 + number, adapters, listened, by_facts) for number in range(count)]

    def _person(self, number: int, adapter: bool, listened: int, by_facts: bool) -> Person:
        draw = np.random.default_rng(number)
        liked = self._related(draw, listened) if by_facts else self._liked(draw, listened)
        songs = tuple(int(song) for song in liked)
        with self.db.write() as session:
            listener = accounts.add_listener(session, f"Listener {number} {new_id()}", None)
            values = [{"who": listener.id, "song": song, "at": 1_700_000_000 + 60 * n} for n, song in enumerate(songs)]
            session.execute(
                text(
                    "INSERT INTO listens (listener_id, song_id, listened_at, plays, ended, source, created_at)"
                    " VALUES (:who, :song, :at, 1, 'played', 'web', 0)"
                ),
                values,
            )
            token = accounts.start_session(session, listener.id, 1)
        version = self._adapter(listener, songs, draw) if adapter else None
        return Person(listener.id, token, version, songs)

    def _liked(self, draw: np.random.Generator, count: int) -> np.ndarray:
        """Songs that lie together: the nearest to three drawn ones, by the base."""
        units = self.engine.vectors.snapshot().units
        ids = self.engine.vectors.snapshot().ids
        near = np.max([units @ units[int(row)] for row in draw.integers(0, len(ids), 3)], axis=0)
        return draw.permutation(ids[np.argsort(-near)[: 2 * count]])[:count]

    def _related(self, draw: np.random.Generator, count: int) -> np.ndarray:
        """Half the songs of three drawn artists, of those related to them, and so on until there are enough."""
        by_artist = self._songs_by_artist()
        related = {artist.name: [name for name in artist.related if name in by_artist] for artist in read()}
        names = sorted(by_artist)
        met = [names[int(row)] for row in draw.choice(len(names), 3, replace=False)]
        found: list[int] = []
        for place in count_from(0):
            if place == len(met):  # nobody related is left
                met.append(names[int(draw.integers(len(names)))])
            found += by_artist[met[place]]
            met += [name for name in draw.permutation(related.get(met[place], [])).tolist() if name not in met]
            if len(found) >= 2 * count:
                break
        return draw.permutation(np.array(sorted(set(found)), np.int64))[:count]

    def _songs_by_artist(self) -> dict[str, list[int]]:
        with self.db.read() as session:
            rows = session.execute(select(Song.artist, Song.id).order_by(Song.id)).all()
        found: dict[str, list[int]] = {}
        for artist, song in rows:
            found.setdefault(artist, []).append(song)
        return found

    def _adapter(self, listener: Listener, songs: tuple[int, ...], draw: np.random.Generator) -> str:
        """A small random LoRA and vectors near the base's: what an ask costs does not depend on what was learnt."""
        version, engine = new_id(), self.engine
        shapes, rank = engine.bank.shapes, engine.settings.rank
        random = torch.Generator().manual_seed(int(draw.integers(2**31)))
        tensors = {}
        for name, (inputs, outputs) in shapes.items():
            tensors[f"base_model.model.{name}.lora_A.weight"] = 0.05 * torch.randn(rank, inputs, generator=random)
            tensors[f"base_model.model.{name}.lora_B.weight"] = 0.05 * torch.randn(outputs, rank, generator=random)

        def save(folder: Path) -> None:
            save_file(tensors, folder / "adapter_model.safetensors")
            (folder / "adapter_config.json").write_text(PEFT_CONFIG % (rank, 2 * rank, _quoted(list(shapes))))

        engine.store.write(listener.id, version, save, {"base_fingerprint": engine.fingerprint})
        snapshot = engine.vectors.snapshot()
        vectors = unit(snapshot.vectors[snapshot.rows(list(songs))] + draw.normal(0, 0.01, 384).astype(np.float32))
        from app.lm.asking import Own

        engine.towers.leave(listener.id, version, [Own(song, self.texts[song], 1.0) for song in songs], vectors)
        held = {"ranks": [1], "gain": 0.5, "found": 1, "ndcg_10": 0.5, "of": 1, "within": 100}
        with self.db.write() as session:
            session.add(
                AdapterVersion(
                    id=version, listener_id=listener.id, number=1, promoted=True, why="", before=held, after=held,
                    base_fingerprint=engine.fingerprint, difference=0.1, low=0.0, high=0.2, learnt_from=8,
                    trainable_parameters=1, base_parameters=2, size=1, seconds=1.0,
                )
            )  # fmt: skip
            session.get_one(Listener, listener.id).live_version = version
        return version


PEFT_CONFIG = (
    '{"peft_type": "LORA", "r": %d, "lora_alpha": %d, "target_modules": [%s], "task_type": "FEATURE_EXTRACTION",'
    ' "bias": "none", "lora_dropout": 0.0, "inference_mode": true}'
)


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _first(songs: int) -> list:
    chosen, count = [], 0
    for artist in read():
        if count >= songs:
            break
        chosen.append(artist)
        count += len(artist.songs)
    return chosen


class Client:
    """A browser of one listener that keeps its connection."""

    def __init__(self, port: int, token: str = "") -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.headers = SAME_SITE | ({"Cookie": f"earshot={token}"} if token else {})

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        return self._send("GET", path, None, self.headers)

    def post(self, path: str) -> int:
        """Status of an empty form."""
        return self._send("POST", path, b"", self.headers | {"Content-Length": "0"})[0]

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        try:
            self.connection.request(method, path, body=body, headers=headers)
            answer = self.connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionError):  # the server ends what was idle for seconds
            self.connection.close()
            self.connection.request(method, path, body=body, headers=headers)
            answer = self.connection.getresponse()
        return answer.status, answer.read()

    def ask(self) -> bytes:
        """A list; waits and asks again where the server says that it is too busy."""
        while True:
            status, body = self.get("/recommend")
            if status == 200 and b"data-song" in body:
                return body
            if status != 503:
                raise RuntimeError(f"/recommend gave {status} and no list")
            time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Server:
    """The served pair of processes."""

    port: int
    pid: int
    started: float

    def resident_mb(self) -> float:
        """Proportional set size of web process and worker together, in MB."""
        return sum(_pss(pid) for pid in [self.pid, *_children(self.pid)]) / 1024


@contextmanager
def served(settings: Settings, *, wait_for_base: bool = True) -> Iterator[Server]:
    """`earshot serve` on a free port, until the block ends."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    environment = os.environ | {
        "EARSHOT_HOME": str(settings.home), "EARSHOT_PORT": str(port), "EARSHOT_LOG_LEVEL": "warning",
    }  # fmt: skip
    started = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "app", "serve"], env=environment, cwd=PROJECT, start_new_session=True
    )
    try:
        _first_page(port, started)
        server = Server(port, child.pid, time.perf_counter() - started)
        while wait_for_base and Client(port).get("/readyz")[0] != 200:
            time.sleep(0.05)
        yield server
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(60)


def _first_page(port: int, started: float) -> None:
    while time.perf_counter() - started < 120:
        try:
            if Client(port).get("/login")[0] < 500:
                return
        except OSError:
            time.sleep(0.01)
    raise RuntimeError("the server did not come up")


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    threads = [p for t in Path(f"/proc/{pid}/task").iterdir() for p in (t / "children").read_text().split()]
    return sorted({int(child) for child in [*found, *threads]})


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


__all__ = ["Client", "Person", "Place", "Server", "listens", "served"]
