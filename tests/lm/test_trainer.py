"""The trainer's parts on a tiny base, where a run takes milliseconds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from app.errors import Cancelled
from app.lm.base import Base
from app.lm.trainer import (
    Progress,
    Trained,
    Trainer,
    TrainingSettings,
    TrainingSongs,
    lower_all,
    personal_solve,
)
from app.lm.vectors import Snapshot

from .making import LONG_TEXT, TEXTS, random_units, snapshot_of

CATALOGUE = [f"{text} take {turn}" for turn in range(10) for text in TEXTS]
BRIEF = TrainingSettings(rank=2, alpha=4, distil_steps=6, songs_a_step=6, negatives=20)
LEAVE_ONE_OUT = replace(BRIEF, distil_steps=0, leave_one_out_steps=4)


@pytest.fixture(scope="module")
def catalogue(tiny: Base) -> Snapshot:
    """Sixty songs, ids from 1."""
    return snapshot_of(tiny.encode(CATALOGUE).numpy())


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
    assert done == [3, 6, 8]


def test_the_solve_leans_to_what_is_liked_and_away_from_what_is_disliked() -> None:
    catalogue = torch.from_numpy(random_units(200, 16, seed=1, centre=0.0))
    liked, disliked = catalogue[:6], catalogue[6:8]
    plain = personal_solve(liked, torch.ones(6), disliked[:0], catalogue, BRIEF)
    against = personal_solve(liked, torch.ones(6), disliked, catalogue, BRIEF)
    assert plain.norm() == pytest.approx(1.0, abs=1e-5)
    assert (liked @ plain).mean() > (catalogue[8:] @ plain).mean() + 0.1
    assert ((disliked @ against) < (disliked @ plain)).all()


def test_the_solve_listens_to_weights() -> None:
    catalogue = torch.from_numpy(random_units(200, 16, seed=1, centre=0.0))
    even = personal_solve(catalogue[:2], torch.tensor([1.0, 1.0]), catalogue[:0], catalogue, BRIEF)
    first = personal_solve(catalogue[:2], torch.tensor([1.9, 0.1]), catalogue[:0], catalogue, BRIEF)
    assert catalogue[0] @ first > catalogue[0] @ even
    assert catalogue[1] @ first < catalogue[1] @ even


@pytest.mark.parametrize("settings", [BRIEF, LEAVE_ONE_OUT], ids=["distil", "leave-one-out"])
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


def test_a_run_leaves_the_process_random_numbers_alone(tiny: Base, catalogue: Snapshot) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Trainer(tiny, catalogue, songs([1, 2, 3]), BRIEF, seed=9).run()
    assert torch.equal(torch.rand(3), expected)


def test_both_objectives_bring_the_loss_down_and_move_only_lora_tensors(tiny: Base, catalogue: Snapshot) -> None:
    before = tiny.weights_digest()
    for settings in (replace(BRIEF, distil_steps=25), replace(LEAVE_ONE_OUT, leave_one_out_steps=25)):
        settings = replace(settings, songs_a_step=99, learning_rate=1e-2)
        trained = Trainer(tiny, catalogue, songs([1, 7, 13, 19, 25, 31]), settings, seed=1).run()
        assert sum(trained.losses[-5:]) < sum(trained.losses[:5])
        assert all("lora_" in name for name in lora(trained))
    assert tiny.weights_digest() == before


def test_progress_names_phase_step_and_loss(tiny: Base, catalogue: Snapshot) -> None:
    heard: list[Progress] = []
    trained = Trainer(tiny, catalogue, songs([1, 2, 3]), BRIEF, seed=1, report=heard.append).run()
    assert [(p.phase, p.step, p.of) for p in heard] == [("reading", 3, 3)] + [
        ("learning", step, BRIEF.steps) for step in range(1, BRIEF.steps + 1)
    ]
    assert tuple(p.loss for p in heard[1:]) == trained.losses
    assert heard[-1].eta == 0


@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_run_that_is_cancelled_stops_before_its_next_step(tiny: Base, catalogue: Snapshot, after: int) -> None:
    heard: list[Progress] = []
    with pytest.raises(Cancelled):
        Trainer(
            tiny, catalogue, songs([1, 2, 3]), BRIEF, 1, report=heard.append, cancelled=lambda: len(heard) >= after
        ).run()
    assert len(heard) == after


def test_dislikes_count_in_both_objectives(tiny: Base, catalogue: Snapshot) -> None:
    liked = songs([1, 2, 7, 9, 13])
    not_in_the_catalogue = TrainingSongs(
        [*liked.ids, 999], [*liked.texts, "Something else"], [*liked.weights, 1.0], [*liked.liked, False]
    )
    for settings in (BRIEF, LEAVE_ONE_OUT):
        without = Trainer(tiny, catalogue, liked, settings, seed=1).run().losses
        against = Trainer(tiny, catalogue, not_in_the_catalogue, settings, seed=1).run().losses
        assert against[0] > without[0] if settings is LEAVE_ONE_OUT else against[0] != without[0]


def test_nothing_the_listener_knows_is_a_negative_however_much_they_know(tiny: Base, catalogue: Snapshot) -> None:
    known = list(range(1, 31))
    run = Trainer(tiny, catalogue, songs(known, [31]), replace(LEAVE_ONE_OUT, most_songs=10), seed=1)
    assert len(run.songs.ids) == 10
    assert catalogue.ids[run.open_rows.numpy()].tolist() == list(range(32, 61))


def test_only_the_weightiest_songs_are_read_when_there_are_too_many(tiny: Base, catalogue: Snapshot) -> None:
    many = songs(list(range(1, 31)))
    run = Trainer(tiny, catalogue, many, replace(BRIEF, most_songs=7), seed=1)
    assert list(run.songs.ids) == [2, 5, 8, 11, 14, 17, 20]  # weight 3, by id
    assert list(run.songs.texts) == [CATALOGUE[i - 1] for i in run.songs.ids]
