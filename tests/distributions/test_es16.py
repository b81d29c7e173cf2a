"""γ against its exact distribution function and published quantiles; the pair law."""

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy.special import jv

from depthwright.distributions import EldanShamir, SpherePairs
from depthwright.distributions.es16 import _table

POINTS = 200_000
LEVELS = {0.1: 2, 0.5: 2, 0.9: 1, 0.99: 0}
"""And the decimal places of the figures."""
QUANTILES = {5: (0.50, 0.84, 3.7, 35), 10: (0.86, 1.22, 5.7, 56), 50: (2.27, 3.06, 14.2, 141)}


def radii(input_dim: int) -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    return EldanShamir(input_dim).sample(POINTS, generator).norm(dim=1).numpy()


def exact(z: np.ndarray, order: float) -> np.ndarray:
    """J_ν² + 2 Σ J_{ν+k}², in which all terms are positive."""
    terms = range(1, int(z.max()) + 60)
    return jv(order, z) ** 2 + 2 * sum(jv(order + k, z) ** 2 for k in terms)


@pytest.mark.parametrize("order", [0.5, 1.0, 2.5, 25.0])
def test_table_is_the_closed_form(order):
    z, f = _table(order)
    some = np.linspace(1, len(z) - 1, 40).astype(int)
    assert np.abs(f[some] - exact(z[some], order)).max() <= 1e-10
    # Linear between its points: h²/8 times the steepest slope of the density.
    middle = (z[some] + z[some - 1]) / 2
    assert np.abs((f[some] + f[some - 1]) / 2 - exact(middle, order)).max() <= 1e-6


def test_closed_form_is_the_integral():
    value = mpmath.quad(lambda t: 5 * mpmath.besselj(2.5, t) ** 2 / t, [0, 2, 5, 8, 12])
    assert float(exact(np.array([12.0]), 2.5)[0]) == pytest.approx(float(value), abs=1e-12)


@pytest.mark.parametrize("input_dim", [2, 5, 10, 50])
def test_radii_pass_kolmogorov_and_smirnov(input_dim):
    order = input_dim / 2
    z = np.sort(radii(input_dim) / EldanShamir(input_dim).scale)
    inside = z < order + 150  # beyond the table's end, so that the join is tested too
    some = np.linspace(0, inside.sum() - 1, 300).astype(int)
    gap = np.abs(exact(z[some], order) - (some + 0.5) / POINTS).max()
    assert gap <= 1.95 / math.sqrt(POINTS)  # exceeded once in a thousand
    assert z[-1] > order + 1000


@pytest.mark.parametrize("input_dim", QUANTILES)
def test_quantiles_are_the_published_ones(input_dim):
    """The level lies between the law's values half a unit of the last digit around the figure."""
    for (level, places), figure in zip(LEVELS.items(), QUANTILES[input_dim], strict=True):
        unit = 10.0**-places
        around = np.array([figure - unit / 2, figure + unit / 2]) / EldanShamir(input_dim).scale
        low, high = (float(exact(z[None], input_dim / 2)[0]) for z in around)
        assert low <= level <= high


def test_density_is_a_squared_fourier_transform():
    """In one dimension φ(x) = sin(πx)/(πx), the transform of an interval of length 1."""
    x = np.abs(EldanShamir(1).sample(POINTS, torch.Generator().manual_seed(0)).numpy()[:, 0])
    share = mpmath.quad(lambda t: 2 * mpmath.sinc(mpmath.pi * t) ** 2, [0, 1])
    assert abs((x < 1).mean() - float(share)) <= 4 * math.sqrt(0.1 / POINTS)


def test_directions_are_uniform():
    x = EldanShamir(3).sample(POINTS, torch.Generator().manual_seed(0))
    u = x / x.norm(dim=1, keepdim=True)
    assert float(u.mean(dim=0).abs().max()) <= 4 / math.sqrt(3 * POINTS)


def test_dilation_and_dtype():
    generator = torch.Generator().manual_seed(0)
    wide = EldanShamir(4, radius=2.0).sample(100, generator, torch.float32)
    plain = EldanShamir(4).sample(100, torch.Generator().manual_seed(0), torch.float32)
    assert wide.dtype == torch.float32
    assert torch.allclose(wide, 2 * plain)
    assert EldanShamir(4, radius=2.0).density_bound == 1 / 16


@pytest.mark.parametrize("input_dim", [2, 3, 20])
def test_pairs_have_the_law_of_one_plus_cosine(input_dim):
    """‖x‖² = (1 + t)/2 with E t = 0, E t² = 1/d."""
    law = SpherePairs(input_dim)
    x = law.sample(POINTS, torch.Generator().manual_seed(0))
    assert bool(law.domain.contains(x).all())
    t = 2 * x.square().sum(dim=1) - 1
    assert abs(float(t.mean())) <= 4 / math.sqrt(input_dim * POINTS)
    squares = t.square()
    error = 4 * float(squares.std()) / math.sqrt(POINTS)
    assert abs(float(squares.mean()) - 1 / input_dim) <= error
