"""The teacher: one free vector an artist, trained through the personal solve of many listeners.

Each artist has a vector of the text base (a head of two layers on it lets texts speak) and a free residual. A listener,
playlist or neighbourhood loses some of its members; the closed-form solve on the others must rank those first among all
artists drawn. What comes out is where a base that knows music should put an artist, so that a listener's own
closed-form step from there helps; the student then carries it into the base's weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize

from app.lm.pretraining_world import Domain, Floats, Ints, World

GROUPS_A_STEP = 96
NEGATIVES = 6000
MOST_MEMBERS = 60
_RATES = {"head": 1e-3, "residual": 2e-3, "scalars": 2e-2}
_RESIDUAL_OFF = 0.3  # share of artists that must be found by their text alone in a step
SOLVE_SHARE = 0.7  # the rest of the loss is the plain mean's
SOLVE_ALONE = 1.0  # as good a solve, a lower mean: more is left for the personal step (docs/decisions.md)
_RESIDUAL_COST = 0.3
_SCALARS = {"ridge": 1.0, "whiten": 2.0, "gate": 0.5, "temperature": -2.7}


class Teacher(nn.Module):
    """(N, D) artist vectors around the text base's own."""

    features: Tensor

    def __init__(self, features: Tensor, width: int = 768) -> None:
        super().__init__()
        count, size = features.shape
        self.register_buffer("features", features, persistent=False)
        self.inner, self.outer = nn.Linear(size, width), nn.Linear(width, size)
        nn.init.zeros_(self.outer.weight)
        self.residual = nn.Parameter(torch.zeros(count, size))
        self.scalars = nn.ParameterDict({name: nn.Parameter(torch.tensor(v)) for name, v in _SCALARS.items()})

    def vectors(self, rows: Tensor, keep: Tensor | None = None) -> Tensor:
        """Unit vectors (n, D) of artists; keep: (n,) 1 where the residual counts."""
        text = self.features[rows]
        residual = self.residual[rows]
        if keep is not None:
            residual = residual * keep[:, None]
        return normalize((text + self.outer(gelu(self.inner(text * 4))) + residual).float(), dim=-1)


def solve(own: Tensor, weights: Tensor, covariance: Tensor, scalars: nn.ParameterDict) -> tuple[Tensor, Tensor]:
    """The personal step in closed form, for many listeners at once.

    own: (B, n, D) unit vectors of each one's artists; weights: (B, n), 0 where padded; covariance: (D, D).
    r = norm((w₀ C + AᵀWA + λ I)⁻¹ AᵀW 1), solved in n dimensions; returns norm(g r + (1 - g) m) and the mean m, (B, D).
    """
    eye = torch.eye(own.shape[2], device=own.device)
    inverse = torch.linalg.inv(scalars["whiten"].exp() * covariance + 0.1 * scalars["ridge"].exp() * eye)
    root = weights.sqrt()
    scaled = own * root[..., None]
    gram = scaled @ inverse @ scaled.transpose(1, 2) + torch.eye(own.shape[1], device=own.device)
    spoken = torch.linalg.solve(gram, root[..., None])
    pointed = normalize((scaled.transpose(1, 2) @ spoken).squeeze(-1) @ inverse, dim=-1)
    mean = normalize((own * weights[..., None]).sum(1), dim=-1)
    gate = torch.sigmoid(scalars["gate"])
    return normalize(gate * pointed + (1 - gate) * mean, dim=-1), mean


def optimiser_of(teacher: Teacher) -> torch.optim.Optimizer:
    """AdamW with a rate for each part."""
    head = [*teacher.inner.parameters(), *teacher.outer.parameters()]
    return torch.optim.AdamW(
        [
            {"params": head, "lr": _RATES["head"], "weight_decay": 0.01},
            {"params": [teacher.residual], "lr": _RATES["residual"], "weight_decay": 0.0},
            {"params": list(teacher.scalars.values()), "lr": _RATES["scalars"], "weight_decay": 0.0},
        ]
    )


def set_rates(optimiser: torch.optim.Optimizer, step: int, steps: int) -> None:
    """A straight fall to a twentieth; the solve's few scalars keep their rate."""
    fall = max(0.05, 1 - step / steps)
    for group, name in zip(optimiser.param_groups, ("head", "residual"), strict=False):
        group["lr"] = _RATES[name] * fall


