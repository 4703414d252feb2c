"""Searching hyperparameters: on whom, what is tried, what comes of it, and what a retrain then uses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.errors import BadInput
from app.lm import tuned, tuning
from app.lm.base import Base
from app.lm.pretraining_data import Group, Piece, held_back
from app.lm.ranking import Rule
from app.lm.trainer import TrainingSettings
from app.lm.tuning import Tuned
from app.lm.vectors import Snapshot

from .making import catalogue_of

PIECES = [Piece(f"Artist {n % 12}", f"Song {n}", ("rock",) if n % 2 else ("jazz",)) for n in range(80)]


@pytest.fixture(scope="module")
def catalogue(tiny: Base) -> Snapshot:
    """Eighty songs, row numbers as ids less one."""
    return catalogue_of(tiny.encode(tuning.texts_of(PIECES)).numpy())


def histories(listeners: int = 60) -> dict[str, Group]:
    """Everybody has fifteen songs of one genre."""
    random = np.random.default_rng(0)
    return {
        str(n): Group(tuple(int(x) for x in random.permutation(np.arange(n % 2, 80, 2))[:15]), (1.0,) * 15)
        for n in range(listeners)
    }


def search(tiny: Base, catalogue: Snapshot, storage: Path, rule: Rule = "mean", **more: int) -> Tuned:
    defaults = replace(TrainingSettings.for_rule(rule, rank=2), steps=6)
    counts = {"trials": 4, "adapter_trials": 2, "trained": 1, "seed": 3, **more}
    texts = tuning.texts_of(PIECES)
    listeners = tuning.halves(histories())
    return tuning.tune(tiny, catalogue, texts, listeners, defaults, storage=storage, **counts)  # type: ignore[arg-type]


def test_it_develops_on_half_of_those_whom_no_music_adapter_learns_from() -> None:
    develop, others = tuning.halves(histories(400))
    names = {x.name for x in [*develop, *others]}
    assert names == {name for name in histories(400) if held_back(name)}
    assert not {x.name for x in develop} & {x.name for x in others}
    assert 0.3 < len(develop) / len(names) < 0.7
    for x in develop:
        assert len(x.known) == 12 and len(x.hidden) == 3 and not set(x.known) & set(x.hidden)
        assert x.weights.sum() == pytest.approx(1)


def test_nobody_to_develop_on_is_said() -> None:
    with pytest.raises(BadInput, match="nobody to tune on"):
        tuning.halves({name: group for name, group in histories().items() if not held_back(name)})


@pytest.mark.parametrize("rule", ["mean", "interest"])
def test_the_best_trial_is_chosen_and_the_first_is_the_defaults(
    tiny: Base, catalogue: Snapshot, tmp_path: Path, rule: Rule
) -> None:
    found = search(tiny, catalogue, tmp_path / "tune.db", rule)
    by_search = {name: [t for t in found.trials if t.search == name] for name in ("target", "adapter")}
    assert [len(them) for them in by_search.values()] == [4, 2]
    defaults = replace(TrainingSettings.for_rule(rule, rank=2), steps=6)
    for name, value in by_search["target"][0].parameters.items():
        assert value == pytest.approx(getattr(defaults.target, name))
    assert by_search["adapter"][0].parameters["learning_rate"] == pytest.approx(defaults.learning_rate)
    for name, them in by_search.items():
        best = max(them, key=lambda t: (t.value, -t.number))
        assert {key: found.chosen[key] for key in best.parameters} == dict(best.parameters), name
    assert set(found.report) == {"developed on", "reported only"}
    assert found.report["developed on"][1] == pytest.approx(by_search["target"][0].value)
    assert found.report["developed on"][2] == pytest.approx(max(t.value for t in by_search["target"]), abs=1e-3)


def test_a_search_that_was_stopped_goes_on_and_repeats_nothing(tiny: Base, catalogue: Snapshot, tmp_path: Path) -> None:
    short = search(tiny, catalogue, tmp_path / "tune.db", trials=2, adapter_trials=0)
    longer = search(tiny, catalogue, tmp_path / "tune.db", trials=5, adapter_trials=0)
    assert list(longer.trials[:2]) == list(short.trials)
    assert len(longer.trials) == 5


def test_what_was_chosen_is_what_a_retrain_uses(tmp_path: Path) -> None:
    path = tmp_path / "tuned.json"
    tuned.write(path, "f" * 64, "mean", {"ridge": 0.5, "share": 0.9, "steps": 20, "learning_rate": 0.004})
    tuned.write(path, "f" * 64, "interest", {"sharpness": 30.0})
    found = tuned.read(path)["f" * 64]
    defaults = TrainingSettings.for_rule("mean")
    settings = tuned.apply(defaults, found["mean"])
    assert (settings.target.ridge, settings.target.share) == (0.5, 0.9)
    assert (settings.steps, settings.learning_rate) == (20, 0.004)
    assert settings == replace(
        defaults, steps=20, learning_rate=0.004, target=replace(defaults.target, ridge=0.5, share=0.9)
    )
    assert found["interest"] == {"sharpness": 30.0}
    assert tuned.read(tmp_path / "none.json") == {}


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"a": {"mean": {"colour": 1}}}', '{"a": {"mean": {"ridge": -1}}}', '{"a": {"mean": 3}}']
)
def test_a_file_of_something_else_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tuned.json"
    path.write_text(content)
    with pytest.raises(BadInput, match=r"tuned\.json is not a file that `earshot tune` wrote"):
        tuned.read(path)


@pytest.mark.parametrize(("pieces", "rule"), [(PIECES, "interest"), ([Piece("A"), Piece("B")], "mean")])
def test_a_catalogue_of_songs_wants_interests(pieces: list[Piece], rule: Rule) -> None:
    assert tuning.rule_of(pieces) == rule
    assert tuning.texts_of([Piece("A", "B", ("x", "y"), 1999)]) == ["B by A. x, y. 1999"]
