"""Directions on the sphere S^{d−1}: random orthonormal frames, and frames spread further apart.

*Frames.* The rows of a uniform orthogonal matrix. Each row is uniform, so means are unbiased; a
frame integrates quadratic forms exactly, so the degree-2 part of any even function adds nothing to
the variance. For the cone that part is 88 % of it.

*Spreading.* Gradient descent on Σ_{i≠j} k(w_i·w_j) with k(t) = E abs(u·w)abs(u·v) up to a
constant, the energy whose minimum makes (1/n) Σ_i abs(w_i·u) most nearly constant in L2. No law is
left, and so no claim that rests on one.
"""

from __future__ import annotations

import math

import numpy as np

AT_ONCE = 2**18
"""Entries of the frames that are drawn together."""
SPREADING_STEPS = 120
SPREADING_LIMIT = 5e9
"""Largest n²·d that is spread, about a minute on a core: a step takes two such products."""


def frames(count: int, dimension: int, rng: np.random.Generator) -> np.ndarray:
    """(count, dimension) rows of independent uniform orthogonal matrices, the last one cut."""
    rows = np.empty((-(-count // dimension), dimension, dimension))
    at_once = max(1, AT_ONCE // dimension**2)
    for start in range(0, len(rows), at_once):
        some = rows[start : start + at_once]
        q, r = np.linalg.qr(rng.standard_normal(some.shape))
        some[:] = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None]
    return rows.reshape(-1, dimension)[:count]


def spread(directions: np.ndarray) -> np.ndarray:
    """The same directions (n, d) after repulsion; unchanged where that would take too long."""
    n, d = directions.shape
    if n * n * d > SPREADING_LIMIT or n < 2:
        return directions
    w: np.ndarray = directions.astype(np.float32)
    velocity = np.zeros_like(w)
    for step in range(SPREADING_STEPS):
        cosines = (w @ w.T).clip(-1, 1)
        np.fill_diagonal(cosines, 0.0)
        # k'(t) is a multiple of asin t; the component along w has no effect.
        pull = np.arcsin(cosines) @ w * (2 * d / n)
        pull -= (pull * w).sum(axis=1, keepdims=True) * w
        velocity = 0.8 * velocity - 0.02 * (1 - step / SPREADING_STEPS) * pull
        w = w + velocity
        w /= np.linalg.norm(w, axis=1, keepdims=True)
    exact = w.astype(np.float64)
    return exact / np.linalg.norm(exact, axis=1, keepdims=True)


def even_spiral(count: int) -> np.ndarray:
    """(count, 3) directions of one hemisphere of S², Fibonacci's spiral: one per antipodal pair."""
    height = (np.arange(count) + 0.5) / count
    angle = np.arange(count) * math.pi * (3 - math.sqrt(5))
    flat = np.sqrt(1 - height**2)
    return np.stack([flat * np.cos(angle), flat * np.sin(angle), height], axis=1)


def even_circle(count: int) -> np.ndarray:
    """(count, 2) equispaced directions of a half circle."""
    angle = np.arange(count) * (math.pi / count)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def even(count: int, dimension: int, rng: np.random.Generator) -> np.ndarray:
    """The most even directions known: equispaced, a spiral, or frames after repulsion."""
    if dimension == 2:
        return even_circle(count)
    if dimension == 3:
        return even_spiral(count)
    return spread(frames(count, dimension, rng))
