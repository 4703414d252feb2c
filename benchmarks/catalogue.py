"""What does a million songs cost? ``python benchmarks/catalogue.py [ROWS]``

Writes a CSV as a ListenBrainz-derived dump has it, imports it through the shell without encoding, and meanwhile writes
a row every fifth of a second as a listener would. Then asks the browsing pages' questions. Writes catalogue.md here.
"""

from __future__ import annotations

import csv
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from app.db import Database  # noqa: E402
from app.services import accounts, browsing, preparing  # noqa: E402
from app.services.search import search  # noqa: E402
from app.settings import Settings  # noqa: E402
from app.starter.reading import read  # noqa: E402


def write_file(path: Path, rows: int) -> None:
    """Made-up songs, an eighth as many artists, a fifth of the rows with genres."""
    draw = random.Random(1)
    titles = sorted({word for a in read() for s in a.songs for word in s.title.split()})
    names = sorted({word for a in read() for word in a.name.split()})
    artists = [" ".join(draw.sample(names, 2)) for _ in range(rows // 8)]
    with path.open("w", newline="", encoding="utf-8") as stream:
        out = csv.writer(stream)
        out.writerow(["recording_mbid", "artist_credit_name", "recording_name", "year", "genres"])
        for number in range(rows):
            title = " ".join(draw.choices(titles, k=draw.randint(1, 4)))
            year, genres = draw.choice(["", draw.randint(1950, 2024)]), draw.choice(["", "", "", "rock;pop", "jazz"])
            out.writerow([f"{number:036d}", draw.choice(artists), title, year, genres])


def main() -> None:
    """Write, import, ask, report."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        home, file = Path(folder), Path(folder) / "songs.csv"
        write_file(file, rows)
        settings = Settings(home=home)
        preparing.migrate(settings.url)
        db = Database(settings.url)
        command = [sys.executable, "-m", "app", "catalogue", "import", str(file), "--no-encode", "--json"]
        started, waits = time.monotonic(), []
        process = subprocess.Popen(
            command, cwd=PROJECT, env={**os.environ, "EARSHOT_HOME": folder}, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        while process.poll() is None:
            time.sleep(0.2)
            asked = time.monotonic()
            with db.write() as session:
                accounts.add_listener(session, f"Friend {len(waits)}", None)
            waits.append(time.monotonic() - asked)
        seconds = time.monotonic() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        report = json.loads(process.communicate()[0])
        asks = {
            "search “love”": lambda s: search(s, "love", 10),
            "search “yesterdya beatels”": lambda s: search(s, "yesterdya beatels", 10),
            "genres": browsing.genres, "decades": browsing.decades,
            "a genre's first page": lambda s: browsing.by_genre(s, "jazz"),
            "a decade's first page": lambda s: browsing.by_decade(s, "1990"),
            "artists, most played": lambda s: browsing.artists(s, ""),
            "artists under B": lambda s: browsing.artists(s, "", "b"),
        }  # fmt: skip
        database = settings.data.joinpath("earshot.db").stat().st_size / 1e6
        waits.sort()
        lines = [
            "# A catalogue in bulk", "",
            f"{date.today()}, 2 cores, AVX-512 bf16, other work beside it; `python benchmarks/catalogue.py {rows}`.",
            "",
            f"{rows:,} rows ({file.stat().st_size / 1e6:.0f} MB): {report['taken']:,} taken, "
            f"{report['folded']:,} folded, {report['dropped']:,} dropped, in {seconds:.0f} s "
            f"({rows / seconds:,.0f} rows a second; {used.ru_utime + used.ru_stime:.0f} s of one core), "
            "largest resident set "
            f"**{used.ru_maxrss / 1024:.0f} MiB**. The database has {database:.0f} MB.", "",
            f"Meanwhile {len(waits):,} writes of another process took {statistics.median(waits):.2f} s by the median, "
            f"{waits[int(0.95 * len(waits))]:.2f} s at 95 %, {waits[-1]:.2f} s at worst.", "",
            "| asked afterwards | ms, median of 5 |", "|---|---|",
        ]  # fmt: skip
        for name, ask in asks.items():
            times = []
            for _ in range(5):
                with db.read() as session:
                    asked = time.perf_counter()
                    ask(session)
                    times.append(1000 * (time.perf_counter() - asked))
            lines.append(f"| {name} | {statistics.median(times):.0f} |")
        db.close()
    (PROJECT / "benchmarks" / "catalogue.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
