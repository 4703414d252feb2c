"""Many adapters over one base: fixed slots and one batched product.

Each adapted matrix holds A (n, in, r) and B (n, r, out); slot 0 is zero, which is the base. A batch row names its slot,
so that one forward pass may mix listeners. Swapping an adapter in copies small tensors into a free slot and flips one
entry of a dictionary.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from app.errors import AdapterUnfit
from app.lm.base import Base, Lower
from app.lm.store import LoraTensors, layout

BASE_SLOT = 0


class SlotBank:
    """Slots over one base. All methods may be called from any thread."""

    def __init__(self, base: Base, rank: int, slots: int = 64) -> None:
        """``slots`` adapters at once at most (one more for the base); ``rank`` is the largest rank taken."""
        self.base, self.rank, self.slots = base, rank, slots
        self.shapes: dict[str, tuple[int, int]] = {}
        self._a: dict[str, Tensor] = {}
        self._b: dict[str, Tensor] = {}
        self._slot_of: OrderedDict[str, int] = OrderedDict()
        self._free = list(range(slots, BASE_SLOT, -1))
        self._rows: Tensor | None = None
        self._lock = threading.Lock()
        self._network = base.upper_network()
        for name in base.targets:
            module = self._network.get_submodule(name)
            assert isinstance(module, nn.Linear)
            self.shapes[name] = (module.in_features, module.out_features)
            module.register_forward_hook(self._hook(name))
        # One row holds a whole adapter, so that an adapter that is laid out alike goes in by one copy.
        self._all = torch.zeros(slots + 1, sum(rank * (i + o) for i, o in self.shapes.values()))
        for name, part in layout(self.shapes, rank).items():
            (inputs, outputs), (start, middle, end) = self.shapes[name], part
            self._a[name] = self._all[:, start:middle].view(slots + 1, inputs, rank)
            self._b[name] = self._all[:, middle:end].view(slots + 1, rank, outputs)

    def _hook(self, name: str) -> Any:
        def add(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            rows = self._rows
            if rows is None:
                return output
            low = torch.bmm(args[0], self._a[name][rows])  # (B, T, in) · (B, in, r)
            return torch.baddbmm(output, low, self._b[name][rows])

        return add

    def resident(self, key: str) -> bool:
        """Whether an adapter is in a slot now."""
        with self._lock:
            return key in self._slot_of

    def put(self, key: str, tensors: LoraTensors) -> None:
        """Copy an adapter into a slot, giving up the one that was asked for longest ago if all are taken."""
        with self._lock:
            self._put(key, tensors)

    def _put(self, key: str, tensors: LoraTensors) -> int:
        if tensors.rank > self.rank:
            raise AdapterUnfit(f"adapter of rank {tensors.rank} in slots of rank {self.rank}")
        if key in self._slot_of:
            self._slot_of.move_to_end(key)
            return self._slot_of[key]
        slot = self._free.pop() if self._free else self._slot_of.popitem(last=False)[1]
        if tensors.flat is not None and len(tensors.flat) == self._all.shape[1]:
            self._all[slot] = tensors.flat
        else:
            for name in self.shapes:
                self._a[name][slot].zero_()[:, : tensors.rank] = tensors.a[name]
                self._b[name][slot].zero_()[: tensors.rank] = tensors.b[name]
        self._slot_of[key] = slot
        return slot

    def drop(self, key: str) -> None:
        """Forget an adapter, for instance after its listener deleted it."""
        with self._lock:
            slot = self._slot_of.pop(key, None)
            if slot is not None:
                self._all[slot].zero_()
                self._free.append(slot)

    @torch.inference_mode()
    def encode(self, lower: Lower, adapters: Sequence[tuple[str, LoraTensors] | None]) -> Tensor:
        """Unit vectors (B, D) float32, row i through adapter i (None: the base).

        The distinct adapters of one batch must fit the slots.
        """
        wanted = {entry[0]: entry[1] for entry in adapters if entry is not None}
        if len(wanted) > self.slots:
            raise ValueError(f"{len(wanted)} adapters in one batch, but only {self.slots} slots")
        with self._lock:
            for key in wanted.keys() & self._slot_of.keys():
                self._slot_of.move_to_end(key)  # or a newcomer of this batch could take its slot
            slots = {key: self._put(key, tensors) for key, tensors in wanted.items()}
            rows = torch.tensor([BASE_SLOT if e is None else slots[e[0]] for e in adapters])
            self._rows = rows if wanted else None
            try:
                return self.base.upper(self._network, lower)
            finally:
                self._rows = None
