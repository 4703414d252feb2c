"""Wishes to learn from: genres, moods and artists in the words that somebody asks with.

A second round moves songs to where their artists are. What is asked for has to move along, so texts such as "some
shoegaze with a bit of dream pop" are taught the middle of the artists who carry those tags, and "songs like Low" is
taught where that artist is (docs/decisions.md has what that gives).
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from app.lm.pretraining_world import MOST_TAGS, Ints, World

SHARE = 0.08  # of a second round's texts
_FEWEST_ARTISTS = 8  # with a tag, or it is nobody's word for music but a note to oneself
_KINDS = (0.5, 0.3, 0.2)  # how often one tag is asked for, two, an artist

ONE = (
    "{}", "{} music", "some {}", "I want to hear {}", "{} songs", "can you find me {} songs", "I like {}",
    "more {} please", "looking for {}", "a playlist of {}",
)  # fmt: skip
TWO = ("{} and {}", "{}, {}", "some {} with a bit of {}", "{} {}", "I would like {} or {}")
LIKE = (
    "songs like {}", "something similar to {}", "I love {}", "play some {}", "artists like {} please",
    "{} and the like",
)  # fmt: skip


class Wishes:
    """Draws wishes of a world. targets: (N, D) unit vectors of its artists, on the CPU."""

    def __init__(self, world: World, targets: Tensor) -> None:
        self.world = world
        middle = targets.mean(0)
        self.artists = normalize(targets - middle, dim=-1)
        known = world.popularity > 0
        loud = np.sqrt(1 + world.popularity.astype(np.float64))
        carriers: dict[str, dict[int, float]] = defaultdict(dict)
        for artist in np.flatnonzero(known).tolist():
            for piece in world.pieces[artist]:
                for rank, tag in enumerate(piece.tags[:MOST_TAGS]):
                    told = carriers[tag.lower()]
                    told[artist] = max(told.get(artist, 0.0), float(loud[artist]) / (1 + rank))
        self.tags = sorted(tag for tag, told in carriers.items() if len(told) >= _FEWEST_ARTISTS)
        self.of_tags = torch.stack([self._middle_of(carriers[tag]) for tag in self.tags]) if self.tags else None
        self._tag_shares = _shares(np.sqrt([len(carriers[tag]) for tag in self.tags]))
        self._artist_shares = _shares(np.where(known & ~world.unseen, loud, 0.0))

    def _middle_of(self, told: dict[int, float]) -> Tensor:
        """(D,) weighted mean of artists, as a unit."""
        weights = torch.tensor(list(told.values()))
        return normalize(weights @ self.artists[list(told)], dim=0)

    def draw(self, count: int, random: np.random.Generator) -> tuple[list[str], Tensor]:
        """``count`` wishes, and where they are wanted: (count, D)."""
        texts: list[str] = []
        wanted: list[Tensor] = []
        kinds = random.choice(len(_KINDS), count, p=_KINDS) if self.of_tags is not None else np.full(count, 2)
        for kind in kinds.tolist():
            if kind == 2 or self.of_tags is None:
                artist = int(random.choice(len(self._artist_shares), p=self._artist_shares))
                texts.append(_one_of(LIKE, random).format(self.world.names[artist]))
                wanted.append(self.artists[artist])
            else:
                tags: Ints = random.choice(len(self.tags), 1 + kind, p=self._tag_shares)
                texts.append(_one_of((ONE, TWO)[kind], random).format(*(self.tags[tag] for tag in tags)))
                wanted.append(normalize(self.of_tags[torch.from_numpy(tags)].sum(0), dim=0))
        return texts, torch.stack(wanted) if wanted else torch.empty(0, self.artists.shape[1])


def _shares(weights: np.ndarray) -> np.ndarray:
    """Probabilities from weights; none of none."""
    return weights / weights.sum() if len(weights) else weights


def _one_of(forms: tuple[str, ...], random: np.random.Generator) -> str:
    return forms[int(random.integers(len(forms)))]
