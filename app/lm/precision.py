"""Reading many texts in bfloat16 where the processor multiplies that faster: measured, not read off a flag."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["float32", "bfloat16"]

_WORTH = 1.3  # times faster, or the difference is not worth three digits


def measured(rows: int = 512, inputs: int = 384, outputs: int = 1536) -> Precision:
    """Which of the two multiplies a layer of that shape faster, by their best of five in turn (some 30 ms)."""
    seconds = {"float32": float("inf"), "bfloat16": float("inf")}
    with torch.inference_mode():
        single = _product(torch.randn(rows, inputs), torch.randn(outputs, inputs))
        half = _product(torch.randn(rows, inputs).bfloat16(), torch.randn(outputs, inputs).bfloat16())
        for _ in range(5):
            for name, product in (("float32", single), ("bfloat16", half)):
                started = time.perf_counter()
                product()
                seconds[name] = min(seconds[name], time.perf_counter() - started)
    return "bfloat16" if seconds["float32"] > _WORTH * seconds["bfloat16"] else "float32"


def _product(rows: Tensor, weights: Tensor) -> Callable[[], Tensor]:
    return lambda: nn.functional.linear(rows, weights)


class _Packed(nn.Module):
    """A linear layer whose weights lie as oneDNN wants them: about a tenth faster than laying them out each time."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.bias = linear.bias
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), 1024)

    def forward(self, rows: Tensor) -> Tensor:
        """(…, in) to (…, out)."""
        result: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self.packed, self.bias, "none", [], "")
        return result


def in_bfloat16(network: nn.Module) -> nn.Module:
    """A copy of a network in bfloat16, its linear layers packed."""
    fast = copy.deepcopy(network).to(torch.bfloat16).requires_grad_(False)
    for parent in list(fast.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, _Packed(child))
    return fast
