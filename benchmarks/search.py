"""How fast is the search at 100,000 songs? ``python benchmarks/search.py [SONGS]``

The starter catalogue, filled up with made-up songs whose words are drawn from real titles and names as often as they
occur there, and 60,000 listens. Every kind of query runs through app/services/search.py and through a plain LIKE scan
of the same database (each word anywhere in title or artist, ordered by plays), in turn. Writes benchmarks/search.md.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.orm import Session

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from app.db import Database  # noqa: E402
from app.services import accounts, bulk, catalogue, preparing  # noqa: E402
from app.services.search import search  # noqa: E402
from app.services.song_files import FileSong  # noqa: E402
from app.starter.reading import read  # noqa: E402

LISTENS = 60_000
ROUNDS = 15
QUERIES = {
    "artist": ["beatles", "nina simone", "radiohead"],
    "title": ["yesterday", "sinnerman", "creep"],
    "artist and title": ["beatles yesterday", "yesterday beatles", "simone feeling good"],
    "prefix": ["yest", "beat yes", "radioh"],
    "short": ["u2", "ab", "a", "abba", "one"],
    "common words": ["the", "love", "in the", "you and me", "the one"],
    "typo": ["radiohaed", "yesterdya beatels", "beyonse", "nirvanna smells like ten spirit", "bealtes"],
    "accents, case": ["BEYONCE", "bjork joga", "sigur rós"],
    "Japanese": ["宇多田", "東京", "流れ", "愛", "ひばり"],
    "Cyrillic": ["кино", "группа крови", "зв"],
    "nothing like it": ["zzxqv", "qwrtplk mnbvcx"],
}


def made_up(count: int, seed: int) -> Iterator[FileSong]:
    """Songs whose words occur as often as in the starter catalogue."""
    draw = random.Random(seed)
    artists = read()
    titles = [word for a in artists for s in a.songs for word in s.title.split()]
    names = [word for a in artists for word in a.name.split()]
    circle = [" ".join(draw.choices(names, k=draw.randint(1, 3))) for _ in range(max(1, count // 8))]
    for line in range(count):
        words = draw.choices(titles, k=draw.choice([1, 1, 2, 2, 3, 3, 4, 5]))
        yield FileSong(line, draw.choice(circle), " ".join(words), None, (), (), None)


def fill(db: Database, songs: int) -> None:
    """Songs and listens."""
    with db.write() as session:
        catalogue.load_starter(session)
    count = seed = 0
    while count < songs:
        seed += 1
        bulk.import_songs(db, made_up(songs - count, seed), pause=0)
        with db.read() as session:
            count = catalogue.count(session)
    draw = random.Random(2)
    with db.write() as session:
        who = accounts.add_listener(session, "Ana", None)
        values = [
            {"who": who.id, "song": 1 + int(count * draw.random() ** 3), "at": 1_600_000_000 + n}
            for n in range(LISTENS)
        ]
        session.execute(
            text(
                "INSERT INTO listens (listener_id, song_id, listened_at, plays, ended, source, created_at)"
                " VALUES (:who, :song, :at, 1, 'played', 'web', 0)"
            ),
            values,
        )


def like_scan(db: Session, query: str, limit: int = 10) -> list[int]:
    """What one would write first: LIKE for each word, ordered by plays."""
    words = {f"w{n}": f"%{word}%" for n, word in enumerate(query.split())}
    where = " AND ".join(f"(title LIKE :{name} OR artist LIKE :{name})" for name in words)
    plays = "(SELECT coalesce(sum(plays), 0) FROM listens WHERE song_id = songs.id)"
    rows = db.execute(text(f"SELECT id FROM songs WHERE {where} ORDER BY {plays} DESC LIMIT {limit}"), words)
    return [row.id for row in rows]


def seconds(run: Callable[[], object]) -> float:
    """One call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def measure(db: Database) -> list[str]:
    """Lines of the table: medians and the worst of all calls."""
    lines = []
    for kind, queries in QUERIES.items():
        ours: list[float] = []
        theirs: list[float] = []
        for turn in range(ROUNDS):
            for query in queries:
                with db.read() as session:
                    ours.append(1000 * seconds(lambda: search(session, query, 10)))  # noqa: B023
                if turn < 5:
                    with db.read() as session:
                        theirs.append(1000 * seconds(lambda: like_scan(session, query)))  # noqa: B023
        mine, scan = statistics.median(ours), statistics.median(theirs)
        worst = sorted(ours)[int(0.95 * len(ours))]
        lines.append(f"| {kind} | {mine:.1f} | {worst:.1f} | {scan:.1f} | {scan / mine:.1f} |")
    return lines


def main() -> None:
    """Build, measure, write."""
    songs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/data/earshot.db"
        preparing.migrate(url)
        db = Database(url)
        fill(db, songs)
        lines = [
            "# Search", "",
            f"{date.today()}, 2 cores, AVX-512 bf16; `python benchmarks/search.py {songs}`. {songs:,} songs, "
            f"{LISTENS:,} listens, SQLite. Milliseconds for the ten best; the scan finds neither typos nor accents.",
            "",
            "| query | search, median | search, 95 % | LIKE scan, median | ratio |", "|---|---|---|---|---|",
            *measure(db),
        ]  # fmt: skip
        db.close()
    (PROJECT / "benchmarks" / "search.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
