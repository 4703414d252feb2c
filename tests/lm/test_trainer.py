"""The trainer's parts on a tiny base, where a run takes milliseconds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from app.errors import Cancelled
from app.lm import trainer
from app.lm.activations import lower_all
from app.lm.base import Base
from app.lm.targets import found, solved, whitener
from app.lm.trainer import (
    Progress,
    Trained,
    Trainer,
    TrainingSettings,
    TrainingSongs,
)
from app.lm.vectors import Snapshot

from .making import LONG_TEXT, TEXTS, catalogue_of, needs_bfloat16

CATALOGUE = [f"{text} take {turn}" for turn in range(10) for text in TEXTS]
INTEREST = TrainingSettings(rank=2, alpha=4, steps=6, songs_a_step=6)
MEAN = replace(INTEREST, rule="mean")
THOROUGH: dict[str, Any] = {"steps": 25, "songs_a_step": 99}
both_rules = pytest.mark.parametrize("settings", [MEAN, INTEREST], ids=["mean", "interest"])


@pytest.fixture(scope="module")
def catalogue(tiny: Base) -> Snapshot:
    """Sixty songs, ids from 1."""
    return catalogue_of(tiny.encode(CATALOGUE).numpy())


def songs(liked: list[int], disliked: list[int] | None = None) -> TrainingSongs:
    ids = [*liked, *(disliked or [])]
    return TrainingSongs(
        ids=ids,
        texts=[CATALOGUE[i - 1] for i in ids],
        weights=[1.0 + i % 3 for i in ids],
        liked=[True] * len(liked) + [False] * (len(ids) - len(liked)),
    )


def lora(trained: Trained) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in trained.network.named_parameters() if p.requires_grad}


def test_activations_of_many_texts_are_those_of_each(tiny: Base) -> None:
    texts = [*TEXTS, LONG_TEXT, "x"]
    done: list[int] = []
    together = lower_all(tiny, texts, batch=3, pulse=done.append)
    network = tiny.upper_network()
    with torch.inference_mode():
        torch.testing.assert_close(tiny.upper(network, together), tiny.encode(texts), atol=1e-5, rtol=0)
        picked = tiny.upper(network, together.pick(torch.tensor([7, 1])))
        torch.testing.assert_close(picked, tiny.encode(["x", TEXTS[1]]), atol=1e-5, rtol=0)
    assert done == sorted(done) and done[-1] == len(texts)
    again: list[int] = []
    kept = lower_all(tiny, texts, pulse=again.append)
    assert torch.equal(kept.hidden, together.hidden) and again == [len(texts)]  # nothing was computed twice


@pytest.fixture
def exact(tiny: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in float32, whatever this processor does faster."""
    monkeypatch.setattr(tiny, "_precision", "float32")


