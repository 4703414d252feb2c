"""Train one listener's LoRA adapter on that listener's songs alone.

PEFT trains, on a network that shares the base's tensors but starts at the first adapted layer, from activations that
were computed once. The objective follows the ranking rule (docs/decisions.md has the measurements):

mean
    distil: the taste vector is drawn to the direction that a closed-form solve gives;
interest
    leave one out: each of a few songs must be found from the others, by softmax over catalogue vectors.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from app.errors import Cancelled
from app.lm.base import Base, Lower
from app.lm.ranking import SHARP, Rule
from app.lm.vectors import Snapshot

_MOST_FOR_COVARIANCE = 100_000  # songs: more would not change it, and they are read into RAM


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Hyperparameters; the defaults are what docs/decisions.md measured, ``for_rule`` gives those of a rule."""

    rule: Rule = "interest"
    rank: int = 8
    alpha: int = 16
    learning_rate: float = 2.5e-3
    steps: int = 12
    songs_a_step: int = 128
    found_a_step: int = 12
    negatives: int = 3000
    temperature: float = 0.05
    ridge: float = 1.0
    solve_share: float = 0.35
    dislike: float = 0.3
    most_songs: int = 500

    @classmethod
    def for_rule(cls, rule: Rule, rank: int = 8) -> TrainingSettings:
        """The settings that were measured best for a ranking rule."""
        if rule == "mean":
            return cls(rule=rule, rank=rank, alpha=2 * rank, learning_rate=1e-2)
        return cls(rule=rule, rank=rank, alpha=2 * rank)


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
    """Lower activations of many texts, padded to the longest of all; ``pulse`` hears how many are done.

    The base keeps them: the next retrain reads most songs again.
    """
    known = {at: row for at, text in enumerate(texts) if (row := base.lower_kept.get(text)) is not None}
    missing = [at for at in range(len(texts)) if at not in known]
    done = len(texts) - len(missing)
    if pulse is not None and done:
        pulse(done)
    for rows, input_ids, mask in base.groups([texts[at] for at in missing], batch):
        lower = base.lower_of(input_ids, mask)
        for place, at in enumerate(missing[i] for i in rows):
            known[at] = _row(lower, place)
            base.lower_kept.put(texts[at], known[at], known[at].hidden.nbytes)
        done += len(rows)
        if pulse is not None:
            pulse(done)
    return _padded([known[at] for at in range(len(texts))])


def _padded(rows: Sequence[Lower]) -> Lower:
    pad = partial(nn.utils.rnn.pad_sequence, batch_first=True)
    return Lower(pad([r.hidden for r in rows]), pad([r.input_ids for r in rows]), pad([r.mask for r in rows]))


def _row(lower: Lower, place: int) -> Lower:
    """One text of a batch without its padding: hidden (T, H), the others (T,)."""
    length = int(lower.mask[place].sum())
    return Lower(lower.hidden[place, :length].clone(), lower.input_ids[place, :length], lower.mask[place, :length])


def whitener(units: Tensor, ridge: float) -> Tensor:
    """(D, D) inverse of the catalogue's covariance, in units of its mean eigenvalue, with ``ridge`` as its floor."""
    covariance = units.T @ units / len(units)
    scale = torch.trace(covariance) / units.shape[1]
    inverse: Tensor = torch.linalg.inv(covariance / scale + ridge * torch.eye(units.shape[1]))
    return inverse


