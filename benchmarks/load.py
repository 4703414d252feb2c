"""Many listeners at once on a real server: they log, ask and look around, two retrains run, then SIGTERM under load.

python -m benchmarks.load --listeners 200 --seconds 600

Reports answers by kind with their times, errors, requests that were asked to come again, memory of both processes over
time, and whether every acknowledged listen is in the database. Leaves nothing behind.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from sqlalchemy import func, select, text

from app.db import Database
from app.opening import KINDS, open_engine
from app.services import accounts, catalogue, listens, preparing, retraining
from app.settings import PROJECT, Settings
from app.starter.reading import read
from app.tables import Job, Listen, Song

THINK_SECONDS = 8.0  # a listener's mean pause between two requests
RETRAINS = 2


@dataclass
class Tally:
    """What the listeners saw."""

    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)
    turned_away: int = 0
    logged: int = 0
    unknown: int = 0  # cut off by the end of the server: done or not, nobody was told
    memory: list[tuple[float, int]] = field(default_factory=list)


def prepare(home: Path, listeners: int, artists: int) -> tuple[Settings, list[str], list[int]]:
    """A place with people, some history each, and an encoded catalogue; gives session tokens and song ids."""
    settings = Settings(home=home)
    preparing.migrate(settings.url)
    db = Database(settings.url)
    with db.write() as session:
        catalogue.load_starter(session, read()[::artists])
    preparing.encode_with_bar(db, open_engine(settings), KINDS.song_text)
    with db.write() as session:
        songs = list(session.scalars(select(Song.id)))
        tokens = []
        for number in range(listeners):
            who = accounts.add_listener(session, f"Listener {number}", None, is_admin=number == 0)
            for song in random.Random(number).sample(songs, min(20, len(songs))):
                listens.log(session, who.id, song_id=song, at=1_600_000_000 + song)
            tokens.append(accounts.start_session(session, who.id, 1))
    db.close()
    return settings, tokens, songs


def start(settings: Settings) -> tuple[subprocess.Popen[bytes], str]:
    """`earshot serve` on a free port, once it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "EARSHOT_HOME": str(settings.home),
        "EARSHOT_PORT": str(port),
        "EARSHOT_LOG_LEVEL": "warning",
    }
    server = subprocess.Popen([sys.executable, "-m", "app", "serve"], cwd=PROJECT, env=environment)
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return server, url
        except httpx.HTTPError:
            pass
        if server.poll() is not None:
            break
        time.sleep(0.5)
    raise SystemExit("the server did not become ready")


async def listen(
    client: httpx.AsyncClient, token: str, songs: list[int], until: float, tally: Tally, seed: int
) -> None:
    """One listener: pause, then log, ask, or look."""
    dice, at = random.Random(seed), 1_650_000_000
    cookies = {"cookie": f"earshot={token}", "sec-fetch-site": "same-origin", "accept": "application/json"}
    while time.monotonic() < until:
        await asyncio.sleep(dice.expovariate(1 / THINK_SECONDS))
        kind = dice.choices(("log", "ask", "home", "taste", "search"), (50, 20, 15, 5, 10))[0]
        at += 60
        started = time.monotonic()
        try:
            if kind == "log":
                when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
                answer = await client.post(
                    "/listens", data={"song_id": dice.choice(songs), "when": when}, headers=cookies
                )
            else:
                path = {"ask": "/recommend", "home": "/", "taste": "/taste", "search": "/api/songs?q=love"}[kind]
                answer = await client.get(path, headers=cookies)
        except httpx.HTTPError as problem:
            if time.monotonic() < until:
                tally.errors[f"{kind}: {type(problem).__name__}"] += 1
            else:
                tally.unknown += kind == "log"
            continue
        tally.times[kind].append(time.monotonic() - started)
        if answer.status_code == 503 and "retry-after" in answer.headers:
            tally.turned_away += 1
            await asyncio.sleep(min(5, int(answer.headers["retry-after"])))
        elif answer.status_code != (201 if kind == "log" else 200):
            tally.errors[f"{kind}: {answer.status_code}"] += 1
        tally.logged += kind == "log" and answer.status_code == 201


