"""Train one listener's LoRA adapter on that listener's songs alone.

PEFT trains, on a network that shares the base's tensors but starts at the first adapted layer, from activations that
were computed once. Two objectives (docs/decisions.md has the measurements):

distil
    the mean of the listener's adapted songs is drawn to the direction that a closed-form ridge solve gives;
leave-one-out
    each of a sample of songs must be found from the mean of the others, by softmax over catalogue vectors.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from app.errors import Cancelled
from app.lm.base import Base, Lower
from app.lm.vectors import Snapshot


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Hyperparameters; the defaults are what docs/decisions.md measured."""

    rank: int = 8
    alpha: int = 16
    learning_rate: float = 2e-3
    distil_steps: int = 20
    leave_one_out_steps: int = 0
    songs_a_step: int = 24
    negatives: int = 2000
    temperature: float = 0.05
    proximal: float = 0.1
    ridge: float = 3.5
    spread: float = 1500.0
    solve_share: float = 0.5
    dislike: float = 0.5
    most_songs: int = 500

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return self.distil_steps + self.leave_one_out_steps


@dataclass(frozen=True, slots=True)
class TrainingSongs:
    """What a listener's adapter learns from: aligned lists, weights > 0; ``liked`` is false for skips and dislikes."""

    ids: Sequence[int]
    texts: Sequence[str]
    weights: Sequence[float]
    liked: Sequence[bool]


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
    """A finished run: the PEFT network, and the loss at every step."""

    network: Any
    losses: tuple[float, ...]

    def save(self, folder: Path) -> None:
        """Write adapter_model.safetensors and adapter_config.json as PEFT does."""
        self.network.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)


Report = Callable[[Progress], None]


def lower_all(base: Base, texts: Sequence[str], batch: int = 64, pulse: Callable[[int], None] | None = None) -> Lower:
    """Lower activations of many texts, padded to the longest of all; ``pulse`` hears how many are done."""
    parts: list[tuple[list[int], Lower]] = []
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        parts.append((rows, base.lower([texts[i] for i in rows])))
        if pulse is not None:
            pulse(start + len(rows))
    longest = max(part.mask.shape[1] for _, part in parts)
    hidden = torch.zeros(len(texts), longest, parts[0][1].hidden.shape[2])
    ids = torch.zeros(len(texts), longest, dtype=torch.long)
    mask = torch.zeros(len(texts), longest, dtype=torch.long)
    for rows, part in parts:
        width = part.mask.shape[1]
        hidden[rows, :width], ids[rows, :width], mask[rows, :width] = part.hidden, part.input_ids, part.mask
    return Lower(hidden, ids, mask)


def personal_solve(liked: Tensor, weights: Tensor, disliked: Tensor, catalogue: Tensor, s: TrainingSettings) -> Tensor:
    """The direction (D,) that separates a listener's songs from the catalogue, in closed form.

    r = (spread · cov(C) + Σ wᵢ aᵢaᵢᵀ + ridge · I)⁻¹ (Σ wᵢ aᵢ − dislike · Σ nⱼ), then a mix of r and the plain mean.
    liked: (n, D) and disliked: (m, D) centred vectors; weights: (n,) of mean 1; catalogue: (N, D) centred.
    """
    dimension = liked.shape[1]
    spread = s.spread * (catalogue.T @ catalogue) / catalogue.shape[0]
    gram = spread + (liked * weights[:, None]).T @ liked + s.ridge * torch.eye(dimension)
    pull = (liked * weights[:, None]).sum(dim=0) - s.dislike * disliked.sum(dim=0)
    solved = nn.functional.normalize(torch.linalg.solve(gram, pull), dim=0)
    mean = nn.functional.normalize((liked * weights[:, None]).sum(dim=0), dim=0)
    return nn.functional.normalize(s.solve_share * solved + (1 - s.solve_share) * mean, dim=0)


