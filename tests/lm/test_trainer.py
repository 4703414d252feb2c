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
from app.lm import ranking
from app.lm.base import Base
from app.lm.ranking import Taste
from app.lm.trainer import (
    Progress,
    Trained,
    Trainer,
    TrainingSettings,
    TrainingSongs,
    lower_all,
    personal_solve,
    whitener,
)
from app.lm.vectors import Snapshot

from .making import LONG_TEXT, TEXTS, catalogue_of, random_units

CATALOGUE = [f"{text} take {turn}" for turn in range(10) for text in TEXTS]
INTEREST = TrainingSettings(rank=2, alpha=4, steps=6, songs_a_step=6, found_a_step=3, negatives=20)
MEAN = replace(INTEREST, rule="mean")
THOROUGH: dict[str, Any] = {"steps": 25, "songs_a_step": 99, "found_a_step": 99, "learning_rate": 1e-2}
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


def cloud(ridge: float = 1.0) -> tuple[Tensor, Tensor]:
    """A catalogue of units that spreads more one way than the other, and its whitener."""
    random = torch.Generator().manual_seed(1)
    raw = torch.randn(400, 16, generator=random) * torch.linspace(2.0, 0.3, 16)
    units = torch.nn.functional.normalize(raw, dim=1)
    return units, whitener(units, ridge)


def test_the_whitener_is_the_inverse_of_the_covariance_over_its_mean_eigenvalue_with_a_floor() -> None:
    units, white = cloud(ridge=0.5)
    values, axes = torch.linalg.eigh((units.double().T @ units.double()) / 400)
    expected = axes @ torch.diag(1 / (values / values.mean() + 0.5)) @ axes.T
    torch.testing.assert_close(white.double(), expected, atol=1e-4, rtol=0)


def test_the_solve_is_the_whitened_mean_of_likes_less_dislikes_mixed_with_the_plain_mean() -> None:
    units, white = cloud()
    liked, disliked, weights = units[:4].double(), units[4:7].double(), torch.tensor([0.1, 0.2, 0.3, 0.4]).double()
    mean = sum(w * row for w, row in zip(weights, liked, strict=True))
    pull = white.double() @ (mean - 0.4 * disliked.mean(dim=0))
    mixed = 0.25 * pull / pull.norm() + 0.75 * mean / mean.norm()
    found = personal_solve(units[:4], weights.float(), units[4:7], white, replace(MEAN, dislike=0.4, solve_share=0.25))
    torch.testing.assert_close(found.double(), mixed / mixed.norm(), atol=1e-5, rtol=0)


def test_the_solve_without_its_share_is_the_plain_mean() -> None:
    units, white = cloud()
    found = personal_solve(units[:2], torch.tensor([0.5, 0.5]), units[:0], white, replace(MEAN, solve_share=0.0))
    torch.testing.assert_close(found, torch.nn.functional.normalize(units[0] + units[1], dim=0), atol=1e-5, rtol=0)


def test_the_solve_leans_to_what_is_liked_and_away_from_what_is_disliked() -> None:
    units, white = cloud()
    liked, disliked, even = units[:6], units[6:8], torch.full((6,), 1 / 6)
    plain = personal_solve(liked, even, disliked[:0], white, MEAN)
    against = personal_solve(liked, even, disliked, white, MEAN)
    assert plain.norm() == pytest.approx(1.0, abs=1e-5)
    assert (liked @ plain).mean() > (units[8:] @ plain).mean() + 0.1
    assert ((disliked @ against) < (disliked @ plain)).all()


def test_the_solve_listens_to_weights() -> None:
    units, white = cloud()
    even = personal_solve(units[:2], torch.tensor([0.5, 0.5]), units[:0], white, MEAN)
    first = personal_solve(units[:2], torch.tensor([0.95, 0.05]), units[:0], white, MEAN)
    assert units[0] @ first > units[0] @ even
    assert units[1] @ first < units[1] @ even


def ready(tiny: Base, catalogue: Snapshot, listened: TrainingSongs, settings: TrainingSettings) -> Trainer:
    """A trainer that has read its songs and learnt nothing."""
    run = Trainer(tiny, catalogue, listened, replace(settings, steps=0), seed=1)
    assert run.run().losses == ()
    return run


