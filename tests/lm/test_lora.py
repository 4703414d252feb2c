"""How small an adapter is, by the one function that counts."""

from __future__ import annotations

import pytest

from app.lm.base import Base
from app.lm.engine import Engine
from app.lm.lora import lora_facts

from .making import peft_with_random_lora


def test_a_square_of_784_at_rank_4_is_614656_frozen_numbers_against_6272_trained() -> None:
    facts = lora_facts([(784, 784)], rank=4)
    assert (facts.base_parameters, facts.frozen_in_matrices, facts.trainable_parameters) == (614_656, 614_656, 6_272)
    assert facts.share == pytest.approx(0.0102, abs=1e-4)
    assert facts.as_dict()["share"] == facts.share


def test_matrices_that_are_not_square_count_both_sides() -> None:
    facts = lora_facts([(10, 20), (30, 5)], rank=3)
    assert facts.frozen_in_matrices == 10 * 20 + 30 * 5
    assert facts.trainable_parameters == 3 * (10 + 20) + 3 * (30 + 5)
    assert facts.matrices == 2


def test_the_count_for_the_real_base_is_what_peft_trains(engine: Engine, base: Base) -> None:
    network = peft_with_random_lora(base.upper_network(), base.targets, rank=8, seed=0)
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    facts = engine.facts()
    assert facts.trainable_parameters == trained
    assert (facts.matrices, facts.frozen_in_matrices) == (3, 3 * 384 * 384)
    assert facts.trainable_parameters == 18_432
    assert facts.base_parameters == sum(p.numel() for p in base.network.parameters())
    assert facts.share < 0.01
