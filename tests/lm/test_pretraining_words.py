"""What a pretraining run keeps as words, of whom, and that it is the same each time."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from app.lm import pretraining, pretraining_card
from app.lm.locate import sha256_of
from app.lm.pretraining import Pretrained, PretrainSettings
from app.lm.pretraining_start import Start
from app.lm.pretraining_student import Student
from app.lm.pretraining_words import known_well, words_of
from app.lm.pretraining_world import probes, world_of
from app.lm.vocabulary import FILE, Vocabulary, digest

from .making import load_folder
from .test_pretraining import CPU, SMALL, WEIGHTS, source

TWO = replace(SMALL, teachers=2)


def train(folder: Path, out: Path, settings: PretrainSettings = TWO, start: Path | None = None) -> Pretrained:
    base = load_folder(folder, top_layers=2)
    begun = Start(start, load_folder(folder, top_layers=2, music_folder=start)) if start is not None else None
    return pretraining.pretrain(base, [source()], out, settings, CPU, start=begun)


@pytest.fixture(scope="module")
def trained(first_token_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pretrained]:
    out = tmp_path_factory.mktemp("pretrained") / "music"
    return out, train(first_token_folder, out)


def vocabulary_of(folder: Path) -> Vocabulary:
    found = Vocabulary.beside(folder)
    assert found is not None
    return found


def test_whoever_has_company_enough_has_a_word_but_for_those_who_are_to_stay_unseen(
    trained: tuple[Path, Pretrained],
) -> None:
    out, done = trained
    world = world_of([source()])
    vocabulary = vocabulary_of(out)
    have = {name for name in world.names if digest(name) in vocabulary.row_of}
    enough = {
        name
        for name, popularity, unseen in zip(world.names, world.popularity, world.unseen, strict=True)
        if popularity >= SMALL.least_groups and not unseen
    }
    assert have == enough and 0 < len(have) == done.words < len(world.names)
    assert any(world.unseen & (world.popularity >= SMALL.least_groups)), "else nothing is left out"
    assert known_well(world, 10_000) == []


def test_with_their_words_artists_are_where_the_teacher_wants_them(first_token_folder: Path) -> None:
    world = world_of([source()])
    written = probes(world, range(len(world.names)), np.random.default_rng(0), entries=True)
    student = Student(load_folder(first_token_folder, top_layers=2), 4, 0)
    targets = normalize(torch.randn(len(world.names), 32, generator=torch.Generator().manual_seed(0)), dim=-1)
    plain = partial(torch.autocast, "cpu", torch.bfloat16, enabled=False)
    words = words_of(student, world, written, targets, 3, plain)
    vectors = torch.stack([normalize(student.vectors(texts, plain).sum(0), dim=0) for texts in written])
    middle = vectors.mean(0)
    for artist in known_well(world, 3):
        there = vectors[artist] + words[world.names[artist]] - middle
        assert torch.cosine_similarity(there, targets[artist], dim=0) > 0.999
        assert torch.cosine_similarity(vectors[artist] - middle, targets[artist], dim=0) < 0.9


def test_words_are_the_same_each_time_and_another_seed_has_others(
    first_token_folder: Path, trained: tuple[Path, Pretrained], tmp_path: Path
) -> None:
    for name, settings, same in (("again", TWO, True), ("one", SMALL, False), ("seed", replace(TWO, seed=1), False)):
        train(first_token_folder, tmp_path / name, settings)
        assert ((tmp_path / name / FILE).read_bytes() == (trained[0] / FILE).read_bytes()) is same, name


class Killed(BaseException):
    pass


@pytest.mark.parametrize("phase", ["teacher", "teacher 2", "student"])
def test_a_run_that_ends_amid_any_teacher_goes_on_to_the_same_words(
    phase: str, first_token_folder: Path, trained: tuple[Path, Pretrained], tmp_path: Path
) -> None:
    def end(at: str, step: int, of: int, loss: float) -> None:
        if (at, step) == (phase, 3):
            raise Killed

    base = load_folder(first_token_folder, top_layers=2)
    with pytest.raises(Killed):
        pretraining.pretrain(base, [source()], tmp_path / "music", TWO, CPU, end)
    train(first_token_folder, tmp_path / "music")
    for file in (FILE, WEIGHTS):
        assert (tmp_path / "music" / file).read_bytes() == (trained[0] / file).read_bytes()


def test_no_steps_keep_the_adapter_it_goes_on_from_and_make_words_alone(
    first_token_folder: Path, trained: tuple[Path, Pretrained], tmp_path: Path
) -> None:
    done = train(first_token_folder, tmp_path / "more", replace(TWO, steps=0), trained[0])
    assert (done.steps, done.teacher_steps) == (0, TWO.teacher_steps)
    assert (tmp_path / "more" / WEIGHTS).read_bytes() == (trained[0] / WEIGHTS).read_bytes()
    assert (tmp_path / "more" / FILE).read_bytes() != (trained[0] / FILE).read_bytes()


def test_none_are_made_if_none_are_wanted_or_texts_have_no_first_token(
    tiny_folder: Path, first_token_folder: Path, trained: tuple[Path, Pretrained], tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / FILE).write_bytes((trained[0] / FILE).read_bytes())  # of a run before
    assert train(first_token_folder, tmp_path / "none", replace(SMALL, least_groups=0)).words == 0
    assert train(tiny_folder, tmp_path / "tiny", SMALL).words == 0
    assert not (tmp_path / "none" / FILE).exists() and not (tmp_path / "tiny" / FILE).exists()


def test_the_card_says_what_lies_beside_the_adapter(trained: tuple[Path, Pretrained], tmp_path: Path) -> None:
    out, done = trained
    pretraining_card.write(out, "some/base", [source()], TWO, done, {})
    card = (out / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"has {done.words:,} words" in card and sha256_of(out / FILE) in card
    assert "each of 2 teachers" in card and "--teachers 2 --least-groups 3" in card
    pretraining_card.write(out, "some/base", [source()], SMALL, replace(done, words=0), {})
    assert FILE not in (out / "MODEL_CARD.md").read_text(encoding="utf-8")
