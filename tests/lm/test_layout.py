"""The map: the same each time, true to the directions that matter, and where an adapter really moves a song."""

from __future__ import annotations

import numpy as np
import pytest

from app.db import Database
from app.lm.engine import Engine
from app.lm.layout import axes_of, points
from app.lm.vectors import unit
from tests.conftest import own_of
from tests.lm.making import peft_tensors, write_adapter

NOBODY, VERSION = "0" * 16, "1" * 16


def test_the_axes_are_the_directions_of_most_difference() -> None:
    random = np.random.default_rng(0)
    cloud = random.normal(size=(2000, 6)).astype(np.float32) * np.array([9, 4, 1, 1, 1, 1], np.float32)
    axes = axes_of(cloud)
    assert abs(unit(axes[:, 0])[0]) > 0.99 and abs(unit(axes[:, 1])[1]) > 0.99
    found = np.array(points(cloud, axes))
    assert np.abs(found).max() <= 1 and 0.98 < (np.abs(found) < 1).mean() < 1
    assert np.array_equal(axes, axes_of(cloud)) and np.allclose(axes, axes_of(cloud[:, ::-1])[::-1], atol=1e-5)


def test_the_map_is_laid_out_once_and_kept(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not engine.laid_out()
    assert engine.lay_out() and engine.laid_out()
    ids = [int(i) for i in engine.vectors.snapshot().ids]
    first = engine.positions(ids[:5])
    monkeypatch.setattr("app.lm.layout.axes_of", None)  # asking again would fail
    assert engine.lay_out() and engine.positions([*ids[:5], 10**9]) == first
    assert len(engine.scattered(50)) == 50 and len(engine.scattered(10**6)) == len(ids)


def test_an_adapter_moves_songs_and_the_base_does_not(engine: Engine, db: Database) -> None:
    engine.lay_out()
    ids = [int(i) for i in engine.vectors.snapshot().ids][:6]
    with db.read() as session:
        own = own_of(session, ids)
    still = engine.moved(NOBODY, None, own)
    assert [m.song for m in still] == [s.id for s in own]
    assert all(m.base == m.now and m.likeness == pytest.approx(1, abs=1e-5) for m in still)
    for song, place in engine.positions(ids).items():
        assert next(m.base for m in still if m.song == song) == pytest.approx(place, abs=1e-5)
    tensors = {name: 0.3 * tensor for name, tensor in peft_tensors(engine.bank.shapes, 8, 0).items()}
    write_adapter(engine.store, NOBODY, VERSION, tensors, fingerprint=engine.fingerprint, rank=8)
    moved = engine.moved(NOBODY, VERSION, own)
    assert [m.base for m in moved] == [m.base for m in still]
    assert all(m.now != m.base and m.likeness < 0.9999 for m in moved)
    assert engine.moved(NOBODY, VERSION, []) == []


def test_axes_of_another_base_are_refused(engine: Engine) -> None:
    engine.lay_out()
    np.save(engine.vectors.folder / "layout.npy", np.zeros((3, 2), np.float32))
    with pytest.raises(ValueError, match=r"shape \(3, 2\)"):
        engine.scattered(3)
