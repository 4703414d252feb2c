"""The circle's adapter: one LoRA taught by the songs of everybody who opted in, for those who have no own yet.

It has the rank, the modules and the files of a listener's, and lies under an id of its own, so that store, slots and
lists treat it alike. Each member has a target as a retrain would give them (targets.py); the one adapter is to
draw every member's songs to that member's target. What it learns is what a circle's tastes have in common: which way
songs of a kind have to move so that their listeners' other songs are near.

No member's taste speaks louder than another's: members are drawn evenly, whatever the length of their history.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from app.errors import BadInput, Cancelled
from app.lm import evaluation
from app.lm.activations import lower_all, read_by
from app.lm.asking import CIRCLE, Own
from app.lm.base import Base, Lower
from app.lm.engine import HELD_OUT_SHARE, Engine, Outcome
from app.lm.evaluation import HeldOut, Verdict
from app.lm.ranking import Rule
from app.lm.targets import OwnUnits, directions
from app.lm.trainer import (
    Progress,
    Report,
    TrainingSettings,
    TrainingSongs,
    new_network,
    save_network,
    settings_dict,
    some_units,
)
from app.lm.vectors import Snapshot

LEAST_MEMBERS = 2


@dataclass(frozen=True, slots=True)
class CircleSettings:
    """How the circle's adapter is taught; the defaults are what docs/decisions.md measured.

    most_songs: of one member, the weightiest; members and songs: drawn for one step, songs of each member.
    """

    steps: int = 30
    members: int = 4
    songs: int = 24
    most_songs: int = 100
    learning_rate: float = 3e-3


@dataclass(frozen=True, slots=True)
class _Member:
    """One member's part in the training: activations of liked and disliked songs, (n,) weights, (D,) target."""

    liked: Lower
    weights: Tensor
    target: Tensor
    disliked: Lower | None
    held: Tensor