def teach(
    teacher: Teacher,
    world: World,
    random: np.random.Generator,
    autocast: Callable[[], torch.autocast],
    solve_share: float = SOLVE_SHARE,
) -> Tensor:
    """The loss of one step on one domain's groups; ``solve_share`` of it is the solve's, the rest the plain mean's."""
    shares = np.array([domain.share for domain in world.domains])
    domain = world.domains[int(random.choice(len(shares), p=shares / shares.sum()))]
    members, hidden, weights = _hide(domain, random)
    pool = _pool(domain, members, hidden, random)
    device = teacher.features.device
    rows = torch.from_numpy(pool).to(device)
    keep = torch.from_numpy((random.random(len(pool)) > _RESIDUAL_OFF).astype(np.float32)).to(device)
    with autocast():
        vectors = teacher.vectors(rows, keep)
    vectors = vectors.float()
    places, padded, known, wanted = _tables(pool, members, hidden, weights)
    own = vectors[torch.from_numpy(places).to(device)]
    solved, mean = solve(own, torch.from_numpy(padded).to(device), vectors.T @ vectors / len(pool), teacher.scalars)
    loss = _RESIDUAL_COST * teacher.residual[rows].square().sum(-1).mean()
    shut, target = torch.from_numpy(known).to(device), torch.from_numpy(wanted).to(device)
    for taste, share in ((solved, solve_share), (mean, 1 - solve_share)):
        with autocast():
            likeness = taste @ vectors.T
        logits = (likeness.float() / teacher.scalars["temperature"].exp()).masked_fill(shut, -1e4)
        loss = loss - share * (target * logits.log_softmax(-1)).sum(-1).mean()
    return loss


def _hide(domain: Domain, random: np.random.Generator) -> tuple[list[Ints], list[Ints], list[Floats]]:
    """Groups as (known members, hidden members, weights of the known): 15 to 40 % are hidden."""
    known, hidden, weights = [], [], []
    for place in random.integers(0, len(domain.members), GROUPS_A_STEP):
        ids, values = domain.members[int(place)]
        order = random.permutation(len(ids))[:MOST_MEMBERS]
        cut = max(1, int(len(order) * random.uniform(0.15, 0.4)))
        hidden.append(ids[order[:cut]])
        known.append(ids[order[cut:]])
        weights.append(values[order[cut:]] / values[order[cut:]].mean())
    return known, hidden, weights


def _pool(domain: Domain, known: Sequence[Ints], hidden: Sequence[Ints], random: np.random.Generator) -> Ints:
    """Ascending artists that a step ranks: the groups' own, and others of the domain."""
    drawn = domain.artists[random.integers(0, len(domain.artists), NEGATIVES)]
    return np.unique(np.concatenate([drawn, *known, *hidden]))


def _tables(
    pool: Ints, members: Sequence[Ints], hidden: Sequence[Ints], weights: Sequence[Floats]
) -> tuple[Ints, Floats, np.ndarray[tuple[int, int], np.dtype[np.bool_]], Floats]:
    """(B, n) places in the pool and weights; (B, M) what may not be ranked, and the share that each should get."""
    count, most = len(members), max(map(len, members))
    places, padded = np.zeros((count, most), np.int64), np.zeros((count, most), np.float32)
    known, wanted = np.zeros((count, len(pool)), bool), np.zeros((count, len(pool)), np.float32)
    for row, (ids, gone, values) in enumerate(zip(members, hidden, weights, strict=True)):
        places[row, : len(ids)], padded[row, : len(ids)] = np.searchsorted(pool, ids), values
        known[row, places[row, : len(ids)]] = True
        wanted[row, np.searchsorted(pool, gone)] = 1 / len(gone)
    return places, padded, known, wanted


@torch.no_grad()
def directions_that_matter(teacher: Teacher, world: World, random: np.random.Generator, most: int = 1200) -> Tensor:
    """(D, D) Cholesky factor of the covariance of listeners' solves: errors along it cost the student most."""
    solves = []
    for domain in world.domains:
        vectors = teacher.vectors(torch.from_numpy(domain.artists).to(teacher.features.device))
        covariance = vectors.T @ vectors / len(vectors)
        count = most if domain.kind == "listeners" else most // 2
        for place in random.permutation(len(domain.members))[:count]:
            ids, values = domain.members[int(place)]
            own = vectors[torch.from_numpy(np.searchsorted(domain.artists, ids)).to(vectors.device)][None]
            weights = torch.from_numpy(values / values.mean()).to(vectors.device)[None]
            solves.append(solve(own, weights, covariance, teacher.scalars)[0][0])
    spread = torch.stack(solves) - torch.stack(solves).mean(0)
    covariance = spread.T @ spread
    size = covariance.shape[0]
    scaled = covariance * (size / torch.trace(covariance).clamp(min=1e-9))
    factor: Tensor = torch.linalg.cholesky(0.8 * scaled + 0.2 * torch.eye(size, device=scaled.device))
    return factor