@needs_bfloat16
def test_what_is_learnt_in_bfloat16_is_what_is_learnt_in_float32(
    tiny: Base, catalogue: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        monkeypatch.setattr(tiny, "_precision", precision)
        trained = Trainer(tiny, catalogue, songs([1, 2, 7, 9, 13]), INTEREST, seed=1).run()
        losses[precision] = torch.tensor(trained.losses)
    assert not torch.equal(losses["float32"], losses["bfloat16"])
    torch.testing.assert_close(losses["bfloat16"], losses["float32"], atol=0.02, rtol=0)


def test_the_loss_by_mean_is_the_squared_distance_of_the_taste_vector_to_the_target(
    tiny: Base, catalogue: Snapshot, exact: None
) -> None:
    listened = songs([1, 2, 7, 9, 13])
    trained = Trainer(tiny, catalogue, listened, MEAN, seed=1).run()
    liked = torch.from_numpy(catalogue.units[catalogue.rows([1, 2, 7, 9, 13])])
    weights = torch.tensor(listened.weights) / sum(listened.weights)
    white = whitener(torch.from_numpy(np.asarray(catalogue.units)), MEAN.target.ridge)
    target = solved((weights @ liked)[None], white, MEAN.target.share)[0]
    torch.testing.assert_close(trained.targets[0], target, atol=1e-4, rtol=0)
    taste = torch.nn.functional.normalize(weights @ liked, dim=0)
    assert trained.losses[0] == pytest.approx((2 - 2 * taste @ target).item(), abs=1e-4)  # B = 0: the base's vectors


def test_the_loss_by_interest_is_the_mean_squared_distance_of_the_songs_to_the_target(
    tiny: Base, catalogue: Snapshot, exact: None
) -> None:
    listened = songs([1, 2, 7, 9])
    trained = Trainer(tiny, catalogue, listened, INTEREST, seed=1).run()
    liked = torch.from_numpy(catalogue.units[catalogue.rows([1, 2, 7, 9])])
    weights = torch.tensor(listened.weights) / sum(listened.weights)
    target = found((weights @ liked)[None], torch.from_numpy(np.asarray(catalogue.units)), INTEREST.target)[0]
    by_hand = sum(w * (row - target).square().sum() for w, row in zip(weights, liked, strict=True))
    assert trained.losses[0] == pytest.approx(float(by_hand), abs=1e-4)


def test_disliked_songs_are_held_where_the_base_has_them(tiny: Base, catalogue: Snapshot) -> None:
    """Without the hold they would follow the liked songs to the target."""
    liked, away = [1, 7, 13, 19, 25, 31], [2, 8]
    texts = [CATALOGUE[i - 1] for i in away]

    def moved(hold: float) -> float:
        settings = replace(MEAN, **THOROUGH, hold=hold)
        trained = Trainer(tiny, catalogue, songs(liked, away), settings, seed=1).run()
        with torch.no_grad():
            after = tiny.upper(trained.network, tiny.lower(texts))
        units = torch.nn.functional.normalize(after - torch.from_numpy(catalogue.mean), dim=1)
        return float((units - trained.own.disliked).square().sum(dim=1).mean())

    assert moved(hold=3.0) < 0.7 * moved(hold=0.0)


@pytest.mark.parametrize(("liked", "a_step", "taken"), [(4, 6, 4), (6, 6, 6), (9, 6, 6)])
def test_a_step_takes_all_liked_songs_or_as_many_as_it_may(
    tiny: Base, catalogue: Snapshot, liked: int, a_step: int, taken: int
) -> None:
    listened = songs(list(range(1, liked + 1)), [50, 51])
    run = Trainer(tiny, catalogue, listened, replace(INTEREST, songs_a_step=a_step), seed=1)
    sample = run._sample().tolist()
    assert len(set(sample)) == len(sample) == taken
    assert set(sample) <= set(range(liked))


def test_weightier_songs_are_drawn_more_often(tiny: Base, catalogue: Snapshot) -> None:
    run = Trainer(tiny, catalogue, songs(list(range(1, 10))), replace(INTEREST, songs_a_step=3), seed=1)
    drawn = Counter(i for _ in range(300) for i in run._sample().tolist())
    by_weight = [sum(drawn[i] for i in range(9) if run.songs.weights[i] == weight) for weight in (1, 2, 3)]
    assert by_weight[0] < by_weight[1] < by_weight[2]


def test_the_learning_rate_warms_up_for_three_steps_and_falls_towards_a_tenth(tiny: Base, catalogue: Snapshot) -> None:
    run = Trainer(tiny, catalogue, songs([1, 2]), replace(INTEREST, steps=10, learning_rate=1.0), seed=1)
    rates = [run._learning_rate(step) for step in range(10)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3 * 0.91, 0.82])
    assert np.diff(rates[2:]) == pytest.approx(np.full(7, -0.09))
    assert rates[-1] == pytest.approx(0.19)


def test_each_rule_trains_by_its_own_measured_settings() -> None:
    for rule in ("mean", "interest"):
        found = TrainingSettings.for_rule(rule, rank=4)  # type: ignore[arg-type]
        assert (found.rule, found.rank, found.alpha) == (rule, 4, 8)
    assert TrainingSettings.for_rule("interest").learning_rate > TrainingSettings.for_rule("mean").learning_rate


@both_rules
def test_the_same_seed_gives_the_same_adapter_and_another_seed_another(
    tiny: Base, catalogue: Snapshot, settings: TrainingSettings
) -> None:
    def run(seed: int) -> Trained:
        torch.rand(seed)  # what the process drew before must not matter
        return Trainer(tiny, catalogue, songs([1, 2, 7, 9, 13], [20]), settings, seed).run()

    one, again, other = run(1), run(1), run(2)
    assert one.losses == again.losses
    assert all(torch.equal(tensor, lora(again)[name]) for name, tensor in lora(one).items())
    assert any(not torch.equal(tensor, lora(other)[name]) for name, tensor in lora(one).items())


