"""The words of a music adapter: what its LoRA could not carry of what the teacher knows of single artists.

A LoRA reads names; that two names that have nothing in common belong together it can only learn by heart, and its room
for that ends some tenth below its teacher. The rest is kept artist by artist, for those with company enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from app.lm.pretraining_student import Student, means_of
from app.lm.pretraining_world import World

LEAST_GROUPS = 3  # with an artist: of one or two listeners a word would tell too much


def known_well(world: World, least: int) -> list[int]:
    """Artists with ``least`` groups at least, less those whose texts are never trained on."""
    return np.flatnonzero((world.popularity >= least) & ~world.unseen).tolist()


def words_of(
    student: Student,
    world: World,
    written: Sequence[Sequence[str]],
    targets: Tensor,
    least: int,
    autocast: Callable[[], torch.autocast],
) -> dict[str, Tensor]:
    """What the word of each artist who is known well adds to a text's unit vector, (D,) by name.

    written: the texts of every artist; targets: (N, D), where the teacher puts them, less the middle of all. A vector v
    of the student's lies at |v - m| from its middle m: there a step of t - (v - m) / |v - m| is as many times as long.
    """
    flat = [text for texts in written for text in texts]
    of = np.repeat(np.arange(len(written)), [len(texts) for texts in written])
    vectors = means_of(student.vectors(flat, autocast), of, len(written))
    middle = vectors.mean(0)
    away = (vectors - middle).norm(dim=1, keepdim=True).clamp(min=1e-9)
    steps = away * (normalize(targets.cpu(), dim=1) - (vectors - middle) / away)
    return {world.names[artist]: steps[artist].clone() for artist in known_well(world, least)}
