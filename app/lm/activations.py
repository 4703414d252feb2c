"""Many texts up to the adapted layers, each read once, and from there through a network that was trained.

What lies below an adapter is the same for everybody, so the base keeps it: the next retrain reads most songs again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from app.lm.base import Base, Lower
from app.lm.vectors import Floats


def lower_all(base: Base, texts: Sequence[str], batch: int = 64, pulse: Callable[[int], None] | None = None) -> Lower:
    """Lower activations of many texts, padded to the longest of all; ``pulse`` hears how many are done."""
    known = {at: row for at, text in enumerate(texts) if (row := base.lower_kept.get(text)) is not None}
    missing = [at for at in range(len(texts)) if at not in known]
    done = len(texts) - len(missing)
    if pulse is not None and done:
        pulse(done)
    for rows, input_ids, mask in base.groups([texts[at] for at in missing], batch):
        lower = base.lower_of(input_ids, mask)
        for place, at in enumerate(missing[i] for i in rows):
            known[at] = _row(lower, place)
            base.lower_kept.put(texts[at], known[at], known[at].hidden.nbytes)
        done += len(rows)
        if pulse is not None:
            pulse(done)
    return _padded([known[at] for at in range(len(texts))])


def _padded(rows: Sequence[Lower]) -> Lower:
    pad = partial(nn.utils.rnn.pad_sequence, batch_first=True)
    return Lower(pad([r.hidden for r in rows]), pad([r.input_ids for r in rows]), pad([r.mask for r in rows]))


def _row(lower: Lower, place: int) -> Lower:
    """One text of a batch without its padding: hidden (T, H), the others (T,)."""
    length = int(lower.mask[place].sum())
    return Lower(lower.hidden[place, :length].clone(), lower.input_ids[place, :length], lower.mask[place, :length])


@torch.inference_mode()
def read_by(base: Base, network: nn.Module, texts: Sequence[str], batch: int = 64) -> Floats:
    """(n, D) of texts through a trained network; the base knows their lower half from training, as a rule."""
    lower = lower_all(base, texts)
    parts = [base.upper(network, lower.rows(i, min(i + batch, len(texts)))) for i in range(0, len(texts), batch)]
    vectors: Floats = torch.cat(parts).numpy()
    return vectors
