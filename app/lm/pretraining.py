"""Teach the base music: `earshot pretrain`. A teacher of artist vectors first, then a LoRA distilled from it and words.

Three phases, each of which survives a kill: read every artist's texts with the untaught base; train the teacher through
the personal solve, or several whose mean teaches; distil it into a LoRA on the top layers. What the LoRA could not
carry of single artists becomes a vocabulary. Same data, settings, seed and machine: same adapter.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from app.errors import BadInput
from app.lm.base import Base
from app.lm.pretraining_checkpoint import Checkpoints, write_whole
from app.lm.pretraining_data import Source
from app.lm.pretraining_start import Start
from app.lm.pretraining_student import Student, learn, means_of, plain_attention, rate
from app.lm.pretraining_teacher import (
    SOLVE_ALONE,
    SOLVE_SHARE,
    Teacher,
    directions_that_matter,
    optimiser_of,
    set_rates,
    teach,
)
from app.lm.pretraining_wishes import Wishes
from app.lm.pretraining_words import LEAST_GROUPS, words_of
from app.lm.pretraining_world import Texts, World, neighbour_pairs, probes, world_of
from app.lm.vocabulary import FILE as VOCABULARY
from app.lm.vocabulary import has_first_token, packed

Precision = Literal["bfloat16", "float32"]
Report = Callable[[str, int, int, float], None]

LAYERS = 3
_READ, _TEACH, _LEARN, _CHECK = range(4)
_TIMED = 4
_APART = 1_000_003  # between the seeds of two teachers
_TEACHER_TIME = 0.25
_ENTRIES = 0.58  # share of a second round's texts that are of artists' own entries; the rest are songs
_FOR_MIDDLE = 512  # texts to tell the middle of all songs by


@dataclass(frozen=True, slots=True)
class PretrainSettings:
    """Budget and shape. minutes > 0 sets both numbers of steps by the machine's speed, once, at the start.

    teachers: how many, each from another seed; least_groups: that an artist with a word is in, 0 for no words.
    """

    steps: int = 800
    teacher_steps: int = 400
    minutes: float = 0.0
    texts_a_step: int = 256
    rank: int = 32
    seed: int = 0
    precision: Precision = "float32"
    save_every: int = 20
    teachers: int = 1
    least_groups: int = LEAST_GROUPS


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A finished run: what the card reports. steps and teacher_steps as they were taken."""

    world: dict[str, int]
    steps: int
    teacher_steps: int
    precision: str
    device: str
    checks: dict[str, dict[str, float]]
    seconds: float
    bytes: int
    words: int = 0


