"""`earshot tune`: search the personal step's hyperparameters on development listeners (Optuna, TPE).

Two searches. The target is searched on catalogue vectors alone, for all development listeners at once, since an adapter
follows it closely; then how fast the adapter is taught, by training real ones for some of the listeners. Listeners are
those that no music adapter may learn from (a fifth of all): half of them (second byte of the id's sha256 even) are
developed on, the other half are only reported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from app.errors import BadInput
from app.lm import evaluation, ranking, tuned
from app.lm.activations import read_by
from app.lm.base import Base
from app.lm.pretraining_data import Group, Piece, held_back
from app.lm.pretraining_world import MOST_TAGS
from app.lm.ranking import Rule
from app.lm.song_text import artist_key, song_text
from app.lm.targets import TargetSettings, of_means
from app.lm.trainer import Trainer, TrainingSettings, TrainingSongs
from app.lm.vectors import Floats, Snapshot, unit

_FEWEST = 10
_HIDDEN = 0.2
Report = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class DevelopmentListener:
    """One listener: rows of known songs with weights of sum 1, and of hidden ones."""

    name: str
    known: tuple[int, ...]
    weights: Floats
    hidden: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """One row of the table. search: which of the two; value: mean nDCG@10 over the development listeners."""

    search: str
    number: int
    parameters: Mapping[str, float]
    value: float


@dataclass(frozen=True, slots=True)
class Tuned:
    """chosen: what differs from the defaults; report: (base, default target, chosen target) nDCG@10 of each half."""

    chosen: Mapping[str, float]
    trials: Sequence[Trial]
    report: Mapping[str, tuple[float, float, float]]


def rule_of(pieces: Sequence[Piece]) -> Rule:
    """The ranking rule that fits a catalogue: titles and several songs an artist want interests, else the mean."""
    titled, artists = sum(bool(piece.title) for piece in pieces), len({artist_key(piece.artist) for piece in pieces})
    return "interest" if 2 * titled > len(pieces) and len(pieces) >= 2 * artists else "mean"


def texts_of(pieces: Sequence[Piece]) -> list[str]:
    """Every piece as the product writes it."""
    return [song_text(piece.artist, piece.title, piece.tags[:MOST_TAGS], (), piece.year) for piece in pieces]


def halves(histories: Mapping[str, Group]) -> tuple[list[DevelopmentListener], list[DevelopmentListener]]:
    """Listeners to develop on, and those to report only. Raises BadInput if there are none to develop on."""
    found: tuple[list[DevelopmentListener], list[DevelopmentListener]] = ([], [])
    for name in sorted(histories):
        group = histories[name]
        if held_back(name) and len(group.rows) >= _FEWEST:
            digest = hashlib.sha256(name.encode()).digest()
            known, hidden = evaluation.split(group.rows, _HIDDEN, int.from_bytes(digest[:4], "big"))
            weight = dict(zip(group.rows, group.weights, strict=True))
            weights = np.array([weight[row] for row in known], np.float32)
            one = DevelopmentListener(name, tuple(known), weights / weights.sum(), tuple(hidden))
            found[digest[1] % 2].append(one)
    if not found[0]:
        raise BadInput(f"None of {len(histories)} listeners is held back and has {_FEWEST} songs: nobody to tune on.")
    return found


def tune(
    base: Base,
    catalogue: Snapshot,
    texts: Sequence[str],
    listeners: tuple[Sequence[DevelopmentListener], Sequence[DevelopmentListener]],
    defaults: TrainingSettings,
    *,
    trials: int,
    adapter_trials: int,
    trained: int,
    seed: int,
    storage: Path,
    report: Report = lambda search, done, of: None,
) -> Tuned:
    """Search, resuming what ``storage`` (an SQLite file) holds; the defaults are always the first trial.

    texts: of the catalogue, in its row order. trained: for how many listeners each adapter trial trains.
    """
    develop, others = listeners
    units = torch.from_numpy(np.asarray(catalogue.units, np.float32))
    rule = defaults.rule

    def of_target(parameters: Mapping[str, float]) -> float:
        target = replace(defaults.target, **cast(dict[str, Any], dict(parameters)))
        return float(_by_target(units, develop, rule, target).mean())

    def of_adapter(parameters: Mapping[str, float]) -> float:
        settings = tuned.apply(defaults, {**best, **parameters})
        return float(np.mean([_by_adapter(base, catalogue, texts, x, settings, seed) for x in develop[:trained]]))

    space: dict[str, tuple[float, float]] = {"ridge": (0.03, 10.0), "share": (0.2, 1.0)}
    if rule == "interest":
        space = {"sharpness": (8.0, 60.0), "pull": (0.1, 10.0)}
    first = {name: float(getattr(defaults.target, name)) for name in space}
    best, table = _search("target", of_target, space, first, trials, seed, storage, report)
    if adapter_trials:
        pace = {"learning_rate": (2e-3, 3e-2), "steps": (6.0, 40.0)}
        start = {"learning_rate": defaults.learning_rate, "steps": float(defaults.steps)}
        faster, more = _search("adapter", of_adapter, pace, start, adapter_trials, seed, storage, report)
        best, table = {**best, **faster}, [*table, *more]
    chosen = replace(defaults.target, **{name: best[name] for name in space})  # type: ignore[arg-type]
    rows = {
        name: (
            float(_by_base(catalogue, half, rule).mean()),
            float(_by_target(units, half, rule, defaults.target).mean()),
            float(_by_target(units, half, rule, chosen).mean()),
        )
        for name, half in (("developed on", develop), ("reported only", others))
        if half
    }
    return Tuned(best, table, rows)


def _search(
    name: str,
    value: Callable[[Mapping[str, float]], float],
    space: Mapping[str, tuple[float, float]],
    first: Mapping[str, float],
    trials: int,
    seed: int,
    storage: Path,
    report: Report,
) -> tuple[dict[str, float], list[Trial]]:
    """The best parameters and all trials; every parameter is searched by its logarithm."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        storage=f"sqlite:///{storage}",
        study_name=name,
        load_if_exists=True,
    )
    study.enqueue_trial(dict(first), skip_if_exists=True)

    def objective(trial: Any) -> float:
        drawn = {key: trial.suggest_float(key, low, high, log=True) for key, (low, high) in space.items()}
        return value({key: round(x) if key == "steps" else x for key, x in drawn.items()})

    done = [t for t in study.trials if t.state.is_finished()]
    for number in range(len(done), trials):
        study.optimize(objective, n_trials=1)
        report(name, number + 1, trials)
    finished = [t for t in study.trials if t.value is not None]
    table = [Trial(name, t.number, _rounded(t.params), float(t.value)) for t in finished]
    return dict(max(table, key=lambda t: (t.value, -t.number)).parameters), table


