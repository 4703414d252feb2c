"""How fast listens are imported: ``python -m benchmarks.imports [--json] [rows]`` writes benchmarks/imports.md.

A made-up Spotify history, from its file to the finished report: preview and run of 100,000 rows; the run alone of many
rows, with the memory that it takes; and the same rows by what one would write first, row by row with the ORM.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db import Database
from app.lm.song_text import song_text
from app.services import accounts, preparing
from app.services.imports import running
from app.services.imports.decoding import chunks
from app.services.imports.spotify import read_extended
from app.services.imports.staging import Staging
from app.services.plain_format import Row
from app.services.text import artist_key, title_key
from app.settings import PROJECT, Settings
from app.tables import Listen, Song

HISTORY = 100_000
BY_ROW = 4_000
SONGS = 12_000
ENCODED = 2_000


def write_history(path: Path, rows: int) -> None:
    """A history as Spotify exports it, about 660 bytes a row; a few songs are played very often."""
    draw = random.Random(3)
    at = datetime(2008, 1, 1, tzinfo=UTC)
    rest = {"platform": "Android OS 10 API 29 (samsung, SM-G960F)", "conn_country": "DE", "ip_addr": "192.0.2.1",
            "episode_name": None, "episode_show_name": None, "spotify_episode_uri": None, "reason_start": "trackdone",
            "reason_end": "trackdone", "shuffle": False, "skipped": False, "offline": False, "offline_timestamp": 0,
            "incognito_mode": False}  # fmt: skip
    with path.open("w", encoding="utf-8") as out:
        for n in range(rows):
            at += timedelta(seconds=draw.randint(20, 900))
            song = int(SONGS * draw.random() ** 2.2)
            row = {
                "ts": at.strftime("%Y-%m-%dT%H:%M:%SZ"), "ms_played": draw.choice([8_000, 95_000, 214_000, 322_000]),
                "master_metadata_track_name": f"Song number {song}", "spotify_track_uri": f"spotify:track:{song:022}",
                "master_metadata_album_artist_name": f"The Artist {song // 9}",
                "master_metadata_album_album_name": f"Album {song // 4}", **rest,
            }  # fmt: skip
            out.write(("[" if n == 0 else ",\n") + json.dumps(row))
        out.write("]")


class Place:
    """A home with one listener."""

    def __init__(self, folder: Path) -> None:
        url = f"sqlite:///{folder}/data/earshot.db"
        preparing.migrate(url)
        self.db, self.staging = Database(url), Staging(folder / "data" / "imports")
        with self.db.write() as session:
            self.listener = accounts.add_listener(session, "Ana", None).id


def timed(act: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - clock, time.process_time() - processor


def ours(place: Place, path: Path) -> dict[str, float]:
    """Preview and run as the page does it."""
    with place.db.write() as session:
        made = running.begin(session, place.listener, "web", path.name).id
    run = running.Run(place.db, place.staging, made, "bench:1")
    paths = [(path.name, path)]
    before = _peak()
    preview = timed(lambda: run.look(paths))
    with place.db.write() as session:
        running.start(session, place.listener, made)
    taking = timed(lambda: run.take(paths))
    with place.db.read() as session:
        taken = session.query(Listen).count()
    return {"preview_s": preview[0], "preview_cpu_s": preview[1], "run_s": taking[0], "run_cpu_s": taking[1],
            "before_mb": before, "peak_mb": _peak(), "listens": taken}  # fmt: skip


def _peak() -> float:
    """The largest resident set of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def row_by_row(place: Place, path: Path) -> dict[str, float]:
    """What one would write first: for each row find the song, look whether the listen is there, add, commit by 100."""

    def act() -> None:
        with path.open("rb") as stream, place.db.write() as session:
            for row in first(read_extended(chunks(stream)), BY_ROW):
                _add(session, place.listener, row)

    clock, processor = timed(act)
    return {"run_s": clock, "run_cpu_s": processor, "listens": BY_ROW}


def encoding(folder: Path) -> dict[str, float]:
    """What follows an import: its new songs are encoded by the base. Songs of one genre and a year, as most have."""
    from app.opening import open_engine

    engine = open_engine(Settings(home=folder), os.cpu_count() or 1)
    texts = [(n + 1, song_text(f"The Artist {n // 9}", f"Song number {n}", ["rock"], [], 1990)) for n in range(ENCODED)]
    engine.encode_songs(texts[:64])  # the first call prepares
    clock, processor = timed(lambda: engine.encode_songs(texts[64:]))
    return {"run_s": clock, "run_cpu_s": processor, "songs": ENCODED - 64}


def first(rows: Iterator[Any], most: int) -> Iterator[Row]:
    """The first good rows."""
    for _, row in zip(range(most), rows, strict=False):
        if isinstance(row, Row):
            yield row


