"""Many adapters over one base: every listener gets exactly what they get alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from app.errors import AdapterUnfit
from app.lm.base import Base
from app.lm.slots import SlotBank
from app.lm.store import LoraTensors

from .making import TEXTS, merged, random_lora, shapes_of

CLOSE = {"atol": 1e-5, "rtol": 0.0}


def many(base: Base, count: int, rank: int = 4) -> dict[str, LoraTensors]:
    """Adapters u1, u2, … of one base."""
    return {f"u{n}": random_lora(shapes_of(base), rank, seed=n) for n in range(1, count + 1)}


def ask(bank: SlotBank, key: str, lora: LoraTensors) -> Tensor:
    return bank.encode(bank.base.lower(TEXTS), [(key, lora)] * len(TEXTS))


def test_a_fresh_adapter_answers_bit_for_bit_as_the_base_does(base: Base) -> None:
    bank = SlotBank(base, rank=8, slots=2)
    random = random_lora(bank.shapes, rank=8, seed=1)
    fresh = LoraTensors(random.a, {name: torch.zeros_like(b) for name, b in random.b.items()}, 8)
    lower = base.lower(TEXTS)
    alone = bank.encode(lower, [None] * len(TEXTS))
    assert torch.equal(bank.encode(lower, [("fresh", fresh)] * len(TEXTS)), alone)


def test_base_rows_of_a_mixed_batch_are_bit_for_bit_the_base(tiny: Base) -> None:
    bank = SlotBank(tiny, rank=4, slots=2)
    lora = random_lora(bank.shapes, 4, seed=1)
    lower = tiny.lower(TEXTS)
    mixed = bank.encode(lower, [None, ("a", lora)] * 3)
    assert torch.equal(mixed[::2], bank.encode(lower, [None] * 6)[::2])


def test_an_adapter_in_a_slot_of_the_real_base_is_that_adapter_in_its_weights(base: Base) -> None:
    bank = SlotBank(base, rank=8, slots=2)
    lora = random_lora(bank.shapes, rank=8, seed=3)
    through = ask(bank, "a", lora)
    torch.testing.assert_close(through, merged(base, lora).encode(TEXTS), **CLOSE)
    assert (through - base.encode(TEXTS)).abs().max() > 1e-2


def test_a_mixed_batch_is_what_each_listener_gets_one_by_one(tiny: Base) -> None:
    adapters = many(tiny, 3)
    bank = SlotBank(tiny, rank=4, slots=3)
    rows = [("u1", adapters["u1"]), None, ("u2", adapters["u2"]), ("u3", adapters["u3"]), None, ("u1", adapters["u1"])]
    mixed = bank.encode(tiny.lower(TEXTS), rows)
    for text, entry, vector in zip(TEXTS, rows, mixed, strict=True):
        reference = tiny if entry is None else merged(tiny, entry[1])
        torch.testing.assert_close(vector, reference.encode([text])[0], **CLOSE)
        assert torch.equal(bank.encode(tiny.lower(TEXTS), [entry] * len(TEXTS))[TEXTS.index(text)], vector)


def test_the_adapter_asked_for_longest_ago_gives_up_its_slot(tiny: Base) -> None:
    adapters = many(tiny, 4)
    bank = SlotBank(tiny, rank=4, slots=3)
    for key in ("u1", "u2", "u3"):
        bank.put(key, adapters[key])
    ask(bank, "u1", adapters["u1"])
    bank.put("u4", adapters["u4"])
    assert [bank.resident(key) for key in adapters] == [True, False, True, True]


def test_a_newcomer_of_a_batch_never_takes_the_slot_of_another_of_that_batch(tiny: Base) -> None:
    adapters = many(tiny, 3)
    bank = SlotBank(tiny, rank=4, slots=2)
    bank.put("u1", adapters["u1"])
    bank.put("u2", adapters["u2"])
    both = bank.encode(tiny.lower(TEXTS[:2]), [("u3", adapters["u3"]), ("u1", adapters["u1"])])
    torch.testing.assert_close(both[0], merged(tiny, adapters["u3"]).encode(TEXTS[:1])[0], **CLOSE)
    torch.testing.assert_close(both[1], merged(tiny, adapters["u1"]).encode(TEXTS[1:2])[0], **CLOSE)


def test_more_adapters_than_slots_still_answer_exactly(tiny: Base) -> None:
    adapters = many(tiny, 9)
    alone = {key: ask(SlotBank(tiny, rank=4, slots=1), key, lora) for key, lora in adapters.items()}
    bank = SlotBank(tiny, rank=4, slots=2)
    for key in [*adapters, *reversed(adapters), "u1", "u9", "u1", "u5"]:
        assert torch.equal(ask(bank, key, adapters[key]), alone[key])


@pytest.mark.parametrize("slots", [3, 64])
def test_many_threads_at_once_get_exactly_what_each_gets_alone(tiny: Base, slots: int) -> None:
    adapters = many(tiny, 8)
    alone = {key: ask(SlotBank(tiny, rank=4, slots=1), key, lora) for key, lora in adapters.items()}
    assert len({tuple(vectors.flatten().tolist()) for vectors in alone.values()}) == len(adapters)
    plain = tiny.encode(TEXTS)
    bank = SlotBank(tiny, rank=4, slots=slots)
    together = threading.Barrier(len(adapters) + 1)

    def listener(key: str) -> int:
        together.wait()
        return sum(not torch.equal(ask(bank, key, adapters[key]), alone[key]) for _ in range(30))

    def nobody() -> int:
        together.wait()
        wrong = 0
        for _ in range(30):
            off = bank.encode(tiny.lower(TEXTS), [None] * len(TEXTS))
            wrong += not torch.allclose(off, plain, atol=1e-5)
            wrong += not torch.equal(tiny.encode(TEXTS), plain)
        return wrong

    with ThreadPoolExecutor(len(adapters) + 1) as pool:
        runs = [pool.submit(listener, key) for key in adapters]
        runs.append(pool.submit(nobody))
        assert [run.result() for run in runs] == [0] * len(runs)


def test_threads_on_the_real_base_get_exactly_what_each_gets_alone(base: Base) -> None:
    adapters = many(base, 4, rank=8)
    bank = SlotBank(base, rank=8, slots=3)
    alone = {key: ask(bank, key, lora) for key, lora in adapters.items()}
    with ThreadPoolExecutor(4) as pool:
        turns = [key for _ in range(5) for key in adapters]
        answers = list(pool.map(lambda key: ask(bank, key, adapters[key]), turns))
    assert all(torch.equal(answer, alone[key]) for key, answer in zip(turns, answers, strict=True))


def test_a_smaller_rank_leaves_nothing_of_the_larger_one_that_had_its_slot(tiny: Base) -> None:
    bank = SlotBank(tiny, rank=6, slots=1)
    large, small = random_lora(bank.shapes, 6, seed=1), random_lora(bank.shapes, 2, seed=2)
    ask(bank, "large", large)
    torch.testing.assert_close(ask(bank, "small", small), merged(tiny, small).encode(TEXTS), **CLOSE)
    torch.testing.assert_close(ask(bank, "large", large), merged(tiny, large).encode(TEXTS), **CLOSE)


def test_a_rank_larger_than_the_slots_is_refused_and_costs_no_slot(tiny: Base) -> None:
    bank = SlotBank(tiny, rank=2, slots=1)
    good = random_lora(bank.shapes, 2, seed=1)
    bank.put("good", good)
    with pytest.raises(AdapterUnfit, match="rank 3 in slots of rank 2"):
        bank.put("wide", random_lora(bank.shapes, 3, seed=2))
    assert bank.resident("good")
    assert not bank.resident("wide")


def test_more_adapters_in_one_batch_than_slots_is_an_error_and_no_answer(tiny: Base) -> None:
    adapters = many(tiny, 3)
    bank = SlotBank(tiny, rank=4, slots=2)
    with pytest.raises(ValueError, match="3 adapters in one batch, but only 2 slots"):
        bank.encode(tiny.lower(TEXTS[:3]), list(adapters.items()))


def test_dropping_u1_leaves_u10_alone(tiny: Base) -> None:
    adapters = many(tiny, 10)
    bank = SlotBank(tiny, rank=4, slots=10)
    before = {key: ask(bank, key, lora) for key, lora in adapters.items()}
    bank.drop("u1")
    bank.drop("never-there")
    assert not bank.resident("u1")
    assert bank.resident("u10")
    for key in ("u10", "u2", "u1"):
        assert torch.equal(ask(bank, key, adapters[key]), before[key])
