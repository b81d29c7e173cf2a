"""Cubature on S²: Gauss–Legendre in height times equispaced angles, for any even degree 2K.

*Rule.* E_w F(w) = Σ_i A_i F(w_i) for every even polynomial F of degree ≤ 2K: K + 1 Gauss–Legendre
heights, exact for the mean over each circle, which is a polynomial of degree ≤ 2K in the height;
2K + 1 equispaced angles on a circle of height z > 0, which leave of the harmonics e^{ikφ},
abs(k) ≤ 2K, only k = 0. The circles at −z hold the antipodes and are left out; the equator, there
for even K, keeps K + 1 angles of a half turn.

*Size.* About K² + 3K/2 + 1 directions, twice the lower bound (K + 1)(K + 2)/2; all weights are
positive and sum to 1. Nodes and weights are computed to 40 digits and rounded once: the rule is
exact; its rounding is a part of the network's rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

DIGITS = 40


@dataclass(frozen=True)
class ProductRule:
    """Directions on S² and weights A_i, exact for even polynomials of degree ≤ 2·half_degree."""

    half_degree: int
    dimension: int = 3

    @property
    def count(self) -> int:
        """Number of directions, one per antipodal pair."""
        circles, equator = divmod(self.half_degree + 1, 2)
        return circles * (2 * self.half_degree + 1) + equator * (self.half_degree + 1)

    @property
    def shapes(self) -> list[tuple[int, int, float]]:
        """(directions, nonzeros of each, Σ abs(A_i)): upper bounds for every group."""
        return [(self.count, 3, 1.0)]

    @property
    def weight_sum(self) -> float:
        """Σ abs(A_i) = Σ A_i."""
        return 1.0

    def directions(self) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
        """Per circle: coordinates (n, 3), their values (n, 3) of norm 1, and the weight A_i."""
        mp = _arithmetic()
        for height, weight in _heights(self.half_degree + 1):
            equator = height == 0
            n = self.half_degree + 1 if equator else 2 * self.half_degree + 1
            turn = (1 if equator else 2) / mp.mpf(n)
            radius = mp.sqrt(1 - height**2)
            rows = [
                (radius * mp.cospi(i * turn), radius * mp.sinpi(i * turn), height) for i in range(n)
            ]
            values = np.array([[float(v) for v in row] for row in rows])
            # A circle at z > 0 stands for the one at −z as well: half of twice its weight.
            share = weight / 2 if equator else weight
            yield np.tile(np.arange(3), (n, 1)), values, float(share / n)


def half_circle(count: int) -> np.ndarray:
    """(count, 2) equispaced directions with angles in [0, π), each rounded once."""
    mp = _arithmetic()
    turns = [mp.mpf(i) / count for i in range(count)]
    return np.array([[float(mp.cospi(t)), float(mp.sinpi(t))] for t in turns])


@cache
def _arithmetic() -> Any:
    """mpmath with this many digits, in a context of its own: all threads share the global one."""
    import mpmath

    own = mpmath.MPContext()
    own.dps = DIGITS
    return own


def _heights(count: int) -> list[tuple[Any, Any]]:
    """Gauss–Legendre nodes z ≥ 0 on [−1, 1] with their weights."""
    mp = _arithmetic()
    found = []
    for k in range((count + 1) // 2):
        z = mp.cos(mp.pi * (k + mp.mpf(3) / 4) / (count + mp.mpf(1) / 2))
        if 2 * k + 1 == count:
            z = mp.mpf(0)
        for _ in range(math.ceil(math.log2(DIGITS)) + 1):
            value, slope = _legendre(count, z)
            z -= value / slope
        slope = _legendre(count, z)[1]
        found.append((z, 2 / ((1 - z**2) * slope**2)))
    return found


def _legendre(degree: int, z: Any) -> tuple[Any, Any]:
    """P_n(z) and P_n'(z), abs(z) < 1."""
    before, value = 1, z
    for n in range(2, degree + 1):
        before, value = value, ((2 * n - 1) * z * value - (n - 1) * before) / n
    return value, degree * (before - z * value) / (1 - z**2)
