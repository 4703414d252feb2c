"""The rounds in which each part of the songs is hidden from the target once."""

from __future__ import annotations

import numpy as np
import pytest

from app.lm import evaluation, proof, ranking
from app.lm.base import Base
from app.lm.ranking import Rule
from app.lm.trainer import Trained, Trainer, TrainingSettings, TrainingSongs
from app.lm.vectors import Snapshot

from .making import TEXTS, catalogue_of

CATALOGUE = [f"{text} take {turn}" for turn in range(10) for text in TEXTS]
LIKED, DISLIKED = list(range(1, 21)), list(range(40, 50))


@pytest.fixture(scope="module")
def catalogue(tiny: Base) -> Snapshot:
    """Sixty songs, ids from 1."""
    return catalogue_of(tiny.encode(CATALOGUE).numpy())


def train(tiny: Base, catalogue: Snapshot, rule: Rule, liked: list[int], disliked: list[int]) -> Trained:
    ids = [*liked, *disliked]
    texts = [CATALOGUE[i - 1] if i <= len(CATALOGUE) else f"{TEXTS[0]} unheard {i}" for i in ids]
    weights, likes = [1.0 + i % 3 for i in ids], [True] * len(liked) + [False] * len(disliked)
    settings = TrainingSettings(rule=rule, rank=2, alpha=4, steps=2)
    return Trainer(tiny, catalogue, TrainingSongs(ids, texts, weights, likes), settings, seed=1).run()


@pytest.mark.parametrize("rule", ["mean", "interest"])
def test_each_liked_song_is_hidden_once_and_ranked_by_the_base_and_by_the_target(
    tiny: Base, catalogue: Snapshot, rule: Rule
) -> None:
    trained = train(tiny, catalogue, rule, LIKED, DISLIKED)
    found = proof.rounds(trained, catalogue)
    before, after = [], []
    for part in range(1, 1 + 4):  # by hand, song by song
        shown = [i for i in range(20) if trained.own.weights[part, i] > 0]
        gone = [i for i in range(20) if i not in shown]
        away = [i for i in range(10) if trained.own.against[part, i] > 0]
        ids = [LIKED[i] for i in shown] + [DISLIKED[i] for i in away]
        weights = [1.0 + LIKED[i] % 3 for i in shown] + [-1.0 - DISLIKED[i] % 3 for i in away]
        vectors = catalogue.vectors[catalogue.rows(ids)]
        taste = ranking.taste_of(ids, vectors, np.array(weights), catalogue.mean, rule)
        hidden = catalogue.rows([LIKED[i] for i in gone])
        known = catalogue.rows([LIKED[i] for i in shown])
        base, target = ranking.scores(taste, catalogue.units), catalogue.units @ trained.targets[part].numpy()
        before += evaluation.ranks_of(base, hidden, known).tolist()
        after += evaluation.ranks_of(target, hidden, known).tolist()
    assert len(found.before) == len(found.after) == len(found.ordered_before) == 20
    assert np.sort(found.before) == pytest.approx(np.sort(10 / (10 + np.array(before))), abs=0.02)
    assert np.sort(found.after) == pytest.approx(np.sort(10 / (10 + np.array(after))), abs=0.02)
    assert ((found.ordered_after >= 0) & (found.ordered_after <= 1)).all()


def test_without_dislikes_there_is_no_order_to_prove(tiny: Base, catalogue: Snapshot) -> None:
    found = proof.rounds(train(tiny, catalogue, "mean", LIKED, []), catalogue)
    assert len(found.before) == 20 and len(found.ordered_before) == len(found.ordered_after) == 0


def test_a_song_that_is_not_encoded_yet_proves_nothing(tiny: Base, catalogue: Snapshot) -> None:
    found = proof.rounds(train(tiny, catalogue, "mean", [*LIKED, 1000], [*DISLIKED, 1001]), catalogue)
    assert len(found.before) == len(found.after) == 20


def test_too_few_songs_give_no_evidence(tiny: Base, catalogue: Snapshot) -> None:
    found = proof.rounds(train(tiny, catalogue, "mean", LIKED[:3], []), catalogue)
    assert len(found.before) == len(found.after) == 0