def test_the_loss_by_mean_is_the_squared_distance_of_the_taste_vector_to_the_solve(
    tiny: Base, catalogue: Snapshot
) -> None:
    listened = songs([1, 2, 7, 9, 13], [20])
    run = ready(tiny, catalogue, listened, MEAN)
    liked = torch.from_numpy(catalogue.units[catalogue.rows([1, 2, 7, 9, 13])])
    disliked = torch.from_numpy(catalogue.units[catalogue.rows([20])])
    weights = torch.tensor(listened.weights[:5]) / sum(listened.weights[:5])
    white = whitener(torch.from_numpy(np.asarray(catalogue.units)), MEAN.ridge)
    target = personal_solve(liked, weights, disliked, white, MEAN)
    taste = torch.nn.functional.normalize(weights @ liked, dim=0)
    assert run._distil(liked, weights).item() == pytest.approx((2 - 2 * taste @ target).item(), abs=1e-4)
    assert run._distil(target[None], torch.ones(1)).item() == pytest.approx(0.0, abs=1e-5)
    first = Trainer(tiny, catalogue, listened, MEAN, seed=1).run().losses[0]  # B = 0: still the base's vectors
    assert first == pytest.approx((2 - 2 * taste @ target).item(), abs=1e-4)


def test_the_loss_by_interest_is_the_softmax_of_a_song_by_the_ranking_rule_over_the_others(
    tiny: Base, catalogue: Snapshot
) -> None:
    """By hand, with ``ranking.scores`` itself: every liked song left out once, against all that may be drawn."""
    ids, weights = [1, 2, 7, 9], torch.tensor([0.1, 0.2, 0.3, 0.4])
    run = ready(tiny, catalogue, songs(ids, [20]), replace(INTEREST, found_a_step=99))
    state = run.random.get_state()
    liked = torch.from_numpy(catalogue.units[catalogue.rows(ids)])
    adapted = torch.nn.functional.normalize(liked + 0.3 * torch.from_numpy(random_units(4, 32, seed=3)), dim=1)
    found = run._found(adapted, weights, torch.arange(4)).item()

    run.random.set_state(state)
    torch.randperm(4, generator=run.random)
    drawn = run.unknown[torch.randperm(len(run.unknown), generator=run.random)[:20]].numpy()
    wrong = np.concatenate([catalogue.units[drawn], catalogue.units[catalogue.rows([20])]])
    losses = []
    for left_out in range(4):
        others = [i for i in range(4) if i != left_out]
        taste = Taste(np.array(others), adapted.numpy()[others], weights.numpy()[others], "interest")
        candidates = np.concatenate([catalogue.units[catalogue.rows([ids[left_out]])], wrong])
        logits = ranking.scores(taste, candidates).astype(np.float64) / INTEREST.temperature
        losses.append(np.log(np.exp(logits - logits[0]).sum()))
    assert found == pytest.approx(float(np.mean(losses)), rel=1e-3)


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
    assert TrainingSettings.for_rule("interest") == TrainingSettings()
    assert TrainingSettings.for_rule("mean").learning_rate > TrainingSettings.for_rule("interest").learning_rate


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
def test_dislikes_count_in_both_objectives(tiny: Base, catalogue: Snapshot, settings: TrainingSettings) -> None:
    liked = songs([1, 2, 7, 9, 13])
    not_in_the_catalogue = TrainingSongs(
        [*liked.ids, 999], [*liked.texts, f"{TEXTS[0]} take 99"], [*liked.weights, 1.0], [*liked.liked, False]
    )
    without = Trainer(tiny, catalogue, liked, settings, seed=1).run().losses
    against = Trainer(tiny, catalogue, not_in_the_catalogue, settings, seed=1).run().losses
    assert against[0] > without[0] if settings is INTEREST else against[0] != without[0]


def test_nothing_the_listener_knows_is_a_negative_however_much_they_know(tiny: Base, catalogue: Snapshot) -> None:
    known = list(range(1, 31))
    run = Trainer(tiny, catalogue, songs(known, [31]), replace(INTEREST, most_songs=10), seed=1)
    assert len(run.songs.ids) == 10
    assert catalogue.ids[run.unknown.numpy()].tolist() == list(range(32, 61))


def test_no_negative_counts_twice_and_most_songs_of_a_small_catalogue_are_spared(
    tiny: Base, catalogue: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a disliked song, which counts once a step, would be pushed less than one that is not known."""
    run = ready(tiny, catalogue, songs([1, 2, 7, 9], [20]), replace(INTEREST, negatives=1000))
    run.units = random_units(60, 32, seed=8)  # no two alike, to tell them apart
    liked = torch.from_numpy(run.units[:4])
    whole, drawn = torch.cat, []
    monkeypatch.setattr(torch, "cat", lambda parts, dim=0: (drawn.append(parts[0]), whole(parts, dim=dim))[1])
    run._found(liked, torch.full((4,), 0.25), torch.arange(4))
    monkeypatch.undo()
    rows = [int((run.units == unit.numpy()).all(axis=1).nonzero()[0][0]) for unit in drawn[0]]
    assert len(set(rows)) == len(rows) == 28  # of 55
    assert set(rows) <= set(run.unknown.tolist())


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
