"""Where a listener's taste should point, computed on catalogue vectors alone: what their adapter is then taught.

Three directions (docs/decisions.md has the measurements):

solved    for catalogues with one entry an artist: a closed form, the mean of the liked songs through the inverse of the
          catalogue's covariance, so that what all songs share says less;
found     for catalogues of songs: a softmax of the liked songs over the whole catalogue, by gradient;
contrast  where somebody has said often enough what they dislike: that says more than the closed form's correction.

All take several weightings of the same songs at once, so that parts of them can be hidden in turn at little cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from app.lm.ranking import Rule

_FEW_DISLIKES = 5.0
_CONTRAST_FROM = 0.2


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """Constants of the directions.

    ridge: floor of the covariance, in its mean eigenvalue; share: of the solved direction against the plain mean.
    sharpness: inverse temperature of the softmax; pull: how strongly it is drawn back to the mean; steps, rate: Adam's.
    dislike: how far the mean of many disliked songs pushes away, against the mean of the liked ones.
    """

    ridge: float = 1.0
    share: float = 0.6
    sharpness: float = 25.0
    pull: float = 1.0
    steps: int = 40
    rate: float = 0.02
    dislike: float = 0.8

    @classmethod
    def for_base(cls, *, taught: bool) -> TargetSettings:
        """A base that was taught no music needs more correction: its vectors share more that says nothing of music."""
        return cls() if taught else cls(ridge=0.1, share=0.85)


@dataclass(frozen=True, slots=True)
class OwnUnits:
    """A listener's songs as units, weighted in B ways (each row sums to 1; 0 hides a song).

    liked: (n, D), weights: (B, n); disliked: (m, D), against: (B, m), of no columns where nothing is disliked.
    """

    liked: Tensor
    weights: Tensor
    disliked: Tensor
    against: Tensor

    def means(self, dislike: float) -> Tensor:
        """(B, D) mean of the liked songs, pushed away from the disliked ones; a few of those push little."""
        means = self.weights @ self.liked
        if not len(self.disliked):
            return means
        return means - self.push(dislike) * (self.against @ self.disliked)

    def push(self, dislike: float) -> Tensor:
        """(B, 1) how far the disliked songs push, against the liked ones' 1."""
        counts = (self.against > 0).sum(dim=1, keepdim=True)
        return dislike * counts / (counts + _FEW_DISLIKES)

    @property
    def contrasted(self) -> bool:
        """Whether dislikes are many enough to go by the contrast alone."""
        return len(self.disliked) >= max(_FEW_DISLIKES, _CONTRAST_FROM * (len(self.liked) + len(self.disliked)))


def directions(own: OwnUnits, catalogue: Tensor, rule: Rule, settings: TargetSettings) -> Tensor:
    """The units (B, D) that the tastes should point to; catalogue: (N, D) units."""
    means = own.means(settings.dislike)
    if rule == "mean" and own.contrasted:
        return normalize(means, dim=1)
    if rule == "interest":  # the softmax's own share of the gradient shrinks as the dislikes' grows
        means = means / (1 - own.push(settings.dislike)).clamp(min=0.5)
    return of_means(means, catalogue, rule, settings)


def of_means(means: Tensor, catalogue: Tensor, rule: Rule, settings: TargetSettings) -> Tensor:
    """Where tastes of these means (B, D) should point by a rule's own direction: (B, D)."""
    if rule == "mean":
        return solved(means, whitener(catalogue, settings.ridge), settings.share)
    return found(means, catalogue, settings)


def whitener(catalogue: Tensor, ridge: float) -> Tensor:
    """(D, D) inverse of the catalogue's covariance, in units of its mean eigenvalue, with ``ridge`` as its floor."""
    covariance = catalogue.T @ catalogue / len(catalogue)
    scale = torch.trace(covariance) / catalogue.shape[1]
    inverse: Tensor = torch.linalg.inv(covariance / scale + ridge * torch.eye(catalogue.shape[1]))
    return inverse


def solved(means: Tensor, white: Tensor, share: float) -> Tensor:
    """Means (B, D) through the whitener (D, D), mixed with the plain ones: (B, D)."""
    return normalize(share * normalize(means @ white, dim=1) + (1 - share) * normalize(means, dim=1), dim=1)


def found(means: Tensor, catalogue: Tensor, settings: TargetSettings) -> Tensor:
    """The vectors (B, D) under which the liked songs are likeliest among the catalogue (M, D), drawn to their mean.

    Minimises -Σ wᵢ log softmax(sharpness · x · aᵢ) + pull · |x - mean|² by Adam; the gradient needs the liked songs
    only by their mean (B, D), and each step is two products with the catalogue.
    """
    start = normalize(means, dim=1)
    vectors, first, second = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    for step in range(1, settings.steps + 1):
        likely = torch.softmax(settings.sharpness * (vectors @ catalogue.T), dim=1)
        slope = settings.sharpness * (likely @ catalogue - means) + 2 * settings.pull * (vectors - start)
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope.square()
        vectors = vectors - settings.rate * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    return normalize(vectors, dim=1)


def parts(weights: Tensor, count: int, seed: int) -> Tensor:
    """(1 + count, n): the weights (n,) as they are, then with each of ``count`` random parts hidden in turn.

    Too few songs to hide some of them give (1, n).
    """
    songs = len(weights)
    if count == 0 or songs < 2 * count:
        return weights[None]
    place = torch.randperm(songs, generator=torch.Generator().manual_seed(seed)) % count
    rows = [weights] + [torch.where(place == part, torch.zeros_like(weights), weights) for part in range(count)]
    return torch.stack([row / row.sum() for row in rows])
