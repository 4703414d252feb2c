"""The directions that an adapter is taught, against their definitions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from app.lm.ranking import Rule
from app.lm.targets import OwnUnits, TargetSettings, directions, found, parts, solved, whitener

SETTINGS = TargetSettings()


def cloud() -> Tensor:
    """A catalogue of units (400, 16) that spreads more one way than the other."""
    random = torch.Generator().manual_seed(1)
    raw = torch.randn(400, 16, generator=random) * torch.linspace(2.0, 0.3, 16)
    return normalize(raw, dim=1)


def own(liked: Tensor, disliked: Tensor | None = None, weights: Tensor | None = None) -> OwnUnits:
    """One weighting, even unless given."""
    away = liked[:0] if disliked is None else disliked
    even = torch.full((1, len(liked)), 1 / len(liked)) if weights is None else weights[None]
    return OwnUnits(liked, even, away, torch.full((1, len(away)), 1 / max(1, len(away))))


def test_the_whitener_is_the_inverse_of_the_covariance_over_its_mean_eigenvalue_with_a_floor() -> None:
    units = cloud()
    values, axes = torch.linalg.eigh((units.double().T @ units.double()) / 400)
    expected = axes @ torch.diag(1 / (values / values.mean() + 0.5)) @ axes.T
    torch.testing.assert_close(whitener(units, 0.5).double(), expected, atol=1e-4, rtol=0)


def test_solved_is_the_whitened_mean_mixed_with_the_plain_one() -> None:
    units = cloud()
    white, mean = whitener(units, 1.0), units[:4].mean(dim=0)
    pull = white.double() @ mean.double()
    mixed = 0.25 * pull / pull.norm() + 0.75 * mean.double() / mean.double().norm()
    torch.testing.assert_close(solved(mean[None], white, 0.25)[0].double(), mixed / mixed.norm(), atol=1e-5, rtol=0)
    torch.testing.assert_close(solved(mean[None], white, 0.0)[0], normalize(mean, dim=0), atol=1e-6, rtol=0)


def test_found_is_where_the_slope_of_its_loss_vanishes() -> None:
    """The loss as its docstring states it, by autograd: the result is better than the mean and than any near it."""
    units = cloud()
    mean = units[:5].mean(dim=0)
    settings = replace(SETTINGS, steps=400, rate=0.01, sharpness=5.0)

    def loss(vector: Tensor) -> Tensor:
        logs = torch.log_softmax(settings.sharpness * (units @ vector), dim=0)
        drawn = settings.pull * (vector - normalize(mean, dim=0)).square().sum()
        return -logs[:5].mean() + drawn

    start = normalize(mean, dim=0)
    exact = start.clone().requires_grad_()
    search = torch.optim.LBFGS([exact], max_iter=200, line_search_fn="strong_wolfe")

    def again() -> Tensor:
        search.zero_grad()
        value = loss(exact)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    search.step(again)  # type: ignore[no-untyped-call]
    expected = normalize(exact.detach(), dim=0)
    assert found(mean[None], units, settings)[0] @ expected > 0.999
    assert loss(exact.detach()) < loss(start)


def test_found_ranks_the_liked_songs_higher_than_their_mean_does() -> None:
    units = cloud()
    mean = units[:6].mean(dim=0)
    sharp = found(mean[None], units, SETTINGS)[0]

    def place(vector: Tensor) -> float:
        values = units @ vector
        return (values[None] > values[:6, None]).sum(dim=1).float().mean().item()

    assert place(sharp) < place(normalize(mean, dim=0))


@pytest.mark.parametrize("rule", ["mean", "interest"])
def test_many_weightings_at_once_are_each_one_alone(rule: Rule) -> None:
    units = cloud()
    weights = parts(torch.tensor([0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05]), 4, seed=2)
    away = torch.full((5, 3), 1 / 3)
    together = directions(OwnUnits(units[:8], weights, units[50:53], away), units, rule, SETTINGS)
    assert together.shape == (5, 16)
    for row in range(5):
        one = OwnUnits(units[:8], weights[row : row + 1], units[50:53], away[:1])
        torch.testing.assert_close(directions(one, units, rule, SETTINGS)[0], together[row], atol=1e-4, rtol=0)


@pytest.mark.parametrize("rule", ["mean", "interest"])
def test_a_direction_leans_to_what_is_liked_and_away_from_what_is_disliked(rule: Rule) -> None:
    units = cloud()
    plain = directions(own(units[:6]), units, rule, SETTINGS)[0]
    against = directions(own(units[:6], units[6:8]), units, rule, SETTINGS)[0]
    assert plain.norm() == pytest.approx(1.0, abs=1e-5)
    assert (units[:6] @ plain).mean() > (units[8:] @ plain).mean() + 0.1
    assert (units[6:8] @ against).mean() < (units[6:8] @ plain).mean()


def test_a_direction_listens_to_weights() -> None:
    units = cloud()
    even = directions(own(units[:2]), units, "mean", SETTINGS)[0]
    first = directions(own(units[:2], weights=torch.tensor([0.95, 0.05])), units, "mean", SETTINGS)[0]
    assert units[0] @ first > units[0] @ even
    assert units[1] @ first < units[1] @ even


def test_few_dislikes_push_little_and_many_decide() -> None:
    units = cloud()
    few, many = own(units[:20], units[30:31]), own(units[:20], units[30:40])
    assert not few.contrasted and many.contrasted
    mean = units[:20].mean(dim=0)
    assert (few.means(0.8)[0] - mean).norm() == pytest.approx(0.8 / 6, abs=1e-5)
    expected = normalize(mean - 0.8 * 10 / 15 * units[30:40].mean(dim=0), dim=0)
    torch.testing.assert_close(directions(many, units, "mean", SETTINGS)[0], expected, atol=1e-5, rtol=0)


def test_parts_hide_every_song_once_and_keep_the_rest_in_proportion() -> None:
    weights = torch.arange(1.0, 12.0) / 66
    rows = parts(weights, 4, seed=3)
    assert rows.shape == (5, 11)
    torch.testing.assert_close(rows.sum(dim=1), torch.ones(5))
    assert ((rows[1:] == 0).sum(dim=0) == 1).all()
    shown = rows[1] > 0
    torch.testing.assert_close(rows[1][shown], weights[shown] / weights[shown].sum())
    assert len(parts(weights[:7], 4, seed=3)) == 1  # too few to hide any


def test_a_base_that_was_taught_nothing_is_corrected_more() -> None:
    taught, untaught = TargetSettings.for_base(taught=True), TargetSettings.for_base(taught=False)
    assert untaught.ridge < taught.ridge and untaught.share > taught.share
