"""Piecewise-linear approximants: certified error, optimality on a known case, negative control."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from depthwright.approximation.piecewise_linear import (
    EvenPiecewiseLinear,
    approximate,
    fewest_pieces,
)
from depthwright.approximation.polynomial import Polynomial

SQUARE = Polynomial((Fraction(0), Fraction(0), Fraction(1)))
WAVY = Polynomial.from_chebyshev([0.0, 0, 1.0, 0, -3.0, 0, 0.5, 0, 2.0])


def _values(fit: EvenPiecewiseLinear, t: np.ndarray) -> np.ndarray:
    ramps = np.maximum(np.abs(t)[:, None] - fit.kinks, 0.0)
    return fit.offset + ramps @ fit.turns


@pytest.mark.parametrize("pieces", [2, 3, 4, 7, 20, 101])
def test_best_error_for_the_square_is_known(pieces: int) -> None:
    """On pieces of length h = 2/M a chord of t² errs by h²/4, a levelled one by half of that."""
    h = 2 / pieces
    fit = approximate(SQUARE, pieces)
    assert fit.pieces == pieces
    best = h * h / 8
    assert best * (1 - 1e-9) <= fit.error <= best * 1.002


@pytest.mark.parametrize("polynomial", [SQUARE, WAVY], ids=["square", "wavy"])
@pytest.mark.parametrize("pieces", [3, 8, 21, 64])
def test_certificate_covers_random_points_and_is_not_idle(
    polynomial: Polynomial, pieces: int
) -> None:
    fit = approximate(polynomial, pieces)
    t = np.random.default_rng(0).uniform(-1, 1, 100_000)
    measured = np.abs(_values(fit, t) - polynomial(t)).max()
    assert 0.98 * fit.error <= measured <= fit.error


def test_a_changed_turn_breaks_the_certificate() -> None:
    fit = approximate(WAVY, 30)
    turns = fit.turns.copy()
    turns[3] *= 1.05
    t = np.linspace(-1, 1, 10_001)
    spoilt = dataclasses.replace(fit, turns=turns)
    assert np.abs(_values(spoilt, t) - WAVY(t)).max() > fit.error


@pytest.mark.parametrize("error", [0.3, 1e-2, 1e-4])
def test_fewest_pieces_is_enough_and_one_less_is_not(error: float) -> None:
    fit = fewest_pieces(WAVY, error, 4096)
    assert fit is not None
    assert fit.error <= error
    assert approximate(WAVY, fit.pieces - 1).error > error


def test_limit_is_respected() -> None:
    assert fewest_pieces(WAVY, 1e-6, 50) is None
