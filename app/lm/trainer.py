"""Train one listener's LoRA adapter on that listener's songs alone.

PEFT trains, on a network that shares the base's tensors but starts at the first adapted layer, from activations that
were computed once. What it is taught is computed first, on catalogue vectors alone (targets.py), then distilled:

mean
    the taste vector, the mean of the listener's songs, is drawn to the target, and songs that the listener dislikes are
    held where the base has them;
interest
    each of the listener's songs is drawn to the target.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from app.errors import Cancelled
from app.lm import frozen
from app.lm.activations import lower_all
from app.lm.asking import Own
from app.lm.base import Base, Lower
from app.lm.ranking import Rule
from app.lm.store import LoraTensors
from app.lm.targets import OwnUnits, TargetSettings, directions, parts
from app.lm.vectors import Snapshot

_READ_TOGETHER = 24  # songs
_REFIT_SONGS = 64  # of a step of going on: the songs are where they should be already, so some tell what all would
_MOST_FOR_TARGETS = 50_000  # songs of the catalogue: more would hardly change a target, and they are read into RAM


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Hyperparameters; the defaults are what docs/decisions.md measured, ``for_rule`` gives those of a rule."""

    rule: Rule = "interest"
    rank: int = 8
    alpha: int = 16
    learning_rate: float = 1e-2
    steps: int = 12
    songs_a_step: int = 128
    hold: float = 0.3
    most_songs: int = 500
    parts: int = 4
    refit_steps: int = 0
    target: TargetSettings = field(default_factory=TargetSettings)

    @classmethod
    def for_rule(cls, rule: Rule, rank: int = 8, *, taught: bool = True) -> TrainingSettings:
        """The settings that were measured best for a ranking rule, on a base with or without a music adapter."""
        rate, steps = (1e-2, 12) if rule == "mean" else (1.5e-2, 20)
        target = TargetSettings.for_base(taught=taught)
        return cls(rule, rank, 2 * rank, learning_rate=rate, steps=steps, refit_steps=8, target=target)

    def of_refit(self) -> TrainingSettings:
        """Those of going on with all songs, when the gate has let a version live."""
        songs = min(self.songs_a_step, _REFIT_SONGS)
        return replace(self, steps=self.refit_steps, learning_rate=self.learning_rate / 2, songs_a_step=songs, parts=0)