@both_rules
def test_a_run_leaves_the_process_random_numbers_alone(
    tiny: Base, catalogue: Snapshot, settings: TrainingSettings
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Trainer(tiny, catalogue, songs([1, 2, 3]), settings, seed=9).run()
    assert torch.equal(torch.rand(3), expected)


@both_rules
def test_each_objective_brings_its_loss_down_and_moves_only_lora_tensors(
    tiny: Base, catalogue: Snapshot, settings: TrainingSettings
) -> None:
    before = tiny.weights_digest()
    settings = replace(settings, **THOROUGH)
    trained = Trainer(tiny, catalogue, songs([1, 7, 13, 19, 25, 31]), settings, seed=1).run()
    assert sum(trained.losses[-5:]) < 0.9 * sum(trained.losses[:5])
    assert len(lora(trained)) == 2 * len(tiny.targets)
    assert all("lora_" in name for name in lora(trained))
    assert tiny.weights_digest() == before


def test_progress_names_phase_step_and_loss(tiny: Base, catalogue: Snapshot) -> None:
    heard: list[Progress] = []
    trained = Trainer(tiny, catalogue, songs([1, 2, 3]), INTEREST, seed=1, report=heard.append).run()
    assert [(p.phase, p.step, p.of) for p in heard] == [("reading", 3, 3)] + [
        ("learning", step, INTEREST.steps) for step in range(1, INTEREST.steps + 1)
    ]
    assert tuple(p.loss for p in heard[1:]) == trained.losses
    assert heard[-1].eta == 0


@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_run_that_is_cancelled_stops_before_its_next_step(tiny: Base, catalogue: Snapshot, after: int) -> None:
    heard: list[Progress] = []
    with pytest.raises(Cancelled):
        Trainer(
            tiny, catalogue, songs([1, 2, 3]), INTEREST, 1, report=heard.append, cancelled=lambda: len(heard) >= after
        ).run()
    assert len(heard) == after


@both_rules
def test_a_network_goes_on_from_what_it_has_learnt_towards_the_bases_target(
    tiny: Base, catalogue: Snapshot, settings: TrainingSettings
) -> None:
    settings = replace(settings, **THOROUGH, refit_steps=3)
    first = Trainer(tiny, catalogue, songs([1, 7, 13, 19, 25, 31]), settings, seed=1).run()
    learnt = {name: value.clone() for name, value in lora(first).items()}
    every = songs([1, 7, 13, 19, 25, 31, 37])
    again = Trainer(tiny, catalogue, every, settings.of_refit(), seed=1).run(first.network)
    anew = Trainer(tiny, catalogue, every, settings.of_refit(), seed=1).run()
    assert again.network is first.network and len(again.losses) == 3
    assert torch.equal(again.targets, anew.targets)  # what is taught is found on the base, not on what was learnt
    assert again.losses[0] < 0.7 * anew.losses[0]
    assert all(not torch.equal(learnt[name], value) for name, value in lora(again).items())


def test_a_refit_is_slower_learning_with_nothing_hidden() -> None:
    whole = TrainingSettings.for_rule("interest").of_refit()
    assert whole.songs_a_step < TrainingSettings.for_rule("interest").songs_a_step
    assert INTEREST.of_refit().songs_a_step == INTEREST.songs_a_step
    assert (whole.steps, whole.parts) == (TrainingSettings.for_rule("interest").refit_steps, 0)
    assert whole.steps > 0 and whole.learning_rate == TrainingSettings.for_rule("interest").learning_rate / 2
    assert TrainingSettings.for_rule("mean").refit_steps == whole.steps  # artists gain by it since words are known


@both_rules
def test_dislikes_change_what_is_taught(tiny: Base, catalogue: Snapshot, settings: TrainingSettings) -> None:
    without = Trainer(tiny, catalogue, songs([1, 2, 7, 9, 13]), settings, seed=1).run()
    against = Trainer(tiny, catalogue, songs([1, 2, 7, 9, 13], [20]), settings, seed=1).run()
    assert not torch.allclose(without.targets[0], against.targets[0], atol=1e-4)
    assert against.own.disliked.shape == (1, catalogue.units.shape[1])


@both_rules
def test_parts_are_hidden_from_the_target_in_turn(tiny: Base, catalogue: Snapshot, settings: TrainingSettings) -> None:
    trained = Trainer(tiny, catalogue, songs(list(range(1, 21)), list(range(40, 50))), settings, seed=1).run()
    assert len(trained.targets) == len(trained.own.weights) == len(trained.own.against) == 1 + settings.parts
    assert ((trained.own.weights[1:] == 0).sum(dim=0) == 1).all()
    assert ((trained.own.against[1:] == 0).sum(dim=0) == 1).all()
    few = Trainer(tiny, catalogue, songs([1, 2, 3], [40]), settings, seed=1).run()
    assert len(few.targets) == len(few.own.against) == 1


def test_a_listener_who_knows_the_whole_catalogue_can_still_train(tiny: Base, catalogue: Snapshot) -> None:
    losses = Trainer(tiny, catalogue, songs(list(range(1, 60)), [60]), INTEREST, seed=1).run().losses
    assert len(losses) == INTEREST.steps
    assert np.isfinite(losses).all()


def test_only_the_weightiest_songs_are_read_when_there_are_too_many(tiny: Base, catalogue: Snapshot) -> None:
    many = songs(list(range(1, 31)))
    run = Trainer(tiny, catalogue, many, replace(MEAN, most_songs=7), seed=1)
    assert list(run.songs.ids) == [2, 5, 8, 11, 14, 17, 20]  # weight 3, by id
    assert list(run.songs.texts) == [CATALOGUE[i - 1] for i in run.songs.ids]


def test_dislikes_never_crowd_out_a_liked_song(tiny: Base, catalogue: Snapshot) -> None:
    many = songs([3, 6, 9], [2, 5, 8, 11, 14])  # liked: weight 1; disliked: weight 3
    run = Trainer(tiny, catalogue, many, replace(INTEREST, most_songs=5), seed=1)
    assert list(run.songs.ids) == [3, 6, 9, 2, 5]
    assert list(run.songs.liked) == [True] * 3 + [False] * 2
    assert (run.liked_at.tolist(), run.disliked_at.tolist()) == ([0, 1, 2], [3, 4])


def test_a_large_catalogue_is_sampled_and_the_seed_decides(
    tiny: Base, catalogue: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "_MOST_FOR_TARGETS", 20)
    listened = songs([1, 2, 7, 9, 13])
    one, again, other = (Trainer(tiny, catalogue, listened, INTEREST, seed=s).run().targets for s in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one[0], other[0])
