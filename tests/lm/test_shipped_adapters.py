"""The music adapters that ship: they load, fold in, say what they are, and know music better than none."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from app.lm.base import load
from app.lm.locate import locate, sha256_of
from app.lm.pretraining_world import UNSEEN
from app.lm.song_text import artist_key
from app.lm.vocabulary import Vocabulary, digest
from app.settings import PROJECT
from app.starter.reading import read

MODELS = PROJECT / "models"
SHIPPED = ["music", "music-clean"]
LARGEST = 7_000_000  # a few MB: music has a LoRA of rank 128 with 5.3, and words with 1.5


def triples() -> list[tuple[str, str, str]]:
    """An artist of the starter catalogue, one related to it, and one not: the same ones every time."""
    artists = read()
    names = [artist.name for artist in artists]
    random = np.random.default_rng(0)
    found = []
    for artist in artists[::12]:
        others = [n for n in names if n not in artist.related and n != artist.name]
        if artist.related:
            found.append((artist.name, artist.related[0], others[int(random.integers(len(others)))]))
    return found


def right(music: Path | None) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """For each triple, whether the related artist is nearer than the other one, by names alone."""
    base = load(locate(MODELS / "base.toml"), music_folder=music)
    asked = triples()
    return nearer(base.encode([name for triple in asked for name in triple]))


def nearer(vectors: Tensor) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Of vectors (3 n, D), three a triple: whether the second is nearer to the first than the third is."""
    units = normalize(vectors - vectors.mean(0), dim=1).reshape(len(vectors) // 3, 3, -1)
    found: np.ndarray[tuple[int], np.dtype[np.bool_]] = (
        (units[:, 0] * units[:, 1]).sum(1) > (units[:, 0] * units[:, 2]).sum(1)
    ).numpy()
    return found


@pytest.fixture(scope="module")
def without() -> float:
    """Share of triples that the untaught base gets right."""
    return float(right(None).mean())


@pytest.mark.parametrize("name", SHIPPED)
def test_related_artists_are_nearer_than_without_it(name: str, without: float) -> None:
    """0.65 without, 0.69 with either when they were shipped, of 255 triples."""
    assert float(right(MODELS / name).mean()) > without + 0.02


@pytest.mark.parametrize("name", SHIPPED)
def test_it_is_small_and_plain(name: str) -> None:
    folder = MODELS / name
    assert sum(file.stat().st_size for file in folder.iterdir()) < LARGEST
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["peft_type"] == "LORA" and config["bias"] == "none" and not config["use_dora"]
    assert {file.suffix for file in folder.iterdir()} <= {".safetensors", ".json", ".md", ".txt"}


@pytest.mark.parametrize("name", SHIPPED)
def test_its_card_is_of_these_weights_and_says_where_they_come_from(name: str) -> None:
    folder = MODELS / name
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert all(sha256_of(file) in card for file in folder.glob("*.safetensors"))
    for words in ("licence", "below 52", "How to rebuild it", "ListenBrainz", "nDCG@10"):
        assert words in card, words


def test_listeners_learnt_from_are_listed_and_the_clean_one_has_none() -> None:
    marks = (MODELS / "music" / "listeners.txt").read_text().split()
    assert len(set(marks)) == len(marks) > 1000
    assert all(re.fullmatch(r"[0-9a-f]{8}", mark) for mark in marks)
    assert not (MODELS / "music-clean" / "listeners.txt").exists()


def test_its_words_are_of_artists_whom_it_knows_and_of_none_who_are_to_stay_unseen() -> None:
    vocabulary = Vocabulary.beside(MODELS / "music")
    assert vocabulary is not None and Vocabulary.beside(MODELS / "music-clean") is None
    assert f"{len(vocabulary):,} words" in (MODELS / "music" / "MODEL_CARD.md").read_text(encoding="utf-8")
    names = [artist.name for artist in read()]
    hashed = [hashlib.sha256(f"unseen {artist_key(name)}".encode()).digest()[0] for name in names]
    unseen = [name for name, first in zip(names, hashed, strict=True) if first < UNSEEN]
    assert len(unseen) > 20 and not any(digest(name) in vocabulary.row_of for name in unseen)
    assert sum(digest(name) in vocabulary.row_of for name in names) > 0.8 * len(names)


def test_with_its_words_an_artists_entry_is_nearer_to_related_ones() -> None:
    """Entries with a genre, as a catalogue of artists has them; the same base with and without its words."""
    base = load(locate(MODELS / "base.toml"), music_folder=MODELS / "music")
    texts = [f"{name}. music" for triple in triples() for name in triple]
    assert sum(base.vocabulary.find(text) is not None for text in texts) > 0.8 * len(texts)  # type: ignore[union-attr]
    ids, mask = base.tokenize(texts)
    with torch.inference_mode():
        hidden = base.network(input_ids=ids, attention_mask=mask).last_hidden_state
    with_words, without = base.pool(hidden, mask, ids), base.pool(hidden, mask)
    assert nearer(with_words).mean() > nearer(without).mean() + 0.05
