"""`earshot pretrain`: teach the base music, from listening data and from the starter catalogue's facts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from app.cli import Shell
    from app.lm.pretraining_data import Source


def facts_of_starter() -> Source:
    """The starter catalogue as something to learn from."""
    from app.lm.pretraining_data import ArtistFacts, Piece, source_of_facts
    from app.starter.reading import read

    return source_of_facts(
        [
            ArtistFacts(
                artist.name,
                artist.genres,
                (*artist.related, *artist.outside),
                tuple(Piece(artist.name, s.title, (*s.genres, *s.moods), s.year) for s in artist.songs),
            )
            for artist in read()
        ]
    )


_HELP = {
    "data": "A directory in the plain format; give it again for more. None: the starter catalogue alone.",
    "out": "Where the adapter goes, as models/NAME.",
    "from": "A music adapter's folder to go on from: a second round, on top of what it knows.",
    "minutes": "Time to train instead of steps, by this machine's speed.",
    "device": "Where to train; auto: a GPU if there is one.",
    "precision": "How to compute; auto: bfloat16 where the processor has it.",
    "licences": "What the card says of a directory's licence.",
    "threads": "Numeric threads on the CPU; 0: torch's choice.",
    "steps": "Steps of the LoRA; 0 leaves it as --from has it, and makes words alone.",
    "teachers": "Teachers from as many seeds, whose mean is taught.",
    "least": "Listeners, playlists or neighbourhoods that an artist with a word is in; 0: no words.",
}
_PRECISIONS = ["auto", "bfloat16", "float32"]


@click.option("--data", type=click.Path(path_type=Path), multiple=True, help=_HELP["data"])
@click.option("--out", type=click.Path(path_type=Path), required=True, help=_HELP["out"])
@click.option("--from", "start", type=click.Path(path_type=Path, exists=True, file_okay=False), help=_HELP["from"])
@click.option("--steps", type=click.IntRange(0), default=800, show_default=True, help=_HELP["steps"])
@click.option("--teacher-steps", type=click.IntRange(1), default=400, show_default=True, help="Steps of a teacher.")
@click.option("--teachers", type=click.IntRange(1), default=1, show_default=True, help=_HELP["teachers"])
@click.option("--least-groups", type=click.IntRange(0), default=3, show_default=True, help=_HELP["least"])
@click.option(
    "--texts", type=click.IntRange(1), default=256, show_default=True, help="Texts that the LoRA sees a step."
)
@click.option("--minutes", type=click.FloatRange(0), default=0.0, help=_HELP["minutes"])
@click.option("--rank", type=click.IntRange(1, 256), default=32, show_default=True, help="Rank of the LoRA.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed: same adapter.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help=_HELP["device"])
@click.option("--precision", type=click.Choice(_PRECISIONS), default="auto", help=_HELP["precision"])
@click.option("--licence", "licences", multiple=True, metavar="DIR=TEXT", help=_HELP["licences"])
@click.option("--threads", type=click.IntRange(0), default=0, help=_HELP["threads"])
def pretrain(shell: Shell, data: Sequence[Path], out: Path, **given: Any) -> None:
    """Train a music adapter; killed and started again, it goes on to the same result."""
    import torch

    from app.lm import pretraining, pretraining_card
    from app.lm.base import load
    from app.lm.locate import locate
    from app.lm.pretraining_data import read_directory
    from app.lm.pretraining_start import Start

    if given["threads"]:
        torch.set_num_threads(given["threads"])
    cuda = given["device"] == "cuda" or (given["device"] == "auto" and torch.cuda.is_available())
    device = torch.device("cuda" if cuda else "cpu")
    precision = given["precision"]
    settings = pretraining.PretrainSettings(
        steps=given["steps"], teacher_steps=given["teacher_steps"], minutes=given["minutes"], rank=given["rank"],
        texts_a_step=given["texts"], teachers=given["teachers"], least_groups=given["least_groups"],
        seed=given["seed"],
        precision=pretraining.best_precision(device) if precision == "auto" else precision,
    )  # fmt: skip
    sources = [*(read_directory(folder) for folder in data), facts_of_starter()]
    files = locate(shell.settings.models / "base.toml", shell.settings.base_model)
    base = load(files, top_layers=pretraining.LAYERS)
    folder, start = given["start"], None
    if folder is not None:
        start = Start(folder, load(files, top_layers=pretraining.LAYERS, music_folder=folder))
    done = pretraining.pretrain(base, sources, out, settings, device, _bar(), start)
    licences = dict(stated.split("=", 1) for stated in given["licences"] if "=" in stated)
    pretraining_card.write(out, base.files.name, sources, settings, done, licences, folder)
    facts = {
        "out": str(out), "steps": done.steps, "teacher_steps": done.teacher_steps, "seconds": round(done.seconds, 1),
        "precision": done.precision, "device": done.device, "bytes": done.bytes, "words": done.words,
        **done.world, **done.checks,
    }  # fmt: skip
    words = [f"{out} is written: {done.bytes:,} bytes, {done.steps} steps, {done.words} words, {done.seconds:.0f} s."]
    words += [f"  {name}: {done.checks['before'][name]} → {value}" for name, value in done.checks["after"].items()]
    shell.say(facts, "\n".join(words))


def _bar() -> Callable[[str, int, int, float], None]:
    """A progress bar a phase, on stderr."""
    from tqdm import tqdm

    bars: dict[str, Any] = {}
    shown = time.monotonic()

    def report(phase: str, step: int, of: int, loss: float) -> None:
        nonlocal shown
        if phase not in bars:
            bars[phase] = tqdm(total=of, desc=phase, initial=step - 1 if phase != "reading" else 0, mininterval=1)
        bars[phase].update(step - bars[phase].n)
        if loss and time.monotonic() - shown > 1:
            bars[phase].set_postfix(loss=f"{loss:.4f}", refresh=False)
            shown = time.monotonic()
        if step == of:
            bars[phase].close()

    return report


def add_to(main: click.Group, command: Callable[[Callable[..., None]], Callable[..., None]]) -> None:
    """Hang the command into the shell's group; ``command`` is what every command of the shell is wrapped with."""
    main.command("pretrain")(command(pretrain))
