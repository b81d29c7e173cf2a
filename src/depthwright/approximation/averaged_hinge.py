"""The mean of a hinge over all directions.

h_b(t) = max(abs(t) − b, 0) and, w uniform on the sphere S^{d−1},

    (T h_b)(r) = E h_b(r·w_1) = r·(E abs(w_1))·(1 − s²)^p − b·P(abs(w_1) > s),

s = min(b/r, 1), p = (d − 1)/2, P(abs(w_1) > s) = I_{1−s²}(p, ½) (regularised incomplete beta).
It is convex in r, with slope E abs(w_1)·(1 − s²)^p, and convex in b, with slope −P(abs(w_1) > s).
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from depthwright.networks.arithmetic import EPS

ROUNDING = 64 * EPS
"""Relative error of the two terms of T h_b as computed here, up to d = 1000; tested."""


@cache
def mean_size(dimension: int) -> float:
    """E abs(w_1) = Γ(d/2)/(√π Γ((d+1)/2)), w uniform on S^{d−1}; E abs(w·x) = this·‖x‖.

    By E_{d+2} = E_d·d/(d + 1), since differences of log-gammas lose three digits at d = 1000.
    """
    start = 3 if dimension % 2 else 2
    first = 0.5 if dimension % 2 else 2 / math.pi
    return math.prod((d / (d + 1) for d in range(start, dimension, 2)), start=first)


def _shares(knot: Any, radius: Any) -> tuple[np.ndarray, np.ndarray]:
    """s = min(b/r, 1) and y = 1 − s², without cancellation."""
    knot, radius = np.asarray(knot, dtype=np.float64), np.asarray(radius, dtype=np.float64)
    shape, inside = np.broadcast(knot, radius).shape, radius > knot
    s = np.divide(knot, radius, out=np.ones(shape), where=inside)
    less = np.divide(radius - knot, radius, out=np.zeros(shape), where=inside)
    return s, less * (1 + s)


def _chance(s: np.ndarray, y: np.ndarray, p: float) -> np.ndarray:
    """P(abs(w_1) > s). I_y(p, ½) magnifies the rounding of y by p: harmless where it is small."""
    from scipy.special import betainc

    chance, near = np.empty_like(s), (s < 0.5) & (p * s**2 < 3.0)
    chance[near] = 1 - betainc(0.5, p, s[near] ** 2)
    chance[~near] = betainc(p, 0.5, y[~near])
    return chance


def _decay(s: np.ndarray, y: np.ndarray, p: float) -> np.ndarray:
    """y^p. The power of a number near 1 magnifies its rounding by p, the exponential does not."""
    return np.where(s < 0.5, np.exp(p * np.log1p(-(np.minimum(s, 0.5) ** 2))), y**p)


def slope(knot: Any, radius: Any, dimension: int) -> np.ndarray:
    """∂/∂r (T h_b)(r) = E abs(w_1)·(1 − s²)^p; its limit from the right at r = 0."""
    at_origin = (np.asarray(radius) == 0) & (np.asarray(knot) == 0)
    decay = _decay(*_shares(knot, radius), (dimension - 1) / 2)
    return mean_size(dimension) * np.where(at_origin, 1.0, decay)


def averaged_hinge(knot: Any, radius: Any, dimension: int) -> np.ndarray:
    """(T h_b)(r), broadcast over knots b ≥ 0 and radii r ≥ 0.

    Absolute error at most ROUNDING·(r·E abs(w_1) + b).
    """
    return hinge_and_chance(knot, radius, dimension)[0]


def hinge_and_chance(knot: Any, radius: Any, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """(T h_b)(r) and P(abs(r·w_1) > b) = −∂/∂b (T h_b)(r), which share the expensive part."""
    (s, y), p = _shares(knot, radius), (dimension - 1) / 2
    chance = _chance(s, y, p)
    value = mean_size(dimension) * radius * _decay(s, y, p) - knot * chance
    return np.maximum(value, 0.0), chance
