"""Ridge functions against quadrature; programs of least bending against the best approximation."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy.special import roots_gegenbauer

from depthwright.approximation.bending import BendingProgram
from depthwright.approximation.piecewise_linear import fewest_pieces
from depthwright.approximation.polynomial import Polynomial, best_even_polynomial, certified
from depthwright.approximation.ridge_function import averaged, ridge_function
from depthwright.targets import Cone, Hat, Monomial, Radial, ZigZag


def _mean(g: Polynomial, r: np.ndarray, dimension: int) -> np.ndarray:
    """E g(r·w_1) by Gauss–Gegenbauer, exact for these degrees."""
    t, weights = roots_gegenbauer(40, dimension / 2 - 1)
    return g(r[:, None] * t) @ (weights / weights.sum())


@pytest.mark.parametrize("dimension", [3, 10, 57])
def test_ridge_function_averages_back_to_its_polynomial(dimension: int) -> None:
    q = Polynomial(tuple(map(Fraction, (1, 0, -3, 0, 5, 0, Fraction(-7, 3)))))
    r = np.linspace(0, 1, 11)
    g = ridge_function(q, dimension)
    np.testing.assert_allclose(_mean(g, r, dimension), q(r), rtol=0, atol=1e-13 * g.magnitude)
    assert averaged(g.derivative().derivative(), g.coefficients[0], dimension) == q


@pytest.mark.parametrize("second", [(0, 0, 1), (1,)])
def test_a_spoilt_average_is_seen(second: tuple[int, ...]) -> None:
    """The average in another dimension is another polynomial."""
    g2 = Polynomial(tuple(map(Fraction, second)))
    assert averaged(g2, Fraction(0), 5) != averaged(g2, Fraction(0), 6)


@pytest.mark.parametrize(
    ("target", "half_degree", "accuracy", "saved"),
    [
        (Cone(10), 3, 0.1, 2.0),
        (Cone(2), 16, 0.02, 2.0),
        (Hat(3), 8, 0.05, 2.0),
        (ZigZag(5), 10, 0.05, 1.5),
        (Monomial(10, 2), 2, 0.2, 1.1),
        (Cone(100), 3, 0.1, 4.0),
    ],
    ids=str,
)
def test_bending_less_saves_pieces(
    target: Radial, half_degree: int, accuracy: float, saved: float
) -> None:
    """Certified errors of both, and the pieces that both need for the same accuracy."""
    best = best_even_polynomial(
        target.profile, target.lipschitz, half_degree, target.breaks, target.curvature
    )
    error = (best.error + accuracy) / 2
    found = BendingProgram(
        target.profile, half_degree, target.input_dim, target.breaks
    ).least_bending(error)
    assert found is not None
    least = certified(
        found.polynomial, target.profile, target.lipschitz, target.breaks, target.curvature
    )
    assert best.error * (1 - 1e-6) <= least.error <= 1.02 * error
    r = np.random.default_rng(0).uniform(0, 1, 100_000)
    assert np.abs(target.profile(r) - least.polynomial(r)).max() <= least.error
    pieces = []
    for each in (best, least):
        g = ridge_function(each.polynomial, target.input_dim)
        fit = fewest_pieces(g, accuracy - each.error, 4096)
        pieces.append(fit.pieces if fit else 4096)
    assert pieces[0] >= saved * pieces[1]


def test_bending_is_the_integral_and_falls_with_the_error() -> None:
    program = BendingProgram(Cone().profile, 6, 4)
    bends = []
    for error in (0.03, 0.045, 0.06):
        found = program.least_bending(error)
        assert found is not None
        second = ridge_function(found.polynomial, 4).derivative().derivative()
        t = (np.arange(100_000) + 0.5) / 100_000
        assert np.sqrt(np.abs(second(t))).mean() == pytest.approx(found.bending, rel=0.02)
        bends.append(found.bending)
    assert bends == sorted(bends, reverse=True)


def test_an_error_out_of_reach_has_no_polynomial() -> None:
    assert BendingProgram(Cone().profile, 2, 4).least_bending(0.03) is None
