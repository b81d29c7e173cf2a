"""Every registered law against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from depthwright.distributions import (
    REGISTRY,
    Ball,
    Box,
    UniformBall,
    UniformBox,
    UniformCube,
    UniformRadius,
)
from depthwright.refusal import Refusal

COUNT = 20_000


@pytest.mark.parametrize("cls", REGISTRY.values())
@pytest.mark.parametrize("input_dim", [1, 3, 40])
def test_samples_lie_in_the_domain_and_follow_the_seed(cls: type, input_dim: int) -> None:
    law = cls(input_dim, 2.0)
    first, second, other = (law.sample(500, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert first.shape == (500, input_dim)
    assert law.domain.contains(first).all()
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    if math.isfinite(law.domain.half_sides[0]):
        assert not law.domain.contains(first + 10.0).any()


@pytest.mark.parametrize(
    ("law", "radius_law"),
    [
        (UniformRadius(7, 2.0), stats.uniform(0, 2.0)),
        (UniformBall(7, 2.0), stats.powerlaw(7, scale=2.0)),
    ],
)
def test_radius_has_its_law_and_direction_is_uniform(
    law: UniformRadius | UniformBall, radius_law: object, generator: torch.Generator
) -> None:
    x = law.sample(COUNT, generator)
    r = x.norm(dim=1)
    assert stats.kstest(r.numpy(), radius_law.cdf).pvalue > 1e-3  # type: ignore[attr-defined]
    # A coordinate w of a uniform direction has (w + 1)/2 ~ Beta((d − 1)/2, (d − 1)/2).
    w = (x[:, 0] / r).numpy()
    assert stats.kstest((w + 1) / 2, stats.beta(3, 3).cdf).pvalue > 1e-3


def test_cube_coordinates_are_uniform_and_independent(generator: torch.Generator) -> None:
    x = UniformCube(3, 2.0).sample(COUNT, generator).numpy()
    assert stats.kstest(x[:, 1], stats.uniform(-2, 4).cdf).pvalue > 1e-3
    assert abs(stats.pearsonr(x[:, 0], x[:, 2]).statistic) < 4 / math.sqrt(COUNT)


def test_a_box_is_filled_evenly(generator: torch.Generator) -> None:
    law = UniformBox(2, lower=[1.0, -3.0], upper=[1.5, 5.0])
    x = law.sample(COUNT, generator).numpy()
    assert stats.kstest(x[:, 0], stats.uniform(1.0, 0.5).cdf).pvalue > 1e-3
    assert stats.kstest(x[:, 1], stats.uniform(-3, 8).cdf).pvalue > 1e-3
    assert abs(stats.pearsonr(x[:, 0], x[:, 1]).statistic) < 4 / math.sqrt(COUNT)
    assert law.density_bound == 0.25


def test_single_precision_stays_inside(generator: torch.Generator) -> None:
    """0.1 and 0.3 are no float32; the nearest ones lie outside and inside."""
    law = UniformBox(1, lower=0.1, upper=0.3)
    x = law.sample(COUNT, generator, torch.float32)
    assert law.domain.contains(x).all()
    ends = law.domain.project(torch.tensor([[0.0], [9.0]]))
    assert [0.1 <= float(v) <= 0.3 for v in ends[:, 0]] == [True, True]


def test_density_bounds() -> None:
    assert UniformCube(3, 2.0).density_bound == 4.0**-3
    assert math.isclose(UniformBall(3, 2.0).density_bound, 3 / (4 * math.pi * 8), rel_tol=1e-14)
    assert UniformRadius(3).density_bound == math.inf


@pytest.mark.parametrize(
    "domain",
    [Ball(4, 1.5), Box.of(4, 1.5), Box((-1.0, 0.0, 2.0, -9.0), (0.5, 1.0, 3.0, 1.0))],
    ids=str,
)
def test_projection_is_nearest_point(domain: Ball | Box, generator: torch.Generator) -> None:
    x = 3 * torch.randn(200, 4, generator=generator, dtype=torch.float64)
    nearest = domain.project(x)
    assert domain.contains(nearest).all()
    inside = domain.contains(x)
    assert torch.equal(nearest[inside], x[inside])
    # For a convex set: ⟨x − Px, y − Px⟩ ≤ 0 for every y in it.
    y = domain.project(torch.randn(200, 4, generator=generator, dtype=torch.float64))
    products = (x - nearest) @ y.T - ((x - nearest) * nearest).sum(dim=1, keepdim=True)
    assert products.max() <= 1e-12


@pytest.mark.parametrize(("input_dim", "radius"), [(0, 1.0), (3, 0.0), (3, math.inf)])
def test_bad_laws_are_refused(input_dim: int, radius: float) -> None:
    with pytest.raises(Refusal):
        UniformBall(input_dim, radius)
