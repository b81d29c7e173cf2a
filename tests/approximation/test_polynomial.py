"""Exact polynomials and best approximations, against Fractions, flint and known constants."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from flint import arb, fmpq, fmpq_poly

from depthwright.approximation.polynomial import Polynomial, best_even_polynomial
from depthwright.targets import Cone, Hat, RandomProfile


def _flint(polynomial: Polynomial) -> fmpq_poly:
    return fmpq_poly([fmpq(c.numerator, c.denominator) for c in polynomial.coefficients])


def test_values_stay_within_the_stated_rounding() -> None:
    rng = np.random.default_rng(0)
    # Coefficients that grow and cancel, as those of a ridge function do.
    polynomial = Polynomial(
        tuple(Fraction(int(c)) * 7**j for j, c in enumerate(rng.integers(-9, 9, 25)))
    )
    exact = _flint(polynomial)
    for t in rng.uniform(-1, 1, 40):
        fraction = Fraction(float(t))
        value = exact(fmpq(fraction.numerator, fraction.denominator))
        true = Fraction(int(value.p), int(value.q))
        assert abs(Fraction(float(polynomial(np.array([t]))[0])) - true) <= polynomial.rounding


@pytest.mark.parametrize("degree", [24, 80, 200])
def test_rounding_holds_at_the_ends_too(degree: int) -> None:
    """There Clenshaw's errors add up like degree², which a linear bound misses."""
    rng = np.random.default_rng(0)
    coefficients = rng.standard_normal(degree + 1)
    polynomial = Polynomial.from_chebyshev(coefficients)
    ends = np.concatenate([1 - 10.0 ** -rng.uniform(0, 16, 150), [1.0]])
    with mpmath.workdps(60):
        for t in np.concatenate([ends, -ends]):
            theta = mpmath.acos(mpmath.mpf(float(t)))
            true = mpmath.fsum(
                mpmath.mpf(float(c)) * mpmath.cos(k * theta) for k, c in enumerate(coefficients)
            )
            gap = abs(mpmath.mpf(float(polynomial(np.array([t]))[0])) - true)
            assert gap <= polynomial.rounding


def test_chebyshev_form_and_derivative_are_exact() -> None:
    coefficients = [0.5, -1.25, 3.0, 2.0**-30, 7.0]
    polynomial = Polynomial.from_chebyshev(coefficients)
    np.testing.assert_array_equal(polynomial.chebyshev, coefficients)
    derivative = _flint(polynomial).derivative()
    ours = [fmpq(c.numerator, c.denominator) for c in polynomial.derivative().coefficients]
    assert [derivative[k] for k in range(4)] == ours


@pytest.mark.parametrize(
    ("half_degree", "known"), [(1, 0.125), (2, 0.0676), (3, 0.0459), (4, 0.0347), (5, 0.0278)]
)
def test_best_errors_for_the_cone(half_degree: int, known: float) -> None:
    error = best_even_polynomial(Cone().profile, 1.0, half_degree, curvature=0.0).error
    assert abs(error - known) <= 5e-5  # the figure's digits


@pytest.mark.parametrize("target", [Cone(), Hat(), Hat(slope=8.0), RandomProfile(seed=3)], ids=str)
@pytest.mark.parametrize("half_degree", [1, 4, 9, 20])
def test_certificate_covers_a_fine_grid_and_jackson(target: Cone, half_degree: int) -> None:
    best = best_even_polynomial(
        target.profile, target.lipschitz, half_degree, target.breaks, target.curvature
    )
    r = np.random.default_rng(0).uniform(0, 1, 200_000)
    measured = np.abs(target.profile(r) - best.polynomial(r)).max()
    assert measured <= best.error
    assert measured >= 0.99 * best.error, "the certificate is not idle"
    assert best.error <= math.pi / (4 * (half_degree + 1)) * (1 + 1e-4)


def test_certificate_without_breaks_is_coarser_and_holds() -> None:
    smooth = best_even_polynomial(lambda r: np.sin(3 * r) / 3, 1.0, 3)
    r = np.random.default_rng(0).uniform(0, 1, 200_000)
    measured = np.abs(np.sin(3 * r) / 3 - smooth.polynomial(r)).max()
    assert measured <= smooth.error <= measured + 1e-4
    with_breaks, without = (
        best_even_polynomial(Cone().profile, 1.0, 5, curvature=curvature).error
        for curvature in (0.0, math.inf)
    )
    assert with_breaks < without < with_breaks + 2e-4


def test_even() -> None:
    best = best_even_polynomial(Hat().profile, 1.0, 6)
    assert all(c == 0 for c in best.polynomial.coefficients[1::2])


def test_a_changed_coefficient_breaks_the_certificate() -> None:
    best = best_even_polynomial(Cone().profile, 1.0, 3)
    spoilt = list(best.polynomial.coefficients)
    spoilt[2] += Fraction(1, 50)
    r = np.linspace(0, 1, 1000)
    assert np.abs(r - Polynomial(tuple(spoilt))(r)).max() > best.error


def test_magnitude_bounds_the_sup() -> None:
    polynomial = Polynomial.from_chebyshev([0.0, 1.0, 0.0, -2.0])
    assert float(arb(3)) <= polynomial.magnitude <= 3.0001
