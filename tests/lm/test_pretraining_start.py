"""A second round of pretraining: it starts where the first ended; artists are taught anew, songs drawn to them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from app.errors import AdapterUnfit, BadInput
from app.lm import pretraining, pretraining_card
from app.lm.pretraining import PretrainSettings
from app.lm.pretraining_start import Start
from app.lm.pretraining_student import Student, learn
from app.lm.pretraining_world import Drawn, Texts, probes, world_of

from .making import TEXTS, load_folder
from .test_pretraining import CPU, SMALL, WEIGHTS, source, train


@pytest.fixture(scope="module")
def first(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a first round left, with its marks."""
    out = tmp_path_factory.mktemp("first") / "first"
    done = train(tiny_folder, out)
    listened = replace(source(), name="some-set", listeners=("0a1b2c3d",))
    pretraining_card.write(out, "some/base", [listened], SMALL, done, {})
    return out


def start_of(tiny_folder: Path, first: Path) -> Start:
    return Start(first, load_folder(tiny_folder, top_layers=2, music_folder=first))


def go_on(tiny_folder: Path, first: Path, out: Path, settings: PretrainSettings) -> pretraining.Pretrained:
    base = load_folder(tiny_folder, top_layers=2)
    start = start_of(tiny_folder, first)
    return pretraining.pretrain(base, [source()], out, settings, CPU, start=start)


@pytest.mark.parametrize("rank", [4, 7])
def test_it_starts_where_the_first_round_ended(rank: int, tiny_folder: Path, first: Path) -> None:
    start = start_of(tiny_folder, first)
    student = Student(load_folder(tiny_folder, top_layers=2), rank, 0, start)
    with torch.no_grad():
        lower = student.lower(TEXTS)
        made, there = student.upper(lower), start.vectors(lower)
    torch.testing.assert_close(made, start.taught.encode(TEXTS), atol=1e-5, rtol=0)
    torch.testing.assert_close(there, made, atol=1e-5, rtol=0)
    fresh = Student(load_folder(tiny_folder, top_layers=2), rank, 0)
    assert (fresh.upper(fresh.lower(TEXTS)) - made).abs().max() > 1e-4


def test_a_rank_too_small_is_refused_with_both_ranks(tiny_folder: Path, first: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"rank 4.*--rank must be 4 at least, not 3"):
        go_on(tiny_folder, first, tmp_path / "out", replace(SMALL, rank=3))
    assert not (tmp_path / "out").exists()


def test_an_adapter_of_other_layers_is_refused(tiny_folder: Path, first: Path) -> None:
    base = load_folder(tiny_folder, top_layers=1)
    with pytest.raises(AdapterUnfit, match=r"layers?\.1\.|layer\.1\."):
        Student(base, 4, 0, start_of(tiny_folder, first))


def test_a_second_round_is_the_same_each_time(tiny_folder: Path, first: Path, tmp_path: Path) -> None:
    settings = replace(SMALL, rank=6)
    for name in ("one", "two"):
        go_on(tiny_folder, first, tmp_path / name, settings)
    one, two = ((tmp_path / name / WEIGHTS).read_bytes() for name in ("one", "two"))
    assert one == two != (first / WEIGHTS).read_bytes()


class Only(Texts):
    """Draws songs alone, or artists' entries alone."""

    songs = True

    def draw(self, count: int, random: np.random.Generator) -> Drawn:
        drawn = super().draw(20 * count, random)
        rows = np.flatnonzero(drawn.titled == self.songs)[:count]
        assert len(rows) == count
        return Drawn(drawn.artists[rows], [drawn.texts[i] for i in rows], drawn.titled[rows])


def test_a_song_is_wanted_between_its_own_place_and_its_artists(tiny_folder: Path, first: Path) -> None:
    start = start_of(tiny_folder, first)
    lower = load_folder(tiny_folder, top_layers=2).lower(TEXTS)
    with pytest.raises(ValueError, match="middle"):
        start.songs(lower, torch.zeros(len(TEXTS), 32))
    start.set_middle(lower)
    own = normalize(start.vectors(lower) - start.vectors(lower).mean(0), dim=-1)
    torch.testing.assert_close(start.songs(lower, torch.zeros_like(own)), own)
    artists = normalize(torch.randn(own.shape, generator=torch.Generator().manual_seed(0)), dim=-1)
    wanted = start.songs(lower, artists)
    torch.testing.assert_close((wanted * own).sum(-1), (wanted * artists).sum(-1))  # as near to one as to the other
    torch.testing.assert_close(wanted.norm(dim=-1), torch.ones(len(TEXTS)))


@pytest.mark.parametrize("songs", [True, False])
def test_it_learns_where_songs_and_artists_are_wanted(songs: bool, tiny_folder: Path, first: Path) -> None:
    start = start_of(tiny_folder, first)
    student = Student(load_folder(tiny_folder, top_layers=2), 6, 0, start)
    world = world_of([source()])
    texts = Only(world, entries=0.5)
    texts.songs = songs
    targets = normalize(torch.randn(len(world.names), 32, generator=torch.Generator().manual_seed(0)), dim=-1)
    plain = partial(torch.autocast, "cpu", torch.bfloat16, enabled=False)
    drawn = texts.draw(16, np.random.default_rng(0))
    lower = student.lower(drawn.texts)
    start.set_middle(lower)
    theirs = targets[torch.from_numpy(drawn.artists)]
    between = start.songs(lower, theirs)
    wanted, other = (between, theirs) if songs else (theirs, between)

    def likeness(to: torch.Tensor) -> float:
        with torch.no_grad():
            return float((student.upper(lower) * to).sum(-1).mean())

    before = likeness(wanted)
    optimiser = torch.optim.Adam(student.trained.values(), lr=0.01)
    for _ in range(40):
        optimiser.zero_grad()
        learn(student, texts, targets, torch.eye(32), 16, np.random.default_rng(0), plain)
        optimiser.step()
    assert likeness(wanted) > max(before + 0.15, likeness(other))


def test_entries_are_drawn_more_often_and_songs_are_told_apart() -> None:
    world = world_of([source()])
    plain, more = (Texts(world, entries=share).draw(400, np.random.default_rng(0)) for share in (0.0, 0.9))
    assert more.titled.mean() < 0.2 < plain.titled.mean()
    titles = {p.title for p in source().pieces if p.title}
    for text, titled in zip(more.texts, more.titled, strict=True):
        assert titled == any(title in text for title in titles)


def test_an_artist_with_an_entry_is_read_by_it_alone() -> None:
    world = world_of([source()])
    random = np.random.default_rng(0)
    written = probes(world, range(len(world.names)), random, entries=True)
    for pieces, texts in zip(world.pieces, written, strict=True):
        entries = [p for p in pieces if not p.title]
        assert len(texts) == len(entries[:2]) if entries else len(texts) > 1


def test_the_card_names_what_it_went_on_from_and_keeps_its_marks(
    tiny_folder: Path, first: Path, tmp_path: Path
) -> None:
    out = tmp_path / "second"
    done = go_on(tiny_folder, first, out, replace(SMALL, rank=6))
    other = replace(source(), name="other-set", listeners=("ffffffff",))
    pretraining_card.write(out, "some/base", [other], replace(SMALL, rank=6), done, {}, first)
    card = (out / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "It went on from `first` (sha256 `" in card and "--from models/first" in card
    assert (out / "listeners.txt").read_text() == "0a1b2c3d\nffffffff\n"