def _rounded(parameters: Mapping[str, float]) -> dict[str, float]:
    return {key: round(x) if key == "steps" else float(f"{x:.4g}") for key, x in parameters.items()}


def _ndcg(values: Floats, listener: DevelopmentListener) -> float:
    return evaluation.measure(values, np.array(listener.hidden), np.array(listener.known)).ndcg_10


def _by_target(units: Tensor, listeners: Sequence[DevelopmentListener], rule: Rule, settings: TargetSettings) -> Floats:
    """nDCG@10 of each listener, ranked by the target alone: (n,)."""
    means = torch.stack([torch.from_numpy(x.weights) @ units[list(x.known)] for x in listeners])
    pointed = of_means(means, units, rule, settings)
    return np.array([_ndcg((units @ one).numpy(), x) for one, x in zip(pointed, listeners, strict=True)], np.float32)


def _by_base(catalogue: Snapshot, listeners: Sequence[DevelopmentListener], rule: Rule) -> Floats:
    """nDCG@10 of each listener by the base's own ranking: (n,)."""
    found = []
    for x in listeners:
        taste = ranking.Taste(np.array(x.known), catalogue.units[list(x.known)], x.weights, rule)
        found.append(_ndcg(ranking.scores(taste, catalogue.units), x))
    return np.array(found, np.float32)


def _by_adapter(
    base: Base,
    catalogue: Snapshot,
    texts: Sequence[str],
    listener: DevelopmentListener,
    settings: TrainingSettings,
    seed: int,
) -> float:
    """nDCG@10 of a listener's songs read through an adapter that was trained on them."""
    written = [texts[row] for row in listener.known]
    ids = [int(catalogue.ids[row]) for row in listener.known]
    songs = TrainingSongs(ids, written, listener.weights.tolist(), [True] * len(ids))
    network = Trainer(base, catalogue, songs, settings, seed).run().network
    made = read_by(base, network, written)
    taste = ranking.Taste(np.array(ids), unit(made - catalogue.mean), listener.weights, settings.rule)
    return _ndcg(ranking.scores(taste, catalogue.units), listener)
