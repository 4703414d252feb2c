"""The circle's adapter: one for several listeners, in a listener's own format."""

from __future__ import annotations

import json

import pytest
import torch
from sqlalchemy import select

from app.db import Database
from app.errors import BadInput, Cancelled
from app.lm.activations import lower_all
from app.lm.asking import CIRCLE, Own
from app.lm.circle import CircleSettings, CircleTrainer, train_circle
from app.lm.engine import Engine
from app.lm.song_text import song_text
from app.lm.trainer import Progress, TrainingSongs, begin_with, new_network
from app.services import catalogue
from app.tables import Song

VERSION, OTHER = "1" * 16, "2" * 16
QUICK = CircleSettings(steps=6, members=2, songs=4)


@pytest.fixture
def members(db: Database) -> dict[str, list[Own]]:
    """Three listeners with ten songs each, neighbours in the catalogue."""
    with db.read() as session:
        ids = list(session.scalars(select(Song.id).order_by(Song.id).limit(30)))
        texts = dict(catalogue.texts(session, song_text, ids))
    return {f"{at:016x}": [Own(song, texts[song], 1.0) for song in ids[at : at + 10]] for at in (0, 10, 20)}


@pytest.mark.training
def test_it_lies_in_the_store_like_a_listener_s_and_encodes_like_one(
    engine: Engine, members: dict[str, list[Own]]
) -> None:
    before = engine.base.weights_digest()
    seen: list[Progress] = []
    made = train_circle(engine, VERSION, members, seed=3, settings=QUICK, report=seen.append)
    assert engine.base.weights_digest() == before
    assert {p.phase for p in seen} == {"reading", "learning", "evaluating", "saving"} and len(made.losses) == 6
    assert len(made.after.ranks) == 6 and made.learnt_from == 24  # a fifth of each one's ten songs is hidden
    own = members["0" * 16]
    values, _, answered = engine.score(CIRCLE, VERSION, own)
    assert answered == VERSION and not (values == engine.score("", None, own)[0]).all()
    card = json.loads(engine.store.folder(CIRCLE, VERSION).card.read_text(encoding="utf-8"))
    assert card["members"] == 3 and not any(name in json.dumps(card) for name in members)
    again = train_circle(engine, OTHER, members, seed=3, settings=QUICK)
    assert again.losses == made.losses
    first, second = (engine.adapter(CIRCLE, v)[1] for v in (VERSION, OTHER))
    assert all(torch.equal(first.b[name], second.b[name]) for name in first.b)


@pytest.mark.training
def test_members_are_drawn_to_their_own_targets_on_the_whole(engine: Engine, members: dict[str, list[Own]]) -> None:
    snapshot, training = engine.vectors.snapshot(), engine.training_settings()
    run = CircleTrainer(
        engine.base, snapshot, training, CircleSettings(steps=15, members=3, songs=10, learning_rate=1e-2), 0
    )
    songs = [TrainingSongs.of(own) for own in members.values()]
    fresh = new_network(engine.base, training, 0)
    read = [run._read(fresh, one) for one in songs]
    network, _ = run.run(songs)

    def distance(of: object) -> float:
        with torch.no_grad():
            return sum(float((run._units(of, m.liked) - m.target).square().sum(dim=1).mean()) for m in read)

    assert distance(network) < 0.9 * distance(fresh)


def test_one_member_is_no_circle(engine: Engine, members: dict[str, list[Own]]) -> None:
    alone = {"0" * 16: members["0" * 16], "1" * 16: members[f"{10:016x}"][:2]}
    with pytest.raises(BadInput, match="needs 2 members with songs, and 1 have"):
        train_circle(engine, VERSION, alone, seed=0, settings=QUICK)


def test_a_cancelled_training_writes_nothing(engine: Engine, members: dict[str, list[Own]]) -> None:
    with pytest.raises(Cancelled):
        train_circle(engine, VERSION, members, seed=0, settings=QUICK, cancelled=lambda: True)
    assert engine.store.versions(CIRCLE) == []


@pytest.mark.training
def test_a_warm_start_begins_where_the_adapter_ended(engine: Engine, members: dict[str, list[Own]]) -> None:
    train_circle(engine, VERSION, members, seed=0, settings=QUICK)
    start = engine.adapter(CIRCLE, VERSION)
    texts = [song.text for song in members["0" * 16]]
    network = new_network(engine.base, engine.training_settings(), 1)
    begin_with(network, start[1])
    lower = lower_all(engine.base, texts)
    with torch.no_grad():
        theirs = engine.base.upper(network, lower)
    ours = engine.bank.encode(engine.base.lower(texts), [start] * len(texts))
    assert torch.allclose(theirs, ours, atol=1e-5)