async def watch(server: subprocess.Popen[bytes], until: float, tally: Tally) -> None:
    """The memory of web process and worker, now and then."""
    begun = time.monotonic()
    while time.monotonic() < until and server.poll() is None:
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        tally.memory.append((time.monotonic() - begun, sum(process.memory_info().rss for process in family)))
        await asyncio.sleep(5)


async def evening(
    url: str, tokens: list[str], songs: list[int], seconds: float, server: subprocess.Popen[bytes]
) -> Tally:
    """Everybody for so long, two retrains in it, and SIGTERM while they are still at it."""
    tally, until = Tally(), time.monotonic() + seconds
    limits = httpx.Limits(max_connections=len(tokens), max_keepalive_connections=len(tokens))
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        tasks = [asyncio.create_task(listen(client, t, songs, until + 3, tally, n)) for n, t in enumerate(tokens)]
        tasks.append(asyncio.create_task(watch(server, until, tally)))
        for token in tokens[:RETRAINS]:
            headers = {"cookie": f"earshot={token}", "sec-fetch-site": "same-origin"}
            answer = await client.post("/taste/retrain", headers=headers)
            if answer.status_code != 303:
                tally.errors[f"retrain: {answer.status_code}"] += 1
        await asyncio.sleep(max(0.0, until - time.monotonic()))
        ending = tally.errors.copy()
        server.send_signal(signal.SIGTERM)
        await asyncio.gather(*tasks)
        tally.errors = ending  # a refused connection after the end is no error
    return tally


def report(tally: Tally, settings: Settings, history: int, code: int) -> dict[str, object]:
    """Figures of a run."""
    db = Database(settings.url)
    with db.read() as session:
        kept = (session.scalar(select(func.count()).select_from(Listen)) or 0) - history
        whole = session.scalar(text("PRAGMA integrity_check")) == "ok"
        jobs = Counter(session.scalars(select(Job.state)))
        unfinished = sum(jobs[state] for state in retraining.ACTIVE)
    db.close()
    times = {kind: sorted(values) for kind, values in tally.times.items()}
    quarter = max(1, len(tally.memory) // 4)
    return {
        "answers": sum(map(len, times.values())), "errors": dict(tally.errors),
        "asked_to_come_again": tally.turned_away,
        "seconds_p50_p99": {k: (round(v[len(v) // 2], 3), round(v[int(len(v) * 0.99)], 3)) for k, v in times.items()},
        "listens_acknowledged": tally.logged, "listens_kept": kept, "cut_off": tally.unknown,
        "nothing_lost": tally.logged <= kept <= tally.logged + tally.unknown, "database_whole": whole,
        "memory_mb_first_quarter": round(sum(m for _, m in tally.memory[:quarter]) / quarter / 1e6),
        "memory_mb_last_quarter": round(sum(m for _, m in tally.memory[-quarter:]) / quarter / 1e6),
        "retrains": dict(jobs), "unfinished": unfinished, "exit_code": code,
    }  # fmt: skip


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listeners", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--artists", type=int, default=4, help="take every n-th artist of the starter catalogue")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="earshot-load-") as place:
        settings, tokens, songs = prepare(Path(place), given.listeners, given.artists)
        db = Database(settings.url)
        with db.read() as session:
            history = session.scalar(select(func.count()).select_from(Listen)) or 0
        db.close()
        server, url = start(settings)
        try:
            tally = asyncio.run(evening(url, tokens, songs, given.seconds, server))
            code = server.wait(60)
        finally:
            if server.poll() is None:
                server.kill()
        found = report(tally, settings, history, code)
    print(json.dumps(found, indent=1))
    sys.exit(bool(found["errors"]) or not found["nothing_lost"] or not found["database_whole"])


if __name__ == "__main__":
    main()