class CircleTrainer:
    """One training run. Same members, songs, settings, seed and machine: same adapter."""

    def __init__(
        self,
        base: Base,
        catalogue: Snapshot,
        training: TrainingSettings,
        settings: CircleSettings,
        seed: int,
        report: Report = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self.base, self.training, self.settings, self.seed = base, training, settings, seed
        self.report, self.cancelled = report, cancelled
        self.random = torch.Generator().manual_seed(seed)
        self.mean = torch.from_numpy(catalogue.mean)
        self.units = some_units(catalogue, seed)

    def run(self, members: Sequence[TrainingSongs]) -> tuple[Any, tuple[float, ...]]:
        """The PEFT network, and the loss of every step. Raises Cancelled."""
        network = new_network(self.base, self.training, self.seed)
        read = []
        for done, songs in enumerate(members, 1):
            self.stop_if_asked()
            read.append(self._read(network, songs.largest(self.settings.most_songs)))
            self.report(Progress("reading", done, len(members), None, None))
        return network, self._learn(network, read)

    def stop_if_asked(self) -> None:
        """Raises Cancelled if that was asked for."""
        if self.cancelled():
            raise Cancelled("The circle's training was cancelled; nothing has changed.")

    def _read(self, network: Any, songs: TrainingSongs) -> _Member:
        """Encode one member's songs and find where their taste should point; B is 0, so this is the base's word."""
        lower = lower_all(self.base, songs.texts)
        liked = torch.tensor([i for i, yes in enumerate(songs.liked) if yes])
        disliked = torch.tensor([i for i, yes in enumerate(songs.liked) if not yes], dtype=torch.long)
        weights = torch.tensor([songs.weights[i] for i in liked.tolist()])
        weights = weights / weights.sum()
        with torch.no_grad():
            units = self._units(network, lower)
            even = torch.full((1, len(disliked)), 1 / max(1, len(disliked)))
            own = OwnUnits(units[liked], weights[None], units[disliked], even)
            target = directions(own, self.units, self.training.rule, self.training.target)[0]
        away = lower.pick(disliked) if len(disliked) else None
        return _Member(lower.pick(liked), weights, target, away, units[disliked])

    def _units(self, network: Any, lower: Lower, batch: int = 64) -> Tensor:
        count = lower.mask.shape[0]
        parts = [self.base.upper(network, lower.rows(i, min(i + batch, count))) for i in range(0, count, batch)]
        return normalize(torch.cat(parts) - self.mean, dim=1)

    def _learn(self, network: Any, members: Sequence[_Member]) -> tuple[float, ...]:
        trainable = [p for p in network.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(trainable, lr=self.settings.learning_rate, weight_decay=0.0)
        losses: list[float] = []
        steps, started = self.settings.steps, time.monotonic()
        for step in range(steps):
            self.stop_if_asked()
            for group in optimiser.param_groups:
                group["lr"] = self.settings.learning_rate * min(1.0, (step + 1) / 3) * (1 - 0.9 * step / steps)
            drawn = torch.randperm(len(members), generator=self.random)[: self.settings.members].tolist()
            optimiser.zero_grad()
            loss = sum(self._taught(network, members[i], len(drawn)) for i in drawn)
            optimiser.step()
            if not math.isfinite(loss):
                raise FloatingPointError(f"the loss became {loss} at step {step + 1}")
            losses.append(loss)
            left = (time.monotonic() - started) / (step + 1) * (steps - step - 1)
            self.report(Progress("learning", step + 1, steps, loss, left))
        return tuple(losses)

    def _taught(self, network: Any, member: _Member, share: int) -> float:
        """Add the gradient of one member's loss, a ``share``-th of the step's; returns it. One by one, for memory."""
        sample = self._sample(member)
        adapted = normalize(self.base.upper(network, member.liked.pick(sample)) - self.mean, dim=1)
        loss = _distance(adapted, member.target, self.training.rule)
        if self.training.rule == "mean" and member.disliked is not None:
            loss = loss + self.training.hold * self._held(network, member)
        (loss / share).backward()  # type: ignore[no-untyped-call]
        return loss.item() / share

    def _held(self, network: Any, member: _Member) -> Tensor:
        """How far some disliked songs have moved from where the base has them."""
        assert member.disliked is not None
        some = torch.randperm(len(member.held), generator=self.random)[: self.settings.songs]
        moved = normalize(self.base.upper(network, member.disliked.pick(some)) - self.mean, dim=1)
        return (moved - member.held[some]).square().sum(dim=1).mean()

    def _sample(self, member: _Member) -> Tensor:
        """Positions of a step's songs of one member, by weight, none twice."""
        count = min(self.settings.songs, len(member.weights))
        return torch.multinomial(member.weights, count, generator=self.random)


def _distance(adapted: Tensor, target: Tensor, rule: Rule) -> Tensor:
    """Squared distance (0-4) of adapted units (S, D) to a target (D,): of their mean, or the mean over each one."""
    if rule == "mean":
        return (normalize(adapted.mean(dim=0), dim=0) - target).square().sum()
    return (adapted - target).square().sum(dim=1).mean()


def train_circle(
    engine: Engine,
    version: str,
    members: Mapping[str, Sequence[Own]],
    *,
    seed: int,
    settings: CircleSettings | None = None,
    report: Report = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Train a version for the circle, measure it on a fifth of every member's songs, write it under ``CIRCLE``.

    members: own songs by listener id. Nothing of it is live afterwards: that is the caller's, with the verdict. No
    member is named in the card. Raises Cancelled, and BadInput below two members with songs enough.
    """
    started = time.monotonic()
    settings, training, snapshot = settings or CircleSettings(), engine.training_settings(), engine.vectors.snapshot()
    parts = [part for name in sorted(members) if (part := _split(members[name], snapshot, seed)) is not None]
    if len(parts) < LEAST_MEMBERS:
        raise BadInput(f"The circle's adapter needs {LEAST_MEMBERS} members with songs, and {len(parts)} have some.")
    run = CircleTrainer(engine.base, snapshot, training, settings, seed, report, cancelled)
    network, losses = run.run([TrainingSongs.of(part.train) for part in parts])
    report(Progress("evaluating", 0, 0, None, None))
    before = _pooled([engine.measure(part.shown, part.hidden, snapshot) for part in parts])
    read = [read_by(engine.base, network, [song.text for song in part.shown]) for part in parts]
    after = _pooled([engine.measure(p.shown, p.hidden, snapshot, found) for p, found in zip(parts, read, strict=True)])
    verdict = evaluation.gate(before, after, seed=seed)
    verdict = replace(verdict, why=_why(verdict, before, after, len(parts)))
    run.stop_if_asked()
    report(Progress("saving", 0, 0, None, None))
    learnt = sum(len(part.shown) for part in parts)
    card = engine.card(CIRCLE, version) | {
        "members": len(parts),
        "songs": {"learnt_from": learnt, "held_out": len(after.ranks)},
        "settings": settings_dict(training) | asdict(settings) | {"seed": seed},
        "before": before.as_dict(),
        "after": after.as_dict(),
        "promoted": verdict.promoted,
        "seconds": round(time.monotonic() - started, 3),
        "losses": [round(x, 6) for x in losses],
    }
    folder = engine.store.write(CIRCLE, version, lambda path: save_network(network, path), card)
    seconds = time.monotonic() - started
    return Outcome(version, verdict, before, after, losses, engine.facts(), folder.size, seconds, learnt)


@dataclass(frozen=True, slots=True)
class _Part:
    """One member's songs: to train on, the liked ones of them, and the ids of those that are hidden."""

    train: Sequence[Own]
    shown: Sequence[Own]
    hidden: Sequence[int]


def _split(own: Sequence[Own], snapshot: Snapshot, seed: int) -> _Part | None:
    """None for a member with too few encoded songs to learn from and to hide some."""
    liked = [song for song in own if song.weight > 0 and song.id in snapshot.row_of]
    if len(liked) < 3:
        return None
    learn, hide = evaluation.split([song.id for song in liked], HELD_OUT_SHARE, seed)
    chosen, hidden = set(learn), set(hide)
    return _Part([s for s in own if s.id not in hidden], [s for s in liked if s.id in chosen], hide)


def _pooled(held: Sequence[HeldOut]) -> HeldOut:
    """All members' hidden songs as one: every song counts alike for the gate, every member for nDCG."""
    ranks = tuple(rank for one in held for rank in one.ranks)
    gain = float(evaluation.gains(np.array(ranks, np.int64)).mean())
    return HeldOut(ranks, gain, sum(one.found for one in held), float(np.mean([one.ndcg_10 for one in held])))


def _why(verdict: Verdict, before: HeldOut, after: HeldOut, members: int) -> str:
    moved = f"it found {after.found} of {len(after.ranks)} hidden songs of {members} members, before {before.found}"
    if verdict.promoted:
        return f"The circle's new version ranks hidden songs higher on the whole: {moved}."
    return f"The circle's new version does not rank hidden songs higher on the whole: {moved}. It does not answer."