class Trainer:
    """One training run. Same songs, settings, seed and machine: same adapter."""

    def __init__(
        self,
        base: Base,
        catalogue: Snapshot,
        songs: TrainingSongs,
        settings: TrainingSettings,
        seed: int,
        report: Report = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self.base, self.settings = base, settings
        self.report, self.cancelled = report, cancelled
        self.random = torch.Generator().manual_seed(seed)
        self.seed = seed
        known = songs.ids
        songs = _largest(songs, settings.most_songs)
        self.songs = songs
        self.mean = torch.from_numpy(catalogue.mean)
        self.catalogue = torch.from_numpy(np.array(catalogue.vectors)) - self.mean
        self.units = nn.functional.normalize(self.catalogue, dim=1)
        self.open_rows = torch.ones(len(catalogue.ids), dtype=torch.bool)
        self.open_rows[torch.from_numpy(catalogue.rows(list(known)))] = False
        self.liked_at = torch.tensor([i for i, liked in enumerate(songs.liked) if liked])
        self.disliked_at = torch.tensor([i for i, liked in enumerate(songs.liked) if not liked], dtype=torch.long)
        weights = torch.tensor([songs.weights[i] for i in self.liked_at.tolist()])
        self.weights = weights / weights.mean()

    def run(self) -> Trained:
        """Read, learn, and hand back the PEFT network. Raises Cancelled between two steps if asked to stop."""
        lower = lower_all(self.base, self.songs.texts, pulse=self._reading)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = _adapted(self.base, self.settings)
        trainable = [p for p in network.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(trainable, lr=self.settings.learning_rate, weight_decay=0.0)
        with torch.inference_mode():
            own = self._encode(network, lower)  # B = 0: the base's own vectors
        self._own_base = own
        liked, disliked = own[self.liked_at] - self.mean, own[self.disliked_at] - self.mean
        target = personal_solve(liked, self.weights, disliked, self.catalogue, self.settings)
        losses: list[float] = []
        started = time.monotonic()
        for step in range(self.settings.steps):
            self._stop_if_asked()
            sample = self._sample()
            adapted = self.base.upper(network, lower.pick(sample))
            if step < self.settings.distil_steps:
                loss = self._distil(adapted, target)
            else:
                loss = self._leave_one_out(adapted, sample)
            loss = loss + self.settings.proximal * (adapted - own[sample]).square().sum(dim=1).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise FloatingPointError(f"the loss became {losses[-1]} at step {step + 1}")
            left = (time.monotonic() - started) / (step + 1) * (self.settings.steps - step - 1)
            self.report(Progress("learning", step + 1, self.settings.steps, losses[-1], left))
        return Trained(network, tuple(losses))

    def _reading(self, done: int) -> None:
        self._stop_if_asked()
        self.report(Progress("reading", done, len(self.songs.ids), None, None))

    def _stop_if_asked(self) -> None:
        if self.cancelled():
            raise Cancelled("The retrain was cancelled; nothing has changed.")

    def _encode(self, network: nn.Module, lower: Lower, batch: int = 64) -> Tensor:
        count = lower.mask.shape[0]
        return torch.cat(
            [self.base.upper(network, lower.rows(i, min(i + batch, count))) for i in range(0, count, batch)]
        )

    def _sample(self) -> Tensor:
        """Rows of liked songs, drawn by weight without repeats: (S,)."""
        count = min(self.settings.songs_a_step, len(self.liked_at))
        return self.liked_at[torch.multinomial(self.weights, count, generator=self.random)]

    def _distil(self, adapted: Tensor, target: Tensor) -> Tensor:
        """Squared distance of the sample's mean (adapted: (S, D)) to the solve's direction (D,)."""
        mean = nn.functional.normalize((adapted - self.mean).mean(dim=0), dim=0)
        return (mean - target).square().sum()

    def _leave_one_out(self, adapted: Tensor, sample: Tensor) -> Tensor:
        """Softmax of each sampled song against unknown and disliked ones, from the mean of the others."""
        centred = adapted - self.mean  # (S, D)
        others = nn.functional.normalize(centred.sum(dim=0, keepdim=True) - centred, dim=1)
        unknown = torch.nonzero(self.open_rows).squeeze(1)
        drawn = unknown[torch.randint(len(unknown), (self.settings.negatives,), generator=self.random)]
        with torch.no_grad():
            right = nn.functional.normalize(self._own_base[sample] - self.mean, dim=1)
            disliked = nn.functional.normalize(self._own_base[self.disliked_at] - self.mean, dim=1)
            wrong = torch.cat([self.units[drawn], disliked])
        logits = torch.cat([(others * right).sum(dim=1, keepdim=True), others @ wrong.T], dim=1)
        return -nn.functional.log_softmax(logits / self.settings.temperature, dim=1)[:, 0].mean()


def _largest(songs: TrainingSongs, most: int) -> TrainingSongs:
    """The ``most`` weightiest songs, so that time and memory stay bounded."""
    if len(songs.ids) <= most:
        return songs
    keep = sorted(sorted(range(len(songs.ids)), key=lambda i: (-songs.weights[i], songs.ids[i]))[:most])
    return TrainingSongs(
        ids=[songs.ids[i] for i in keep],
        texts=[songs.texts[i] for i in keep],
        weights=[songs.weights[i] for i in keep],
        liked=[songs.liked[i] for i in keep],
    )


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
