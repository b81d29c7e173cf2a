"""Products on S²: even moments against exact rationals, sizes, and what a lost angle does."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from depthwright.approximation.cubature import candidates, sphere_moment
from depthwright.approximation.product_rule import ProductRule, half_circle


def _listed(rule: ProductRule) -> tuple[np.ndarray, np.ndarray]:
    parts = list(rule.directions())
    points = np.concatenate([values for _, values, _ in parts])
    weights = np.concatenate([np.full(len(values), weight) for _, values, weight in parts])
    return points, weights


def _worst_moment(points: np.ndarray, weights: np.ndarray, half_degree: int) -> float:
    """Over all monomials of degree 2K: a product of powers of odd exponents has mean 0."""
    powers = [points**j if j else np.ones_like(points) for j in range(2 * half_degree + 1)]
    gaps = []
    for a, b in itertools.product(range(2 * half_degree + 1), repeat=2):
        if (c := 2 * half_degree - a - b) < 0:
            continue
        got = math.fsum(weights * powers[a][:, 0] * powers[b][:, 1] * powers[c][:, 2])
        even = not (a % 2 or b % 2)
        gaps.append(abs(got - float(sphere_moment(3, (a // 2, b // 2, c // 2))) * even))
    return max(gaps)


@pytest.mark.parametrize("half_degree", [1, 2, 5, 12, 25, 40])
def test_even_moments_are_exact_to_rounding(half_degree: int) -> None:
    """Every monomial of degree 2K: the lower even ones follow from ‖w‖ = 1."""
    rule = ProductRule(half_degree)
    points, weights = _listed(rule)
    assert rule.count == len(points)
    assert weights.min() > 0
    assert abs(math.fsum(weights) - 1) <= 4e-16
    np.testing.assert_allclose((points**2).sum(axis=1), 1, rtol=5e-16)
    # 2K + 1 roundings a product of powers, of numbers whose mean size is below 1.
    assert _worst_moment(points, weights, half_degree) <= (4 * half_degree + 4) * 2**-53


def test_one_angle_less_is_seen() -> None:
    """Circles of 2K angles alias the harmonic of degree 2K."""
    points, weights = _listed(ProductRule(4))
    assert _worst_moment(points, weights, 4) < 1e-15
    turned = points.copy()
    turned[0] = turned[1]
    assert _worst_moment(turned, weights, 4) > 1e-4
    assert _worst_moment(points, weights, 5) > 1e-4, "the degree is no higher than promised"


def test_no_direction_twice() -> None:
    for half_degree in (4, 7):
        points, _ = _listed(ProductRule(half_degree))
        both = np.concatenate([points, -points])
        assert len(np.unique(both.round(12), axis=0)) == len(both)


def test_products_are_offered_where_they_are_smallest() -> None:
    assert candidates(3, 5)[0].count == 25 < ProductRule(5).count
    assert candidates(3, 20)[0] == ProductRule(20)
    assert ProductRule(40).count <= 2 * math.comb(42, 2)


def test_half_circle_has_the_angles_of_numpy() -> None:
    angle = np.pi * np.arange(7) / 7
    np.testing.assert_allclose(
        half_circle(7), np.stack([np.cos(angle), np.sin(angle)], axis=1), rtol=0, atol=5e-16
    )


def test_rules_that_are_made_in_turn_do_not_take_each_other_s_precision() -> None:
    """As two threads do: the first to end must not end the digits of the second."""
    first, second = ProductRule(4).directions(), ProductRule(9).directions()
    begun = [next(first), next(second)]
    assert len([begun[0], *first]) == 3
    whole = [begun[1], *second]
    for given, alone in zip(whole, ProductRule(9).directions(), strict=True):
        for ours, theirs in zip(given, alone, strict=True):
            np.testing.assert_array_equal(ours, theirs)
