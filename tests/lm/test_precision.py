"""bfloat16 reads a catalogue as float32 does, to a stated tolerance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from app.lm import base as base_module
from app.lm import frozen, precision
from app.lm.activations import lower_all
from app.lm.base import Base
from app.lm.precision import in_bfloat16, measured
from app.lm.song_text import song_text
from app.lm.trainer import TrainingSettings, new_network
from app.lm.vectors import unit
from app.starter.reading import read

from .making import needs_bfloat16


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Real songs of many artists."""
    return [song_text(a.name, s.title, s.genres, s.moods, s.year) for a in read()[::40] for s in a.songs[:2]][:200]


def test_the_choice_follows_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "packs", lambda: True)
    clock = iter([0.0, 2.0, 0.0, 1.0] * 5)
    monkeypatch.setattr("app.lm.precision.time.perf_counter", lambda: next(clock))
    assert measured(2, 2, 2) == "bfloat16"
    clock = iter([0.0, 1.2, 0.0, 1.0] * 5)
    assert measured(2, 2, 2) == "float32"
    monkeypatch.setattr(precision, "packs", lambda: False)
    clock = iter([0.0, 2.0, 0.0, 1.0] * 5)
    assert measured(2, 2, 2) == "float32", "what cannot be laid out is not chosen, however fast it looks"


@needs_bfloat16
@pytest.mark.slow
def test_bfloat16_vectors_are_the_float32_ones_to_a_hundredth_and_rank_the_same(
    base: Base, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_module, "measured", lambda: "bfloat16")
    monkeypatch.setattr(base, "_precision", None)
    exact, fast = base.encode(texts).numpy(), base.encode_many(texts).numpy()
    assert not np.array_equal(exact, fast)
    assert (exact * fast).sum(axis=1).min() > 0.99
    lists = []
    for vectors in (exact, fast):
        units = unit(vectors - vectors.mean(axis=0))
        lists.append(np.argsort(-(units @ units.T), axis=1)[:, 1:21])
    same = np.mean([len(set(a) & set(b)) / 20 for a, b in zip(*lists, strict=True)])
    assert same >= 0.97  # of 200 songs every one is near the twentieth; among thousands it is 0.99


@needs_bfloat16
@pytest.mark.slow
def test_a_text_has_one_vector_whatever_is_read_beside_it(
    base: Base, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches are read side by side, and which comes first is chance."""
    monkeypatch.setattr(base_module, "measured", lambda: "bfloat16")
    monkeypatch.setattr(base, "_precision", None)
    first = base.encode_many(texts)
    assert torch.equal(base.encode_many(texts), first)
    assert torch.allclose(base.encode_many(texts[::-1]).flip(0), first, atol=1e-5)
    # Fewer rows at a time may be other kernels of the processor's (with AMX they are), and then a digit of bfloat16's.
    fewer = base.encode_many(texts[:80])
    assert torch.allclose(fewer, first[:80], atol=2e-3) and (fewer * first[:80]).sum(dim=1).min() > 0.9999


def test_tokens_of_many_texts_are_those_of_each(tiny: Base) -> None:
    """They are made in parts side by side, and every row is as long as its text."""
    texts = [f"{'na ' * (number % 7)}take {number}" for number in range(700)]
    seen = []
    for rows, input_ids, mask in tiny.groups(texts, 50, padded=False):
        assert len(rows) <= 50 and mask.all()
        seen += rows
        assert [ids.tolist() for ids in input_ids] == [tiny._ids([texts[at]])[0] for at in rows]
    assert sorted(seen) == list(range(700))


@needs_bfloat16
def test_attention_in_one_product_leaves_out_padding_as_the_network_does(base: Base, texts: list[str]) -> None:
    fast = in_bfloat16(base._copy())
    assert sum(type(module).__name__ == "_PackedAttention" for module in fast.modules()) == 6
    ids, mask = base.tokenize(texts[:20])
    assert 0 < mask.sum() < mask.numel()
    with torch.inference_mode():
        exact = base.pool(base.network(input_ids=ids, attention_mask=mask).last_hidden_state, mask)
        masked = base.pool(fast(input_ids=ids, attention_mask=mask).last_hidden_state, mask)
        blind = base.pool(fast(input_ids=ids).last_hidden_state, mask)
    assert (exact * masked).sum(dim=1).min() > 0.9998
    assert (exact * blind).sum(dim=1).min() < 0.999


def test_few_texts_and_processors_without_it_are_read_in_float32(
    base: Base, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_module, "measured", lambda: "float32")
    monkeypatch.setattr(base, "_precision", None)
    assert torch.equal(base.encode_many(texts[:70]), base.encode(texts[:70]))
    monkeypatch.setattr(base_module, "measured", lambda: "bfloat16")
    monkeypatch.setattr(base, "_precision", None)
    assert torch.equal(base.encode_many(texts[:5]), base.encode(texts[:5]))


@needs_bfloat16
def test_frozen_products_give_float32s_vectors_and_gradients_nearly_and_are_taken_back(
    base: Base, texts: list[str]
) -> None:
    network = new_network(base, TrainingSettings(), seed=1)
    before = {name: type(module) for name, module in network.named_modules()}
    lower = lower_all(base, texts[:20])
    there = torch.randn(20, base.dimension, generator=torch.Generator().manual_seed(2))

    def learnt() -> tuple[torch.Tensor, torch.Tensor]:
        network.zero_grad()
        vectors = base.upper(network, lower)
        (vectors * there).sum().backward()
        moved = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
        return vectors.detach(), torch.cat(moved)

    exact, gradient = learnt()
    with frozen.in_bfloat16(network):
        fast, nearly = learnt()
        assert {name: type(module) for name, module in network.named_modules()} != before
    assert {name: type(module) for name, module in network.named_modules()} == before
    assert not torch.equal(exact, fast) and len(gradient) == len(nearly) > 10_000
    assert (exact * fast).sum(dim=1).min() > 0.9999
    assert torch.cosine_similarity(gradient, nearly, dim=0) > 0.999
    again = learnt()
    assert torch.equal(again[0], exact) and torch.equal(again[1], gradient)
