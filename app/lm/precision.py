"""Reading many texts in bfloat16 where the processor multiplies that faster: measured, not read off a flag."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

Precision = Literal["float32", "bfloat16"]

_WORTH = 1.3  # times faster, or the difference is not worth three digits


def packs() -> bool:
    """Whether oneDNN multiplies in bfloat16 on this processor at all: else laying out weights for it raises."""
    able: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return able and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def measured(rows: int = 512, inputs: int = 384, outputs: int = 1536) -> Precision:
    """Which of the two multiplies a layer of that shape faster, by their best of five in turn (some 30 ms)."""
    if not packs():
        return "float32"
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
    """A linear layer that multiplies in bfloat16 and gives float32, its weights laid out once as oneDNN wants them."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.bias = None if linear.bias is None else linear.bias.detach().bfloat16()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().bfloat16(), 1024)

    def forward(self, rows: Tensor) -> Tensor:
        """(…, in) to (…, out)."""
        return self._product(rows.bfloat16(), "none", "").float()

    def _product(self, rows: Tensor, after: str, algorithm: str) -> Tensor:
        result: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self.packed, self.bias, after, [], algorithm)
        return result


class _PackedGelu(_Packed):
    """The same with GELU in one go; what comes out is bfloat16, because the next thing is another product."""

    def forward(self, rows: Tensor) -> Tensor:
        """(…, in) to (…, out)."""
        return self._product(rows.bfloat16(), "gelu", "none")


class _PackedHalf(_Packed):
    """The same, and what comes out stays bfloat16: the next thing widens it on the way, as a sum with float32 does."""

    def forward(self, rows: Tensor) -> Tensor:
        """(…, in) to (…, out)."""
        return self._product(rows.bfloat16(), "none", "")


class _PackedAttention(nn.Module):
    """BERT's attention with query, key and value from one product, and one copy to float32 that also sorts by head."""

    def __init__(self, attention: Any) -> None:
        parts = (attention.query, attention.key, attention.value)
        joined = nn.Linear(parts[0].in_features, 3 * attention.all_head_size)
        joined.weight.data = torch.cat([part.weight.detach() for part in parts])
        joined.bias.data = torch.cat([part.bias.detach() for part in parts])
        super().__init__()
        self.joined = _PackedHalf(joined)
        self.heads, self.width, self.scaling = (
            attention.num_attention_heads, attention.attention_head_size, attention.scaling
        )  # fmt: skip

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, **_: object) -> tuple[Tensor, None]:
        """(B, T, H) and a mask to be added, (B, 1, 1 or T, T), to (B, T, H) in bfloat16, for the next product."""
        batch, length, _hidden = hidden_states.shape
        joined = self.joined(hidden_states).view(batch, length, 3, self.heads, self.width)
        by_head = joined.permute(2, 0, 3, 1, 4).to(torch.float32, memory_format=torch.contiguous_format)
        query, key, value = by_head.view(3, batch * self.heads, length, self.width).unbind(0)
        weights = torch.baddbmm(query.new_empty(()), query, key.transpose(1, 2), beta=0, alpha=self.scaling)
        if attention_mask is not None:
            weights = (weights.view(batch, self.heads, length, length) + attention_mask).view_as(weights)
        mixed = torch.bmm(weights.softmax(dim=-1), value).view(batch, self.heads, length, self.width)
        rows = mixed.transpose(1, 2).to(torch.bfloat16, memory_format=torch.contiguous_format)
        return rows.view(batch, length, self.heads * self.width), None


def _is_gelu(activation: object) -> bool:
    """Whether it is GELU as it is defined (Hendrycks & Gimpel, 2016), not one of its approximations."""
    from transformers.activations import GELUActivation

    if isinstance(activation, nn.GELU):
        return activation.approximate == "none"
    return isinstance(activation, GELUActivation) and activation.act is nn.functional.gelu


def in_bfloat16(network: nn.Module) -> nn.Module:
    """Have a network, a copy that is the caller's to alter, multiply in bfloat16; all between products stays float32.

    Rounding between layers as well would change twice as many of the nearest songs (docs/decisions.md).
    """
    from transformers import PreTrainedModel
    from transformers.models.bert import modeling_bert as bert

    for parent in list(network.modules()):
        widens = getattr(parent, "dense", None)
        if isinstance(widens, nn.Linear) and _is_gelu(getattr(parent, "intermediate_act_fn", None)):  # BERT's names
            parent.dense, parent.intermediate_act_fn = _PackedGelu(widens), nn.Identity()
        elif isinstance(widens, nn.Linear) and type(parent) in (bert.BertSelfOutput, bert.BertOutput):
            parent.dense = _PackedHalf(widens)
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, _Packed(child))
            elif type(child) is bert.BertSelfAttention and not child.is_decoder and not child.is_causal:
                setattr(parent, name, _PackedAttention(child))
    if isinstance(network, PreTrainedModel):
        network.set_attn_implementation("eager")  # over texts this short a twentieth faster than the fused one
    return network