def best_precision(device: torch.device) -> Precision:
    """bfloat16 where the processor computes in it (AVX-512 BF16, AMX, or a GPU that says so), else float32."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    able = torch.cpu.get_capabilities()
    return "bfloat16" if able.get("avx512_bf16") or able.get("amx_bf16") else "float32"


def pretrain(
    base: Base,
    sources: Sequence[Source],
    out: Path,
    settings: PretrainSettings,
    device: torch.device,
    report: Report = lambda phase, step, of, loss: None,
    start: Start | None = None,
) -> Pretrained:
    """Train a music adapter and write it to ``out``; an unfinished run in ``<out>.training`` is taken up again.

    ``base`` must be the untaught one, loaded with LAYERS top layers for this alone: its weights are brought to the
    device and the precision, and so are those of ``start``, an adapter to go on from. Raises BadInput for data that
    teach nothing and for a rank below that of ``start``.
    """
    started = time.monotonic()
    world = world_of(sources)
    if not world.domains or not (~world.unseen & (world.popularity > 0)).any():
        raise BadInput("There is nothing to learn from: no listener, playlist or artist with enough company.")
    precision = settings.precision
    reader = base if start is None else start.taught
    for network in {base.network, reader.network}:
        network.to(device=device, dtype=getattr(torch, precision))
        plain_attention(network)
    run = Checkpoints(out.with_name(out.name + ".training"), _key(reader, sources, settings, device))
    random = partial(_random, settings.seed)
    autocast = partial(torch.autocast, device.type, torch.bfloat16, enabled=precision == "bfloat16")
    with _same_every_time():
        student = Student(base, settings.rank, settings.seed, start)
        texts = Texts(world, entries=0.0 if start is None else _ENTRIES)
        if start is not None:
            _set_middle(start, student, texts, random(_READ, 1), autocast)
        written = probes(world, range(len(world.names)), random(_READ, 0), entries=start is not None)
        features = _features(reader, written, run, settings, report).to(device)
        solve_share = SOLVE_SHARE if start is None else SOLVE_ALONE
        taught = []
        for number in range(settings.teachers):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(settings.seed + number)
                teacher = Teacher(features).to(device)
            seeded = partial(_random, settings.seed + number * _APART)
            phase = f"teacher {number + 1}" if number else "teacher"
            teacher_steps = _train_teacher(teacher, world, run, settings, seeded, autocast, report, solve_share, phase)
            teacher.requires_grad_(False)
            taught.append(teacher.vectors(torch.arange(len(world.names), device=device)))
        targets = normalize(torch.stack(taught).mean(0), dim=-1) if len(taught) > 1 else taught[0]
        factor = directions_that_matter(teacher, world, random(_TEACH, -1))
        before = _check(student, world, targets.cpu(), random, autocast)
        wishes = None if start is None else Wishes(world, targets.cpu())
        steps = _train_student(student, texts, targets, factor, run, settings, random, autocast, report, wishes)
        after = _check(student, world, targets.cpu(), random, autocast)
        least = settings.least_groups if has_first_token(base.tokenizer) else 0
        words = words_of(student, world, written, targets, least, autocast) if least else {}
    out.mkdir(parents=True, exist_ok=True)
    student.save(out)
    if words:
        write_whole(out / VOCABULARY, packed(words))
    else:
        (out / VOCABULARY).unlink(missing_ok=True)
    shutil.rmtree(run.folder)
    return Pretrained(
        world={
            "artists": len(world.names),
            "artists never trained on": int(world.unseen.sum()),
            "pieces": sum(len(p) for p in world.pieces),
            "groups": sum(len(d.members) for d in world.domains),
        },
        steps=steps,
        teacher_steps=teacher_steps,
        precision=precision,
        device=device.type,
        checks={"before": before, "after": after},
        seconds=time.monotonic() - started,
        bytes=(out / "adapter_model.safetensors").stat().st_size,
        words=len(words),
    )


def _random(seed: int, phase: int, step: int) -> np.random.Generator:
    """The generator of one step: the same whether the run was interrupted or not."""
    return np.random.default_rng([seed, phase, step + 1])


def _key(base: Base, sources: Sequence[Source], settings: PretrainSettings, device: torch.device) -> str:
    parts = [base.fingerprint, device.type, [s.digest for s in sources], asdict(settings)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@contextmanager
def _same_every_time() -> Iterator[None]:
    """Kernels that give the same bits on every run, where torch has them."""
    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)


def _set_middle(
    start: Start, student: Student, texts: Texts, random: np.random.Generator, autocast: Callable[[], torch.autocast]
) -> None:
    drawn = texts.draw(_FOR_MIDDLE, random)
    songs = [text for text, titled in zip(drawn.texts, drawn.titled, strict=True) if titled]
    with autocast():
        start.set_middle(student.lower(songs or drawn.texts))


def _features(
    base: Base, written: Sequence[Sequence[str]], run: Checkpoints, settings: PretrainSettings, report: Report
) -> Tensor:
    """(N, D) centred unit vectors of the artists, each by the mean of some texts, by a base."""
    flat = [text for texts in written for text in texts]
    of = np.repeat(np.arange(len(written)), [len(texts) for texts in written])
    order = sorted(range(len(flat)), key=lambda i: (len(flat[i]), i))
    read = run.load("reading") or {"done": 0, "vectors": torch.zeros(len(flat), base.dimension)}
    vectors, chunk = read["vectors"], 2 * settings.texts_a_step
    for start in range(read["done"], len(order), chunk):
        rows = order[start : start + chunk]
        vectors[rows] = base.encode([flat[i] for i in rows])
        done = start + len(rows)
        report("reading", done, len(flat), 0.0)
        if (start // chunk + 1) % settings.save_every == 0 or done == len(flat):
            run.save("reading", {"done": done, "vectors": vectors})
    means = means_of(vectors, of, len(written))
    return normalize(means - means.mean(0), dim=-1)


def _train_teacher(
    teacher: Teacher,
    world: World,
    run: Checkpoints,
    settings: PretrainSettings,
    random: Callable[[int, int], np.random.Generator],
    autocast: Callable[[], torch.autocast],
    report: Report,
    solve_share: float,
    phase: str,
) -> int:
    def step_once(step: int) -> float:
        loss = teach(teacher, world, random(_TEACH, step), autocast, solve_share)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    optimiser = optimiser_of(teacher)
    minutes = settings.minutes * _TEACHER_TIME / settings.teachers
    steps = _budget(run, phase, settings.teacher_steps, minutes, step_once, teacher)
    done = run.resume(phase, teacher, optimiser)
    for step in range(done, steps):
        set_rates(optimiser, step, steps)
        optimiser.zero_grad()
        loss = step_once(step)
        optimiser.step()
        report(phase, step + 1, steps, loss)
        if (step + 1) % settings.save_every == 0 or step + 1 == steps:
            run.save_step(phase, step + 1, dict(teacher.named_parameters()), optimiser)
    return steps


def _train_student(
    student: Student,
    texts: Texts,
    targets: Tensor,
    factor: Tensor,
    run: Checkpoints,
    settings: PretrainSettings,
    random: Callable[[int, int], np.random.Generator],
    autocast: Callable[[], torch.autocast],
    report: Report,
    wishes: Wishes | None,
) -> int:
    def step_once(step: int) -> float:
        return learn(student, texts, targets, factor, settings.texts_a_step, random(_LEARN, step), autocast, wishes)

    trained = list(student.trained.values())
    optimiser = torch.optim.AdamW(trained, weight_decay=0.0)
    minutes = settings.minutes * (1 - _TEACHER_TIME)
    steps = _budget(run, "student", settings.steps, minutes, step_once, student.network)
    done = run.resume("student", student.network, optimiser)
    for step in range(done, steps):
        for group in optimiser.param_groups:
            group["lr"] = rate(step, steps)
        optimiser.zero_grad()
        lost = step_once(step)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        report("student", step + 1, steps, lost)
        if (step + 1) % settings.save_every == 0 or step + 1 == steps:
            run.save_step("student", step + 1, student.trained, optimiser)
    return steps


def _budget(
    run: Checkpoints,
    phase: str,
    steps: int,
    minutes: float,
    step_once: Callable[[int], float],
    module: torch.nn.Module,
) -> int:
    """How many steps to take: as stated, or what fits into some minutes, measured once and noted for a resumed run."""
    if minutes <= 0:
        return steps
    noted = run.facts().get(f"{phase} steps")
    if noted is not None:
        return int(noted)
    step_once(0)
    started = time.monotonic()
    for step in range(_TIMED):
        step_once(step)
    module.zero_grad()
    fitting = max(1, int(minutes * 60 / ((time.monotonic() - started) / _TIMED)))
    run.note({f"{phase} steps": fitting})
    return fitting


def _check(
    student: Student,
    world: World,
    targets: Tensor,
    random: Callable[[int, int], np.random.Generator],
    autocast: Callable[[], torch.autocast],
    count: int = 300,
) -> dict[str, float]:
    """Seen and unseen artists apart, by name alone: mean cosine to the teacher, and how often an artist of the same
    group is nearer than one drawn at random (0.5 is chance)."""
    found: dict[str, float] = {}
    for unseen in (False, True):
        pairs = neighbour_pairs(world, count, random(_CHECK, int(unseen)), unseen=unseen)
        kind = "unseen" if unseen else "seen"
        if not len(pairs):
            continue
        artists, places = np.unique(pairs, return_inverse=True)
        vectors = student.vectors([world.names[a] for a in artists], autocast)
        first = np.unique(pairs[:, 0])
        cosines = (vectors[np.searchsorted(artists, first)] * targets[torch.from_numpy(first)]).sum(-1)
        found[f"cosine to the teacher, {kind}"] = round(float(cosines.mean()), 4)
        centred = normalize(vectors - vectors.mean(0), dim=-1)[torch.from_numpy(places.reshape(-1, 3))]
        nearer = (centred[:, 0] * centred[:, 1]).sum(-1) > (centred[:, 0] * centred[:, 2]).sum(-1)
        found[f"neighbour nearer, {kind}"] = round(float(nearer.float().mean()), 4)
    return found
