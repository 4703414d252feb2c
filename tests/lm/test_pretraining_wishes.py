"""Wishes that a second round learns from: tags and artists in the words that somebody asks with."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from app.lm.pretraining_data import Piece
from app.lm.pretraining_student import Student, learn
from app.lm.pretraining_wishes import LIKE, SHARE, Wishes
from app.lm.pretraining_world import Texts, World, world_of

from .making import load_folder
from .test_pretraining import source


@pytest.fixture
def world() -> World:
    return world_of([source()])


def places(world: World, size: int = 32) -> Tensor:
    return normalize(torch.randn(len(world.names), size, generator=torch.Generator().manual_seed(0)), dim=-1)


def carriers(world: World, tag: str) -> set[int]:
    return {a for a, pieces in enumerate(world.pieces) if any(tag in map(str.lower, p.tags[:8]) for p in pieces)}


def test_a_tag_is_wanted_amid_the_artists_who_carry_it(world: World) -> None:
    wishes = Wishes(world, places(world))
    assert wishes.tags and wishes.of_tags is not None
    for tag, wanted in zip(wishes.tags, wishes.of_tags, strict=True):
        with_it = sorted(carriers(world, tag))
        assert len(with_it) >= 8, "what few carry says nothing"
        likeness = wishes.artists @ wanted
        others = [a for a in range(len(world.names)) if a not in with_it]
        assert likeness[with_it].mean() > likeness[others].mean() + 0.05
        assert float(wanted.norm()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("artists", "asked_for"), [(7, False), (8, True)])
def test_a_tag_that_few_carry_is_a_note_to_oneself(artists: int, asked_for: bool, world: World) -> None:
    with_it = np.flatnonzero(world.popularity > 0)[:artists].tolist()
    pieces = [list(some) for some in world.pieces]
    for artist in with_it:
        pieces[artist].append(Piece(world.names[artist], "", ("Seen Live",), None))
    wishes = Wishes(replace(world, pieces=pieces), places(world))
    assert ("seen live" in wishes.tags) is asked_for


def test_wishes_name_tags_or_artists_and_never_an_artist_kept_unseen(world: World) -> None:
    wishes = Wishes(world, places(world))
    texts, wanted = wishes.draw(600, np.random.default_rng(0))
    assert wanted.shape == (600, 32) and len(set(texts)) > 100
    asked_for = [place for place, text in enumerate(texts) if not any(tag in text.lower() for tag in wishes.tags)]
    assert 60 < len(asked_for) < 200, "a fifth asks for an artist"
    unseen = {LIKE[0].format(world.names[a]) for a in np.flatnonzero(world.unseen)}
    assert unseen and not unseen & set(texts)
    for place in asked_for:
        (artist,) = [a for a, name in enumerate(world.names) if texts[place] in {form.format(name) for form in LIKE}]
        torch.testing.assert_close(wanted[place], wishes.artists[artist])


def test_the_same_seed_draws_the_same_wishes(world: World) -> None:
    one, other, third = (Wishes(world, places(world)).draw(40, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one[0] == other[0] != third[0]
    assert torch.equal(one[1], other[1])


def test_without_tags_wishes_name_artists_alone(world: World) -> None:
    bare = World(world.names, [[] for _ in world.pieces], world.domains, world.popularity, world.unseen)
    texts, wanted = Wishes(bare, places(bare)).draw(30, np.random.default_rng(0))
    assert len(texts) == 30 and wanted.shape == (30, 32)
    assert all(any(name in text for name in world.names) for text in texts)
    assert Wishes(bare, places(bare)).draw(0, np.random.default_rng(0))[1].shape == (0, 32)


def test_a_base_learns_where_wishes_are_wanted(tiny_folder: Path, world: World) -> None:
    targets = places(world)
    wishes, texts = Wishes(world, targets), Texts(world)
    plain = partial(torch.autocast, "cpu", torch.bfloat16, enabled=False)
    asked, wanted = wishes.draw(round(SHARE * 100), np.random.default_rng(3))

    def after(taught: Wishes | None) -> float:
        student = Student(load_folder(tiny_folder, top_layers=2), 6, 0)
        optimiser = torch.optim.Adam(student.trained.values(), lr=0.01)
        for _ in range(30):
            optimiser.zero_grad()
            learn(student, texts, targets, torch.eye(32), 100, np.random.default_rng(3), plain, taught)
            optimiser.step()
        with torch.no_grad():
            return float((student.upper(student.lower(asked)) * wanted).sum(-1).mean())

    assert after(wishes) > after(None) + 0.1
