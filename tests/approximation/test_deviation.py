"""Moments and exponents of random directions against samples, and against each other."""

import math

import numpy as np
import pytest

from depthwright.approximation.averaged_hinge import mean_size
from depthwright.approximation.deviation import Hinge, frame_log_mgf


def sphere(count: int, dimension: int) -> np.ndarray:
    g = np.random.default_rng(0).standard_normal((count, dimension))
    return g / np.linalg.norm(g, axis=1, keepdims=True)


def standard_error(sample: np.ndarray) -> float:
    return float(sample.std()) / math.sqrt(len(sample))


@pytest.mark.parametrize("dimension", [2, 3, 10, 60])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.1])
def test_moments_are_those_of_samples(dimension, share):
    knot = share / math.sqrt(dimension)
    hinge = Hinge.of(knot, dimension)
    h = np.maximum(np.abs(sphere(200_000, dimension)[:, 0]) - knot, 0)
    assert hinge.chances @ hinge.values == pytest.approx(hinge.mean, abs=1e-13)
    squares = (h - h.mean()) ** 2
    assert abs(squares.mean() - hinge.variance) <= 4 * standard_error(squares)
    for theta in (-2.0, 0.3, 4.0):
        grown = np.exp(theta * (h - hinge.mean))
        exact = math.exp(float(hinge.log_mgf(np.array([theta]))[0]))
        assert abs(grown.mean() - exact) <= 4 * standard_error(grown)


def test_exponent_in_three_dimensions_is_elementary():
    """w_1 is uniform on [−1, 1]: E exp(θ abs(w_1)) = (e^θ − 1)/θ."""
    theta = np.array([-40.0, -3.0, -1e-3, 1e-3, 2.0, 50.0])
    exact = np.log(np.expm1(theta) / theta) - theta / 2
    got = Hinge.of(0.0, 3).log_mgf(theta)
    assert (got >= exact - 1e-14).all()
    assert np.abs(got - exact).max() <= 1e-9


@pytest.mark.parametrize("dimension", [2, 3, 10, 60])
def test_frame_exponent_lies_above_samples_and_below_independence(dimension):
    u = np.abs(sphere(200_000, dimension)).sum(axis=1) - dimension * mean_size(dimension)
    alone = Hinge.of(0.0, dimension)
    for theta in (-6.0, -1.0, 1.0, 6.0):
        grown = np.exp(theta * u)
        bound = float(frame_log_mgf(np.array([theta]), dimension)[0])
        assert math.exp(bound) >= grown.mean() - 4 * standard_error(grown)
        assert bound <= dimension * float(alone.log_mgf(np.array([theta]))[0])


@pytest.mark.parametrize("dimension", [10, 100, 1000])
def test_frame_exponent_is_sharp_to_second_order(dimension):
    """θ²/2 times the variance of ‖u‖_1, 1 + (d − 1)·2/π − (E ‖u‖_1)², for small θ."""
    variance = 1 + (dimension - 1) * 2 / math.pi - (dimension * mean_size(dimension)) ** 2
    theta = np.array([-0.1, 0.1])
    assert frame_log_mgf(theta, dimension) == pytest.approx(theta**2 / 2 * variance, rel=0.08)


def test_frame_variance_is_that_of_samples():
    """Var of the mean over a frame, times d; degrees 4 and on add a factor 1 + O(1/d)."""
    d, knot = 60, 0.1
    h = np.maximum(np.abs(sphere(200_000, d)) - knot, 0).sum(axis=1)
    got = Hinge.of(knot, d).frame_variance(d)
    assert h.var() / d == pytest.approx(got, rel=3 / d + 4 * math.sqrt(2 / len(h)))
    assert got < 0.2 * Hinge.of(knot, d).variance


def test_shorter_inputs_have_smaller_exponents():
    """The lemma in the docstring, on the law itself: h_b(r·w_1) for r < 1 against r = 1."""
    w = np.abs(sphere(200_000, 5)[:, 0])
    for theta in (-5.0, 5.0):
        exponents = []
        for r in (0.4, 0.7, 1.0):
            h = np.maximum(r * w - 0.2, 0)
            exponents.append(math.log(np.exp(theta * (h - h.mean())).mean()))
        assert exponents == sorted(exponents)
