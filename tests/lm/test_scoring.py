"""Scores are kept while nothing changes, and never longer."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select

from app.db import Database
from app.lm import ranking
from app.lm.asking import Ask, Own
from app.lm.compacting import keep_only
from app.lm.engine import Engine
from app.lm.ranking import Taste
from app.tables import Song
from tests.conftest import own_of

from .making import peft_tensors, random_units, write_adapter

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


def alone(ids: Sequence[int]) -> Mapping[int, str]:
    """Every song by an artist of its own."""
    return {i: str(i) for i in ids}


def meanwhile(engine: Engine, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen once, as another process might do it, while the next question is being answered."""
    taste, left = engine.taste, [happens]

    def then(*asked: object, **named: object) -> tuple[Taste, str | None]:
        found = taste(*asked, **named)  # type: ignore[arg-type]
        if left:
            left.pop()()
        return found

    monkeypatch.setattr(engine, "taste", then)


def questions(engine: Engine, own: list[Own]) -> dict[str, Callable[[], object]]:
    """What looks up rows of scores."""
    voices = [(WHO, None, own[:6], 1.0), ("b" * 16, None, own[6:], 1.0)]
    ask = Ask(count=10, lift=[(array("q", [own[0].id]), 1.0)], lift_share=0.5, adventure=0.5)
    return {
        "recommend": lambda: engine.recommend(WHO, None, own, ask, alone),
        "blend": lambda: engine.blend(voices, ask, alone),
        "likeness": lambda: engine.likeness(voices[0], voices[1]),
        "moved": lambda: engine.lay_out() and engine.moved(WHO, None, own),
    }


@pytest.mark.parametrize("what", ["recommend", "blend", "likeness", "moved"])
@pytest.mark.parametrize("change", ["grows", "shrinks"])
def test_an_answer_is_of_one_catalogue_whatever_happens_to_it_meanwhile(
    engine: Engine, own: list[Own], monkeypatch: pytest.MonkeyPatch, what: str, change: str
) -> None:
    ask = questions(engine, own)[what]
    expected = ask()
    for listener in (WHO, "b" * 16):
        engine.forget(listener)
    ids = engine.vectors.snapshot().ids.tolist()
    gone = next(i for i in ids if i not in {song.id for song in own})

    def grow() -> None:
        engine.vectors.append([10**9], ["new"], random_units(1, engine.base.dimension, seed=1))

    def shrink() -> None:
        keep_only(engine.settings.vectors, lambda: [i for i in ids if i != gone])

    meanwhile(engine, monkeypatch, grow if change == "grows" else shrink)
    assert ask() == expected
    assert len(engine.vectors.snapshot().ids) == len(ids) + (1 if change == "grows" else -1)


def test_the_base_answers_for_an_adapter_that_was_trained_with_a_higher_rank(engine: Engine, own: list[Own]) -> None:
    high = peft_tensors(engine.bank.shapes, 16, seed=1)
    write_adapter(engine.store, WHO, "1" * 16, high, fingerprint=engine.fingerprint, rank=16)
    listed, by = engine.recommend(WHO, "1" * 16, own, Ask(count=5), alone)
    assert by is None and listed == engine.recommend(WHO, None, own, Ask(count=5), alone)[0]
