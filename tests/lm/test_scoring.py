"""Scores are kept while nothing changes, and never longer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select

from app.db import Database
from app.lm import ranking
from app.lm.asking import Own
from app.lm.engine import Engine
from app.tables import Song
from tests.conftest import own_of

from .making import random_units

WHO = "a" * 16


@pytest.fixture
def own(db: Database) -> list[Own]:
    """Some songs of the small catalogue."""
    with db.read() as session:
        return own_of(session, list(session.scalars(select(Song.id).limit(12))))


def test_the_second_ask_scores_nothing_and_any_change_scores_again(
    engine: Engine, own: list[Own], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    scores = ranking.scores
    monkeypatch.setattr(ranking, "scores", lambda taste, units: (asked.append(len(units)), scores(taste, units))[1])
    first, _, _ = engine.score(WHO, None, own)
    again, _, _ = engine.score(WHO, None, list(own))
    assert again is first and len(asked) == 1
    changes = [own[1:], [replace(own[0], weight=2.0), *own[1:]], [replace(own[0], text="x"), *own[1:]]]
    for number, changed in enumerate(changes, 2):
        engine.score(WHO, None, changed)
        assert len(asked) == number
    engine.vectors.append([10**9], ["new"], random_units(1, engine.base.dimension, seed=1))
    assert len(engine.score(WHO, None, changes[-1])[0]) == len(first) + 1
    engine.forget(WHO)
    engine.score(WHO, None, changes[-1])
    assert len(asked) == 6


def test_kept_scores_cannot_be_written_to(engine: Engine, own: list[Own]) -> None:
    with pytest.raises(ValueError, match="read-only"):
        engine.score(WHO, None, own)[0][0] = 1


def test_one_listeners_scores_are_never_anothers(engine: Engine, own: list[Own]) -> None:
    mine, _, _ = engine.score(WHO, None, own[:6])
    theirs, _, _ = engine.score("b" * 16, None, own[6:])
    assert not np.array_equal(mine, theirs)
    assert np.array_equal(engine.score(WHO, None, own[:6])[0], mine)
