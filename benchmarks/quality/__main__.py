"""``python -m benchmarks.quality --data DIR --task discover|new-artists|newcomer|likes|ask [--listeners N]``"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from app.lm import tuned
from app.lm.engine import Engine, EngineSettings
from app.lm.ranking import Rule
from app.settings import Settings
from benchmarks.quality import data, listeners, protocol, reporting, running


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="a directory in the plain format (docs of the folder: data.py)")
    add("--task", choices=protocol.TASKS, required=True)
    add("--listeners", type=int, default=100, metavar="N", help="how many to measure (default 100; 0: all)")
    add("--json", action="store_true", help="print one JSON object instead of a table")
    add("--music", default=None, help="music adapter: a name under models/, a folder, or none (default: the setting's)")
    add("--circles", choices=protocol.CIRCLES, default="random", help="20 at random (default), or friends first")
    add("--everyone", action="store_true", help="measure listeners too that the music adapter may have learnt from")
    add("--work", type=Path, default=None, help="folder of vectors and results so far (default: data/bench)")
    add("--threads", type=int, default=0, help="torch's threads (default: as the product's worker)")
    return parser.parse_args(words)


def music_folder(name: str | None, settings: Settings) -> Path | None:
    """The folder that ``--music`` means."""
    if name is None:
        return settings.music
    if name == "none":
        return None
    return Path(name) if Path(name).is_dir() else settings.models / name


def open_engine(settings: Settings, work: Path, music: Path | None, rule: Rule, threads: int) -> Engine:
    """The product's engine, its vectors and adapters in the work folder."""
    return Engine.open(
        EngineSettings(
            base_toml=settings.models / "base.toml",
            vectors=work / "vectors",
            adapters=work / "adapters",
            base_override=settings.base_model,
            music=music,
            rank=settings.rank,
            threads=settings.numeric_threads(threads or settings.train_threads),
            rule=rule,
            tuned=settings.models / tuned.FILE,
        )
    )


def bench_of(options: argparse.Namespace) -> tuple[running.Bench, Path]:
    """Read the directory, choose listeners, load both bases. Raises DataProblem or a BaseProblem."""
    settings = Settings()
    found = data.read(options.data)
    music = music_folder(options.music, settings)
    histories = {user: [found.songs[x.song].id for x in them] for user, them in found.listens.items()}
    measured = listeners.measurable(histories, music, everyone=options.everyone)
    asked = protocol.questions(options.task, found, measured, options.circles)
    work = options.work or settings.data / "bench"
    ours = work / found.digest[:16]
    engine = open_engine(settings, ours, music, found.rule, options.threads)
    generic = engine if music is None else open_engine(settings, ours, None, found.rule, options.threads)
    return running.Bench(found, options.task, asked, engine, generic, settings.min_songs), work


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; 0, or 2 with the problem on stderr."""
    options = arguments(words)
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # implicit's threads must not multiply with torch's
        os.environ.setdefault(name, "1")
    started = time.monotonic()
    try:
        bench, work = bench_of(options)
    except data.DataProblem as problem:
        print(problem, file=sys.stderr)
        return 2
    groups = list(dict.fromkeys(case.group for case in bench.questions.cases))
    chosen = set(groups[: options.listeners or None])
    cases = [case for case in bench.questions.cases if case.group in chosen]
    running.encode(bench)
    records = running.run(bench, cases, bench.results(work))
    if options.json:
        print(json.dumps(reporting.as_json(records, options.task, bench.data.name), allow_nan=False))
        return 0
    songs, rule = len(bench.data.songs), bench.engine.settings.rule
    print(f"{bench.data.name}, {options.task}: {len(chosen)} listeners, {len(cases)} questions, {songs} songs, {rule}")
    print(f"base {bench.engine.fingerprint[:12]}, music adapter {bench.engine.base.music[:12]}")
    print(f"{reporting.circles_line(options.circles, bool(bench.data.friends))}\n")
    print(reporting.as_markdown(records, options.task))
    print(f"\n{time.monotonic() - started:.0f} s in this run", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
