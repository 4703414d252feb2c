"""The slider from safe to adventurous changes the list in the stated direction."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import select

from app.db import Database
from app.lm import ranking
from app.lm.asking import Ask
from app.lm.engine import Engine
from app.lm.ranking import Taste
from app.lm.vectors import Snapshot, snapshot_of, unit
from app.tables import Song
from tests.conftest import own_of


@pytest.fixture
def catalogue() -> Snapshot:
    """300 songs of 30 artists: each artist's songs lie together."""
    rng = np.random.default_rng(3)
    artists = unit(rng.normal(size=(30, 16)).astype(np.float32))
    near = artists.repeat(10, axis=0) + 0.35 * rng.normal(size=(300, 16)).astype(np.float32)
    return snapshot_of(np.arange(1, 301), unit(near))


@pytest.fixture
def taste(catalogue: Snapshot) -> Taste:
    """A listener who played some songs of three artists."""
    rows = np.array([0, 1, 2, 10, 11, 20])
    return Taste(catalogue.ids[rows], catalogue.units[rows], np.ones(len(rows), np.float32), "interest")


def test_a_song_is_not_near_to_itself(catalogue: Snapshot, taste: Taste) -> None:
    near = ranking.nearness(taste, catalogue)
    likeness = catalogue.units @ taste.units.T
    assert near[5] == pytest.approx(likeness[5].max())
    assert near[0] == pytest.approx(max(0.0, float(np.delete(likeness[0], 0).max())))
    assert near.shape == (300,) and near.max() < 1


def test_nothing_liked_is_near_to_nothing(catalogue: Snapshot, taste: Taste) -> None:
    nobody = Taste(taste.songs, taste.units, -taste.weights, taste.rule)
    assert not ranking.nearness(nobody, catalogue).any()


@pytest.mark.parametrize("familiar", [np.arange(30), np.arange(0)], ids=["known artists", "no artist known"])
def test_from_safe_to_adventurous_lists_leave_what_is_played(
    catalogue: Snapshot, taste: Taste, familiar: NDArray[np.int64]
) -> None:
    values, near = ranking.scores(taste, catalogue.units), ranking.nearness(taste, catalogue)
    known, nearness = [], []
    for adventure in (-1.0, -0.5, 0.0, 0.5, 1.0):
        best = ranking.top(ranking.venture(values, near, familiar, adventure), None, 20)
        known.append(int(np.isin(best, np.arange(30)).sum()))
        nearness.append(round(float(near[best].mean()), 4))
    falling = known if len(familiar) else nearness
    assert falling == sorted(falling, reverse=True) and falling[0] > falling[-1]
    assert nearness[2] > nearness[-1]


def test_in_the_middle_the_order_is_that_of_the_scores(catalogue: Snapshot, taste: Taste) -> None:
    values, near = ranking.scores(taste, catalogue.units), ranking.nearness(taste, catalogue)
    plain = ranking.top(values, None, 50)
    assert list(ranking.top(ranking.venture(values, near, np.arange(30), 0.0), None, 50)) == list(plain)


def test_on_the_real_base_known_artists_come_first_at_one_end_and_last_at_the_other(
    engine: Engine, db: Database
) -> None:
    with db.read() as session:
        songs = session.execute(select(Song.id, Song.artist_key).order_by(Song.artist_key, Song.id)).all()
        artists = list(dict.fromkeys(key for _, key in songs))[:3]
        familiar = [song for song, key in songs if key in artists]
        played = familiar[::2]
        own = own_of(session, played)
    known = []
    for adventure in (-1.0, 0.0, 1.0):
        ask = Ask(count=8, without=played, adventure=adventure, familiar=familiar, per_artist=8)
        ranked, _ = engine.recommend("a" * 16, None, own, ask, lambda ids: dict.fromkeys(ids, ""))
        known.append(sum(entry.song in familiar for entry in ranked))
    safe, middle, adventurous = known
    assert safe >= middle >= adventurous and safe > adventurous == 0
