"""What is frozen in a network that is trained: its products in bfloat16, where the processor does those faster.

Only adapters learn, so a frozen layer needs no gradient of its weights: one product forwards and one backwards, both by
weights that are laid out once. Sums, norms, attention and everything that learns stay float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class _Product(torch.autograd.Function):
    """rows · weightsᵀ + bias and its gradient by the rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, forwards: Tensor, backwards: Tensor, bias: Tensor | None) -> Tensor:
        ctx.backwards = backwards
        return _multiplied(rows, forwards, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return _multiplied(gradient, ctx.backwards, None), None, None, None


def _multiplied(rows: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(rows.bfloat16().contiguous(), packed, bias, "none", [], "")
    return result.float()


def _packed(weights: Tensor) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weights.detach().bfloat16().contiguous(), 1024)
    return packed


class _Frozen(nn.Module):
    """Stands in for a linear layer that does not learn. (…, in) to (…, out), float32 both."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.forwards, self.backwards = _packed(linear.weight), _packed(linear.weight.T)
        self.bias = None if linear.bias is None else linear.bias.detach().bfloat16()

    def forward(self, rows: Tensor) -> Tensor:
        result: Tensor = _Product.apply(rows, self.forwards, self.backwards, self.bias)  # type: ignore[no-untyped-call]
        return result


@contextmanager
def in_bfloat16(network: nn.Module) -> Iterator[None]:
    """Until the block ends, linear layers that do not learn multiply in bfloat16."""
    there = [
        (parent, name, child)
        for parent in network.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear and not child.weight.requires_grad
    ]
    for parent, name, child in there:
        setattr(parent, name, _Frozen(child))
    try:
        yield
    finally:
        for parent, name, child in there:
            setattr(parent, name, child)