@dataclass(frozen=True, slots=True)
class TrainingSongs:
    """What a listener's adapter learns from: aligned lists, weights > 0; ``liked`` is false for skips and dislikes."""

    ids: Sequence[int]
    texts: Sequence[str]
    weights: Sequence[float]
    liked: Sequence[bool]

    @classmethod
    def of(cls, own: Sequence[Own]) -> TrainingSongs:
        """A listener's own songs, disliked ones by their sign."""
        return cls(
            [s.id for s in own], [s.text for s in own], [abs(s.weight) for s in own], [s.weight > 0 for s in own]
        )

    def largest(self, most: int) -> TrainingSongs:
        """The ``most`` weightiest songs, liked ones before others, so that time and memory stay bounded."""
        if len(self.ids) <= most:
            return self
        order = sorted(range(len(self.ids)), key=lambda i: (not self.liked[i], -self.weights[i], self.ids[i]))
        keep = sorted(order[:most])
        return TrainingSongs(
            ids=[self.ids[i] for i in keep],
            texts=[self.texts[i] for i in keep],
            weights=[self.weights[i] for i in keep],
            liked=[self.liked[i] for i in keep],
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training run is. eta in seconds, None while unknown."""

    phase: str
    step: int
    of: int
    loss: float | None
    eta: float | None


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run: the PEFT network, the loss at every step, and what it was taught from.

    own: the songs by the base, all of them and with parts hidden; targets: (B, D), the first is what was taught, the
    others are what would have been without those parts. liked and disliked: positions among ``songs``.
    """

    network: Any
    losses: tuple[float, ...]
    own: OwnUnits
    targets: Tensor
    liked: Tensor
    disliked: Tensor
    songs: TrainingSongs
    rule: Rule

    def save(self, folder: Path) -> None:
        """Write adapter_model.safetensors and adapter_config.json as PEFT does."""
        save_network(self.network, folder)


Report = Callable[[Progress], None]


class Trainer:
    """One training run. Same songs, settings, start, seed and machine: same adapter.

    start: an adapter to begin with instead of B = 0, such as the circle's; the target is found on the base even so.
    """

    def __init__(
        self,
        base: Base,
        catalogue: Snapshot,
        songs: TrainingSongs,
        settings: TrainingSettings,
        seed: int,
        report: Report = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
        start: LoraTensors | None = None,
    ) -> None:
        self.base, self.settings, self.start = base, settings, start
        self.report, self.cancelled = report, cancelled
        self.random = torch.Generator().manual_seed(seed)
        self.seed = seed
        songs = songs.largest(settings.most_songs)
        self.songs = songs
        self.mean = torch.from_numpy(catalogue.mean)
        self.units = some_units(catalogue, seed)
        self.liked_at = torch.tensor([i for i, liked in enumerate(songs.liked) if liked])
        self.disliked_at = torch.tensor([i for i, liked in enumerate(songs.liked) if not liked], dtype=torch.long)
        weights = torch.tensor([songs.weights[i] for i in self.liked_at.tolist()])
        self.weights = weights / weights.sum()

    def run(self, network: Any = None) -> Trained:
        """Read, learn, and hand back the PEFT network. Raises Cancelled between two steps if asked to stop.

        network: one that has learnt from some of the songs, to go on with in place of a new one.
        """
        lower = lower_all(self.base, self.songs.texts, pulse=self._reading)
        if network is None:
            network = new_network(self.base, self.settings, self.seed)
            if self.start is not None:
                begin_with(network, self.start)
        with torch.no_grad(), network.disable_adapter():
            own = self._weighted(self._unit(self._encode(network, lower)))
            targets = directions(own, self.units, self.settings.rule, self.settings.target)
        fast = frozen.in_bfloat16(network) if self.base.precision == "bfloat16" else nullcontext()
        with fast:
            losses = self._learn(network, lower, own, targets[0])
        return Trained(
            network, tuple(losses), own, targets, self.liked_at, self.disliked_at, self.songs, self.settings.rule
        )

    def _learn(self, network: Any, lower: Lower, own: OwnUnits, target: Tensor) -> list[float]:
        """The loss at every step."""
        trainable = [p for p in network.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(trainable, lr=self.settings.learning_rate, weight_decay=0.0)
        losses: list[float] = []
        started = time.monotonic()
        for step in range(self.settings.steps):
            self.stop_if_asked()
            for group in optimiser.param_groups:
                group["lr"] = self._learning_rate(step)
            sample = self._sample()
            adapted = self._read(network, lower, self.liked_at[sample])
            loss = self._distance(adapted, sample, target)
            if self.settings.rule == "mean" and len(self.disliked_at):
                held = self._read(network, lower, self.disliked_at)
                loss = loss + self.settings.hold * (held - own.disliked).square().sum(dim=1).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise FloatingPointError(f"the loss became {losses[-1]} at step {step + 1}")
            left = (time.monotonic() - started) / (step + 1) * (self.settings.steps - step - 1)
            self.report(Progress("learning", step + 1, self.settings.steps, losses[-1], left))
        return losses

    def _weighted(self, units: Tensor) -> OwnUnits:
        """Own songs with all weights, and with parts hidden in turn."""
        count = self.settings.parts
        weights = parts(self.weights, count, self.seed)
        even = torch.full((len(self.disliked_at),), 1 / max(1, len(self.disliked_at)))
        against = parts(even, count if len(weights) > 1 else 0, self.seed)
        if len(against) < len(weights):  # too few dislikes to hide any
            against = even.expand(len(weights), -1)
        return OwnUnits(units[self.liked_at], weights, units[self.disliked_at], against)

    def _learning_rate(self, step: int) -> float:
        """Three steps of warming up, then a straight fall to a tenth."""
        return self.settings.learning_rate * min(1.0, (step + 1) / 3) * (1 - 0.9 * step / self.settings.steps)

    def _read(self, network: nn.Module, lower: Lower, songs: Tensor) -> Tensor:
        """Units (S, D) of songs at some positions. Those alike in length go together: padding costs what words do."""
        order = torch.argsort(lower.mask[songs].sum(dim=1), stable=True)
        read = [self.base.upper(network, lower.pick(songs[part])) for part in torch.split(order, _READ_TOGETHER)]
        return self._unit(torch.cat(read)[torch.argsort(order)])

    def _unit(self, vectors: Tensor) -> Tensor:
        return nn.functional.normalize(vectors - self.mean, dim=1)

    def _reading(self, done: int) -> None:
        self.stop_if_asked()
        self.report(Progress("reading", done, len(self.songs.ids), None, None))

    def stop_if_asked(self) -> None:
        """Raises Cancelled if that was asked for."""
        if self.cancelled():
            raise Cancelled("The retrain was cancelled; nothing has changed.")

    def _encode(self, network: nn.Module, lower: Lower, batch: int = 64) -> Tensor:
        count = lower.mask.shape[0]
        return torch.cat(
            [self.base.upper(network, lower.rows(i, min(i + batch, count))) for i in range(0, count, batch)]
        )

    def _sample(self) -> Tensor:
        """Positions among the liked songs: all of them, or as many as a step takes, drawn by weight."""
        count = self.settings.songs_a_step
        if len(self.liked_at) <= count:
            return torch.arange(len(self.liked_at))
        return torch.multinomial(self.weights, count, generator=self.random)

    def _weights_of(self, sample: Tensor) -> Tensor:
        """(S,) of sum 1: the songs' weights, or even ones where weight has decided already who is drawn."""
        if len(sample) < len(self.liked_at):
            return torch.full((len(sample),), 1 / len(sample))
        return self.weights

    def _distance(self, adapted: Tensor, sample: Tensor, target: Tensor) -> Tensor:
        """Squared distance (0-4) of adapted units (S, D) to the target (D,): of their mean, or of each one."""
        weights = self._weights_of(sample)
        if self.settings.rule == "mean":
            return (nn.functional.normalize(weights @ adapted, dim=0) - target).square().sum()
        return weights @ (adapted - target).square().sum(dim=1)


def some_units(catalogue: Snapshot, seed: int) -> Tensor:
    """Units (n, D) of the catalogue, or of as many of its songs as a target can be found over in a moment."""
    count = len(catalogue.ids)
    if count <= _MOST_FOR_TARGETS:
        return torch.from_numpy(np.asarray(catalogue.units, np.float32))
    chosen = np.random.default_rng(seed).choice(count, _MOST_FOR_TARGETS, replace=False)
    return torch.from_numpy(catalogue.units[np.sort(chosen)])


def new_network(base: Base, settings: TrainingSettings, seed: int) -> Any:
    """A PEFT network around the base's upper half: A by the seed, B = 0, so that it is the base."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _adapted(base, settings)


def begin_with(network: Any, start: LoraTensors) -> None:
    """Put an adapter of the same rank and modules into a PEFT network."""
    modules = dict(network.named_modules())
    with torch.no_grad():
        for name in start.a:
            module = modules[f"base_model.model.{name}"]
            module.lora_A["default"].weight.copy_(start.a[name].T)
            module.lora_B["default"].weight.copy_(start.b[name].T / module.scaling["default"])


def save_network(network: Any, folder: Path) -> None:
    """Write adapter_model.safetensors and adapter_config.json as PEFT does."""
    network.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)


def _adapted(base: Base, settings: TrainingSettings) -> Any:
    from peft import LoraConfig, TaskType, get_peft_model

    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=list(base.targets),
        lora_dropout=0.0,
        bias="none",
        task_type=TaskType.FEATURE_EXTRACTION,
        base_model_name_or_path=base.files.name,
    )
    return get_peft_model(base.upper_network(), config).eval()


def settings_dict(settings: TrainingSettings) -> dict[str, Any]:
    """Hyperparameters for a card."""
    return asdict(settings)
