"""What takes the place of a network's layers, so that a forward pass can end or begin at the first adapted one."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Inject(nn.Module):
    """Stands in for a layer below the adapted ones: returns cached activations, or passes on what it is given."""

    def __init__(self, in_tuple: bool) -> None:
        super().__init__()
        self.hidden: Tensor | None = None
        self.in_tuple = in_tuple

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """The cached activations (B, T, H), as this kind of layer gives them."""
        result = self.hidden if self.hidden is not None else hidden_states
        return (result,) if self.in_tuple else result


class Reached(Exception):
    """Ends a forward pass at the first adapted layer, carrying what that layer would have read."""

    def __init__(self, hidden: Tensor) -> None:
        self.hidden = hidden


class Stop(nn.Module):
    """Stands where the first adapted layer was and ends the forward pass there."""

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Raises Reached."""
        raise Reached(hidden_states)


def like(stand_in: nn.Module, layer: nn.Module) -> nn.Module:
    """Give a stand-in what some decoders (Qwen) look up on each layer before they call it."""
    if hasattr(layer, "attention_type"):
        stand_in.attention_type = layer.attention_type
    return stand_in
