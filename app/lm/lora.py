"""What a low-rank adapter is, counted: d×d frozen numbers against 2·d·r trained ones (Hu et al., 2021)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


def matrix_parameters(inputs: int, outputs: int) -> int:
    """Numbers in a dense matrix with no bias."""
    return inputs * outputs


def lora_parameters(inputs: int, outputs: int, rank: int) -> int:
    """Numbers in A (rank × inputs) and B (outputs × rank)."""
    return rank * (inputs + outputs)


@dataclass(frozen=True, slots=True)
class LoraFacts:
    """How small an adapter is beside what it adapts; inputs × outputs is its first matrix."""

    base_parameters: int
    frozen_in_matrices: int
    trainable_parameters: int
    matrices: int
    rank: int
    inputs: int
    outputs: int

    @property
    def full(self) -> int:
        """Numbers of the first matrix, which a free change would take."""
        return matrix_parameters(self.inputs, self.outputs)

    @property
    def low(self) -> int:
        """Numbers that the adapter takes for it."""
        return lora_parameters(self.inputs, self.outputs, self.rank)

    @property
    def share(self) -> float:
        """Trained numbers as a share of the base's."""
        return self.trainable_parameters / self.base_parameters

    def as_dict(self) -> dict[str, Any]:
        """All facts with plain keys, for cards and JSON."""
        return asdict(self) | {"share": self.share}


def lora_facts(shapes: Iterable[tuple[int, int]], rank: int, base_parameters: int = 0) -> LoraFacts:
    """Count for adapted matrices given as (inputs, outputs).

    Without ``base_parameters`` the base is the matrices themselves.

    >>> facts = lora_facts([(784, 784)], rank=4)
    >>> facts.base_parameters, facts.trainable_parameters
    (614656, 6272)
    """
    pairs = list(shapes)
    frozen = sum(matrix_parameters(i, o) for i, o in pairs)
    return LoraFacts(
        base_parameters=base_parameters or frozen,
        frozen_in_matrices=frozen,
        trainable_parameters=sum(lora_parameters(i, o, rank) for i, o in pairs),
        matrices=len(pairs),
        rank=rank,
        inputs=pairs[0][0],
        outputs=pairs[0][1],
    )