def _add(session: Session, listener: str, row: Row) -> None:
    keys = (Song.artist_key == artist_key(row.artist), Song.title_key == title_key(row.title))
    song = session.scalar(select(Song).where(*keys))
    if song is None:
        song = Song(artist=row.artist, title=row.title, artist_key=artist_key(row.artist),
                    title_key=title_key(row.title), search_text=f" {row.artist} {row.title}  ")  # fmt: skip
        session.add(song)
        session.flush()
    mine = (Listen.listener_id == listener, Listen.song_id == song.id, Listen.listened_at == row.at)
    if session.scalar(select(Listen.id).where(*mine)) is None:
        session.add(
            Listen(listener_id=listener, song_id=song.id, listened_at=row.at, ended=row.ended, source="spotify")
        )
        session.flush()


def alone(what: str, rows: int) -> dict[str, float]:
    """One measurement in a process of its own, so that its memory is its own."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.imports", "--one", what, str(rows)], cwd=PROJECT,
                          capture_output=True, text=True, check=True)  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure_one(what: str, rows: int) -> dict[str, float]:
    """In the child."""
    with tempfile.TemporaryDirectory() as folder:
        if what == "encoding":
            return encoding(Path(folder))
        path = Path(folder) / "history.json"
        write_history(path, rows)
        place = Place(Path(folder))
        found = ours(place, path) if what == "ours" else row_by_row(place, path)
        place.db.close()
        return found


def report(found: dict[str, dict[str, float]], rows: int) -> str:
    """The page of results."""
    history, many, stock, encoded = (found[name] for name in ("history", "many", "row_by_row", "encoding"))
    rate = {name: one["listens"] / one["run_cpu_s"] for name, one in found.items() if "listens" in one}
    clock = {name: one["listens"] / one["run_s"] for name, one in found.items() if "listens" in one}
    per_s = encoded["songs"] / encoded["run_s"]
    lines = [
        "# Importing", "",
        f"{date.today()}, {os.cpu_count()} shared cores of an x86-64 server{_instructions()}, other work beside it; "
        f"`python -m benchmarks.imports {rows}`. SQLite. The file is a made-up Spotify history of about 660 bytes a "
        f"row, of {SONGS:,} songs. Clock and processor time are both given, because of the work beside it.", "",
        f"**{HISTORY:,} rows: {history['preview_s'] + history['run_s']:.0f} s from the file to the finished report** "
        f"({history['preview_cpu_s'] + history['run_cpu_s']:.0f} s of one core); a minute was allowed. Its {SONGS:,} "
        f"new songs are encoded afterwards, beside the pages: {per_s:,.0f} a second by the clock and "
        f"{encoded['songs'] / encoded['run_cpu_s']:,.0f} a second of processor ({encoded['songs']:,.0f} were timed): "
        f"{SONGS / per_s:.0f} s until all of them can be recommended.", "",
        "| what | rows | preview, s (processor) | run, s (processor) | rows a second (of processor) | peak MB "
        "(before the first row) |",
        "|---|---|---|---|---|---|",
        f"| a history | {HISTORY:,} | {history['preview_s']:.1f} ({history['preview_cpu_s']:.1f}) | "
        f"{history['run_s']:.1f} ({history['run_cpu_s']:.1f}) | {clock['history']:,.0f} ({rate['history']:,.0f}) | "
        f"{history['peak_mb']:.0f} ({history['before_mb']:.0f}) |",
        f"| many rows | {rows:,} | {many['preview_s']:.1f} ({many['preview_cpu_s']:.1f}) | "
        f"{many['run_s']:.1f} ({many['run_cpu_s']:.1f}) | {clock['many']:,.0f} ({rate['many']:,.0f}) | "
        f"{many['peak_mb']:.0f} ({many['before_mb']:.0f}) |",
        f"| row by row with the ORM | {BY_ROW:,} | | {stock['run_s']:.1f} ({stock['run_cpu_s']:.1f}) | "
        f"{clock['row_by_row']:,.0f} ({rate['row_by_row']:,.0f}) | |", "",
        f"Ours against row by row: {rate['many'] / rate['row_by_row']:.1f} times by processor time, "
        f"{clock['many'] / clock['row_by_row']:.1f} times by the clock. Row by row does less: no duplicates of other "
        "sources, no report, no facts of plays, one transaction for all.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _instructions() -> str:
    """The instruction set that matters to the engine, if this processor has it."""
    facts = Path("/proc/cpuinfo")
    has = facts.is_file() and "avx512_bf16" in facts.read_text(encoding="utf-8", errors="replace")
    return " with AVX-512 bf16" if has else ""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", choices=["ours", "row_by_row", "encoding"])
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure_one(given.one, given.rows)))
        return
    found = {"history": alone("ours", HISTORY), "many": alone("ours", given.rows),
             "row_by_row": alone("row_by_row", BY_ROW), "encoding": alone("encoding", ENCODED)}  # fmt: skip
    rate = {name: one["listens"] / one["run_cpu_s"] for name, one in found.items() if "listens" in one}
    if given.json:
        print(json.dumps(found | {"import_per_s": rate["many"], "row_by_row_per_s": rate["row_by_row"]}))  # type: ignore[operator]
        return
    text = report(found, given.rows)
    (PROJECT / "benchmarks" / "imports.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
