"""A listener's songs through their tower: kept, left on disk by a retrain, and the same in any company."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.errors import AdapterAltered, AdapterMissing, AdapterUnfit
from app.lm.asking import Own
from app.lm.base import Base
from app.lm.slots import SlotBank
from app.lm.store import AdapterStore
from app.lm.towers import Towers

from .making import TEXTS, flip_byte, merged, peft_tensors, random_lora, write_adapter

LISTENER, VERSION = "a" * 16, "1" * 16
SONGS = [Own(number, text, 1.0) for number, text in enumerate(TEXTS, 1)]


def towers_of(base: Base, root: Path) -> Towers:
    return Towers(base, SlotBank(base, rank=8, slots=4), AdapterStore(root), 1 << 24)


@pytest.fixture
def towers(base: Base, tmp_path: Path) -> Towers:
    """Towers of the real base, with nothing kept, and one adapter on disk."""
    made = towers_of(base, tmp_path)
    small = {name: 0.05 * tensor for name, tensor in peft_tensors(made.bank.shapes, 8, seed=1).items()}
    write_adapter(made.store, LISTENER, VERSION, small, fingerprint=base.fingerprint, rank=8)
    return made


def count(towers: Towers, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Hears how many texts each forward pass reads from now on."""
    seen: list[int] = []
    encode = towers.bank.encode
    monkeypatch.setattr(towers.bank, "encode", lambda low, who: (seen.append(len(who)), encode(low, who))[1])
    return seen


def test_many_listeners_at_once_get_what_each_gets_alone(base: Base, tmp_path: Path) -> None:
    """Real base, texts of all lengths: neither padding nor the number of rows in a pass may show. On most processors it
    is the same to the bit; on some a product of other rows may differ in its last one."""
    draw = np.random.default_rng(1)
    texts = [" ".join(draw.choice(["rock", "jazz", "Nina", "Sinnerman", "by"], n)) for n in draw.integers(1, 40, 60)]
    adapters = [(f"u{n}", random_lora(SlotBank(base, 8, 1).shapes, 8, seed=n)) for n in range(6)]
    asked: list[Sequence[str]] = [texts[n::6][: n + 3] for n in range(6)]
    alone = [towers_of(base, tmp_path).texts(who, what) for who, what in zip(adapters, asked, strict=True)]
    towers, together = towers_of(base, tmp_path), threading.Barrier(6)

    def ask(number: int) -> list[np.ndarray]:
        together.wait(60)
        return [towers.texts(adapters[number], asked[number]) for _ in range(3)]

    with ThreadPoolExecutor(6) as pool:
        for number, answers in enumerate(pool.map(ask, range(6))):
            assert all(np.allclose(answer, alone[number], rtol=0, atol=1e-6) for answer in answers)


def test_one_batch_of_many_is_each_ones_own_adapter(base: Base, tmp_path: Path) -> None:
    towers = towers_of(base, tmp_path)
    lora = random_lora(towers.bank.shapes, 8, seed=3)
    vectors = towers.texts(("u", lora), TEXTS)
    np.testing.assert_allclose(vectors, merged(base, lora).encode(TEXTS).numpy(), atol=1e-5)


def test_what_was_encoded_is_not_encoded_again_until_its_text_changes(
    towers: Towers, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = towers.adapter(LISTENER, VERSION)
    first = towers.own(adapter, SONGS)
    passes = count(towers, monkeypatch)
    assert np.array_equal(towers.own(adapter, SONGS[::-1]), first[::-1])
    assert passes == []
    changed = [replace(SONGS[0], text="another text"), *SONGS[1:]]
    assert not np.array_equal(towers.own(adapter, changed)[0], first[0])
    assert passes == [1]


def test_what_a_retrain_leaves_answers_without_a_forward_pass(
    towers: Towers, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = towers.adapter(LISTENER, VERSION)
    vectors = towers.own(adapter, SONGS)
    towers.leave(LISTENER, VERSION, SONGS, vectors)
    assert (vectors == vectors.astype(np.float16)).all()  # so that an answer is the same before and after it is kept
    fresh = towers_of(base, towers.store.root)
    passes = count(fresh, monkeypatch)
    assert np.array_equal(fresh.own(fresh.adapter(LISTENER, VERSION), SONGS), vectors)
    assert passes == []


@pytest.mark.parametrize("at", [-1, 300])
def test_altered_vectors_beside_a_version_are_made_again(towers: Towers, base: Base, at: int) -> None:
    adapter = towers.adapter(LISTENER, VERSION)
    vectors = towers.own(adapter, SONGS)
    towers.leave(LISTENER, VERSION, SONGS, vectors)
    flip_byte(towers.store.root / LISTENER / ".own" / f"{VERSION}.safetensors", at)
    with pytest.raises(AdapterAltered, match="beside it"):
        towers.store.own_vectors(LISTENER, VERSION, base.dimension)
    fresh = towers_of(base, towers.store.root)
    assert np.array_equal(fresh.own(fresh.adapter(LISTENER, VERSION), SONGS), vectors)


def test_deleting_a_version_deletes_the_vectors_beside_it(towers: Towers, base: Base) -> None:
    towers.leave(LISTENER, VERSION, SONGS, np.zeros((len(SONGS), base.dimension), np.float32))
    assert towers.store.versions(LISTENER) == [VERSION]
    towers.store.remove(LISTENER, VERSION)
    with pytest.raises(AdapterMissing):
        towers.store.own_vectors(LISTENER, VERSION, base.dimension)


def test_a_forgotten_listener_leaves_neither_adapter_nor_vectors_in_ram(towers: Towers) -> None:
    towers.own(towers.adapter(LISTENER, VERSION), SONGS)
    towers.forget(LISTENER)
    assert (towers._adapters.bytes, towers._encoded.bytes) == (0, 0)
    assert not towers.bank.resident(f"{LISTENER}/{VERSION}")


def test_an_adapter_of_a_higher_rank_than_the_slots_is_refused_before_any_pass(towers: Towers, base: Base) -> None:
    lowered = Towers(base, SlotBank(base, rank=4, slots=4), towers.store, 1 << 24)
    with pytest.raises(AdapterUnfit, match="rank 8, above 4"):
        lowered.adapter(LISTENER, VERSION)
