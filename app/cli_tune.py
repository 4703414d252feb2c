"""`earshot tune`: search the hyperparameters of a retrain on development listeners."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.errors import BadInput

if TYPE_CHECKING:
    from app.cli import Shell
    from app.lm.tuning import Tuned

_HELP = {
    "data": "A directory in the plain format, with listeners to develop on.",
    "trials": "Trials of the target, on catalogue vectors.",
    "adapter": "Trials of steps and learning rate, with real adapters; 0: none.",
    "trained": "For how many listeners an adapter trial trains.",
    "out": "The file that retrains read (default: tuned.json beside the music adapters).",
}


@click.option(
    "--data", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True, help=_HELP["data"]
)
@click.option("--trials", type=click.IntRange(1), default=40, show_default=True, help=_HELP["trials"])
@click.option("--adapter-trials", type=click.IntRange(0), default=8, show_default=True, help=_HELP["adapter"])
@click.option("--listeners", type=click.IntRange(1), default=12, show_default=True, help=_HELP["trained"])
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed: same trials.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help=_HELP["out"])
def tune(
    shell: Shell, data: Path, trials: int, adapter_trials: int, listeners: int, seed: int, out: Path | None
) -> None:
    """Choose the defaults of a retrain by search; killed and started again, it goes on."""
    try:
        import optuna  # noqa: F401  (asked for early, before minutes of encoding)
    except ImportError:
        raise BadInput("`earshot tune` needs Optuna: install the extra `tune` (pip install '.[tune]').") from None
    import numpy as np

    from app.lm import tuned, tuning
    from app.lm.engine import Engine, EngineSettings
    from app.lm.pretraining_data import read_everybody
    from app.lm.vectors import snapshot_of

    settings = shell.settings
    source, histories = read_everybody(data)
    halves, rule = tuning.halves(histories), tuning.rule_of(source.pieces)
    work = settings.data / "tune" / source.digest[:16]
    engine = Engine.open(
        EngineSettings(
            base_toml=settings.models / "base.toml", base_override=settings.base_model, music=settings.music,
            vectors=work, adapters=work, rank=settings.rank, rule=rule,
        )
    )  # fmt: skip
    texts = tuning.texts_of(source.pieces)
    bars = Bars()
    engine.encode_songs(list(enumerate(texts)), lambda done, of: bars("encoding", done, of))
    stored = engine.vectors.snapshot()
    rows = list(range(len(texts)))
    catalogue = snapshot_of(np.array(rows), stored.vectors[stored.rows(rows)])
    found = tuning.tune(
        engine.base, catalogue, texts, halves, engine.training_settings(), trials=trials,
        adapter_trials=adapter_trials, trained=listeners, seed=seed,
        storage=work / f"{engine.fingerprint[:16]}-{rule}-{seed}.db", report=bars,
    )  # fmt: skip
    path = out or settings.models / tuned.FILE
    tuned.write(path, engine.fingerprint, rule, found.chosen)
    table = path.with_name(f"{path.stem}-{source.name}.md")
    table.write_text(_table(found, source.name, rule, engine.fingerprint), encoding="utf-8")
    facts = {"out": str(path), "table": str(table), "rule": rule, "chosen": dict(found.chosen)}
    report = {half: list(values) for half, values in found.report.items()}
    shell.say(facts | {"ndcg@10": report}, f"{path} and {table} are written.\n{_words(found)}")


class Bars:
    """A progress bar for each phase, on stderr."""

    def __init__(self) -> None:
        self._bars: dict[str, Any] = {}

    def __call__(self, phase: str, done: int, of: int) -> None:
        from tqdm import tqdm

        bar = self._bars.setdefault(phase, tqdm(total=of, desc=phase, mininterval=1))
        bar.update(done - bar.n)
        if done == of:
            bar.close()


def _words(found: Tuned) -> str:
    chosen = ", ".join(f"{name} {value:g}" for name, value in found.chosen.items())
    lines = [f"  chosen: {chosen}"]
    for half, (base, before, after) in found.report.items():
        lines.append(f"  {half}: nDCG@10 {base:.4f} by the base, {before:.4f} by the defaults, {after:.4f} as chosen")
    return "\n".join(lines)


def _table(found: Tuned, data: str, rule: str, fingerprint: str) -> str:
    """The trials as Markdown."""
    best = {s: max(t.value for t in found.trials if t.search == s) for s in ("target", "adapter") if _has(found, s)}
    lines = [
        f"# Hyperparameters of a retrain, tuned on {data}",
        "",
        f"`earshot tune --data {data}`; rule {rule}, base {fingerprint[:16]}. Trial 0 of each search is the defaults.",
        "The value is nDCG@10 over the development listeners: of the target by itself, and of trained adapters.",
        "",
        *_words(found).splitlines(),
        "",
        "| search | trial | hyperparameters | nDCG@10 |",
        "|---|---|---|---|",
    ]
    for t in found.trials:
        given = ", ".join(f"{name} {value:g}" for name, value in t.parameters.items())
        value = f"**{t.value:.4f}**" if t.value == best[t.search] else f"{t.value:.4f}"
        lines.append(f"| {t.search} | {t.number} | {given} | {value} |")
    return "\n".join(lines) + "\n"


def _has(found: Tuned, search: str) -> bool:
    return any(t.search == search for t in found.trials)


def add_to(main: click.Group, command: Callable[[Callable[..., None]], Callable[..., None]]) -> None:
    """Hang the command into the shell's group; ``command`` is what every command of the shell is wrapped with."""
    main.command("tune")(command(tune))
