"""Cubature identities in exact rationals, by a derivation that shares nothing with the code."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import permutations, product

import numpy as np
import pytest

from depthwright.approximation.cubature import (
    Cubature,
    Orbit,
    candidates,
    fully_symmetric,
    orbit_moment,
    orbit_size,
    partitions,
    sphere_moment,
)
from depthwright.approximation.ridge_function import ridge_constant


def residuals(rule: Cubature) -> list[Fraction]:
    """Rule minus sphere, one per moment equation."""
    d = rule.dimension
    return [
        sum(
            (o.total_weight * orbit_moment(o.generator, parts, d) for o in rule.orbits),
            -sphere_moment(d, parts),
        )
        for parts in partitions(rule.half_degree)
        if len(parts) <= d
    ]


def _points(generator: tuple[int, ...], dimension: int) -> Iterator[tuple[int, ...]]:
    """Every point of an orbit, written out."""
    padded = generator + (0,) * (dimension - len(generator))
    for arrangement in set(permutations(padded)):
        for signs in product((1, -1), repeat=len(generator)):
            remaining = iter(signs)
            yield tuple(next(remaining) * a if a else 0 for a in arrangement)


@pytest.mark.parametrize("dimension", [3, 5, 10, 20])
@pytest.mark.parametrize("half_degree", [1, 2, 3, 4])
def test_identities_hold_exactly(dimension: int, half_degree: int) -> None:
    rules = fully_symmetric(dimension, half_degree)
    assert rules
    for rule in rules:
        assert residuals(rule)
        assert all(residual == 0 for residual in residuals(rule))
        assert sum(orbit.total_weight for orbit in rule.orbits) == 1


@pytest.mark.parametrize(("dimension", "half_degree"), [(3, 2), (3, 4), (4, 3), (5, 2)])
def test_identities_hold_point_by_point(dimension: int, half_degree: int) -> None:
    """All monomials of degree 2K and below, summed over listed points in rationals."""
    for rule in fully_symmetric(dimension, half_degree):
        for degree in range(1, half_degree + 1):
            for powers in product(range(degree + 1), repeat=dimension):
                if sum(powers) != degree:
                    continue
                total = Fraction(0)
                for orbit in rule.orbits:
                    points = list(_points(orbit.generator, dimension))
                    length = sum(g * g for g in orbit.generator) ** degree
                    inner = sum(
                        math.prod(p ** (2 * a) for p, a in zip(point, powers, strict=True))
                        for point in points
                    )
                    total += orbit.total_weight * Fraction(inner, length * len(points))
                # E Π w_i^{2a_i} = Π (2a_i − 1)!! / Π_{i<n} (d + 2i)
                odd = math.prod(math.prod(range(1, 2 * a, 2)) for a in powers)
                assert total == Fraction(odd, math.prod(dimension + 2 * i for i in range(degree)))


def test_a_changed_weight_is_caught() -> None:
    rule = candidates(5, 3)[0]
    first, *rest = rule.orbits
    spoilt = Orbit(first.generator, first.total_weight + Fraction(1, 10**9))
    assert any(residuals(Cubature(5, 3, (spoilt, *rest))))


@pytest.mark.parametrize(("half_degree", "most"), [(2, 100), (3, 580), (4, 2440)])
def test_directions_in_dimension_ten(half_degree: int, most: int) -> None:
    assert math.comb(9 + half_degree, half_degree) <= candidates(10, half_degree)[0].count <= most


@pytest.mark.parametrize(("dimension", "half_degree"), [(2, 5), (3, 5), (5, 3), (10, 2)])
def test_listed_directions_integrate_even_powers(dimension: int, half_degree: int) -> None:
    x = np.random.default_rng(0).standard_normal(dimension)
    x /= np.linalg.norm(x)
    for rule in candidates(dimension, half_degree):
        count, total = 0, np.zeros(half_degree + 1)
        for indices, values, weight in rule.directions():
            t = (x[indices] * values).sum(axis=1)
            total += weight * (t[:, None] ** (2 * np.arange(half_degree + 1))).sum(axis=0)
            count += len(t)
            np.testing.assert_allclose((values**2).sum(axis=1), 1, rtol=4e-16)
        assert count == rule.count
        known = [float(sphere_moment(dimension, (j,))) for j in range(half_degree + 1)]
        tolerance = rule.weight_sum * dimension * half_degree * 1e-15
        np.testing.assert_allclose(total, known, rtol=0, atol=tolerance)


def test_orbits_hold_one_of_each_antipodal_pair() -> None:
    for indices, values, _ in candidates(4, 3)[0].directions():
        dense = np.zeros((len(indices), 4))
        np.put_along_axis(dense, indices, values, axis=1)
        both = np.concatenate([dense, -dense])
        assert len(np.unique(both.round(12), axis=0)) == len(both)


def test_known_constants() -> None:
    # On S², E w_1² = 1/3, E w_1⁴ = 1/5, E w_1² w_2² = 1/15.
    assert sphere_moment(3, (1,)) == Fraction(1, 3)
    assert sphere_moment(3, (2,)) == Fraction(1, 5)
    assert sphere_moment(3, (1, 1)) == Fraction(1, 15)
    assert ridge_constant(3, 2) == 5
    assert orbit_size((2, 1), 3) == 12