def personal_solve(liked: Tensor, weights: Tensor, disliked: Tensor, white: Tensor, s: TrainingSettings) -> Tensor:
    """The direction (D,) that tells a listener's songs from the catalogue, in closed form.

    The regularised solve white · (Σ wᵢ aᵢ − dislike · mean n), mixed with the plain mean. liked: (n, D) and disliked:
    (m, D) units; weights: (n,) of sum 1; white: (D, D).
    """
    mean = weights @ liked
    pull = mean - s.dislike * disliked.mean(dim=0) if len(disliked) else mean
    solved = nn.functional.normalize(white @ pull, dim=0)
    mixed = s.solve_share * solved + (1 - s.solve_share) * nn.functional.normalize(mean, dim=0)
    return nn.functional.normalize(mixed, dim=0)


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
        known = catalogue.rows(list(songs.ids))
        songs = _largest(songs, settings.most_songs)
        self.songs = songs
        self.mean = torch.from_numpy(catalogue.mean)
        self.units = catalogue.units
        unknown = torch.ones(len(catalogue.ids), dtype=torch.bool)
        unknown[torch.from_numpy(known)] = False
        self.unknown = torch.nonzero(unknown).squeeze(1)
        self.liked_at = torch.tensor([i for i, liked in enumerate(songs.liked) if liked])
        self.disliked_at = torch.tensor([i for i, liked in enumerate(songs.liked) if not liked], dtype=torch.long)
        weights = torch.tensor([songs.weights[i] for i in self.liked_at.tolist()])
        self.weights = weights / weights.sum()

    def run(self) -> Trained:
        """Read, learn, and hand back the PEFT network. Raises Cancelled between two steps if asked to stop."""
        lower = lower_all(self.base, self.songs.texts, pulse=self._reading)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = _adapted(self.base, self.settings)
        trainable = [p for p in network.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(trainable, lr=self.settings.learning_rate, weight_decay=0.0)
        with torch.inference_mode():
            self._own = self._unit(self._encode(network, lower))  # B = 0: the base's own vectors
        if self.settings.rule == "mean":
            white = whitener(torch.from_numpy(self.units[:_MOST_FOR_COVARIANCE]), self.settings.ridge)
            liked, disliked = self._own[self.liked_at], self._own[self.disliked_at]
            self._target = personal_solve(liked, self.weights, disliked, white, self.settings)
        losses: list[float] = []
        started = time.monotonic()
        for step in range(self.settings.steps):
            self._stop_if_asked()
            for group in optimiser.param_groups:
                group["lr"] = self._learning_rate(step)
            sample = self._sample()
            adapted = self._unit(self.base.upper(network, lower.pick(self.liked_at[sample])))
            weights = self._weights_of(sample)
            loss = (
                self._distil(adapted, weights)
                if self.settings.rule == "mean"
                else self._found(adapted, weights, sample)
            )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise FloatingPointError(f"the loss became {losses[-1]} at step {step + 1}")
            left = (time.monotonic() - started) / (step + 1) * (self.settings.steps - step - 1)
            self.report(Progress("learning", step + 1, self.settings.steps, losses[-1], left))
        return Trained(network, tuple(losses))

    def _learning_rate(self, step: int) -> float:
        """Three steps of warming up, then a straight fall to a tenth."""
        return self.settings.learning_rate * min(1.0, (step + 1) / 3) * (1 - 0.9 * step / self.settings.steps)

    def _unit(self, vectors: Tensor) -> Tensor:
        return nn.functional.normalize(vectors - self.mean, dim=1)

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

    def _distil(self, adapted: Tensor, weights: Tensor) -> Tensor:
        """Squared distance (0–4) of the taste vector of adapted units (S, D) to the solve's direction."""
        taste = nn.functional.normalize(weights @ adapted, dim=0)
        return (taste - self._target).square().sum()

    def _found(self, adapted: Tensor, weights: Tensor, sample: Tensor) -> Tensor:
        """Softmax of some sampled songs, each ranked by the interest rule over the others, against songs that the
        listener does not know and those that they dislike. adapted: (S, D) units."""
        count = len(adapted)
        chosen = torch.randperm(count, generator=self.random)[: self.settings.found_a_step]
        # No more than half of them, or in a small catalogue a dislike would count no more than not knowing a song.
        most = min(self.settings.negatives, (len(self.unknown) + 1) // 2)
        drawn = torch.randperm(len(self.unknown), generator=self.random)[:most]
        own = self._own[self.liked_at[sample[chosen]]]
        wrong = torch.cat([torch.from_numpy(self.units[self.unknown[drawn].numpy()]), self._own[self.disliked_at]])
        speaking = torch.cat([wrong, own]) @ adapted.T * SHARP + weights.log()  # (W + P, S)
        losses = []
        for place, song in enumerate(chosen.tolist()):
            others = torch.arange(count) != song
            values = torch.logsumexp(speaking[:, others], dim=1) / SHARP / self.settings.temperature
            right = values[len(wrong) + place]
            losses.append(torch.logsumexp(torch.cat([values[: len(wrong)], right[None]]), dim=0) - right)
        return torch.stack(losses).mean()


def _largest(songs: TrainingSongs, most: int) -> TrainingSongs:
    """The ``most`` weightiest songs, liked ones before others, so that time and memory stay bounded."""
    if len(songs.ids) <= most:
        return songs
    order = sorted(range(len(songs.ids)), key=lambda i: (not songs.liked[i], -songs.weights[i], songs.ids[i]))
    keep = sorted(order[:most])
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
