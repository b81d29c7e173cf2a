"""Constants and scales that make a drawn network err as much above its target as below.

A mean of hinges over finitely many directions is too large near them and too small between them.
The scale of each knot and the constant are chosen again by a small linear program: least largest
error on the worst points found by projected ascent, a few rounds of both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from depthwright.targets.radial import Radial

ROUNDS, STEPS, STARTS, FEWEST_STARTS = 4, 100, 256, 16
WORK = 4e10
"""Multiply-adds one ascent may take; it gets fewer starts where it would take more."""
LARGEST = int(WORK / (2 * STEPS * FEWEST_STARTS))
"""Most directions × input_dim: with more, an ascent from the fewest starts would take more."""
STEP_SIZE, SHRINKAGE = 0.05, 1e-3


@dataclass(frozen=True)
class Hinges:
    """x ↦ Σ_i weights[i]·max(abs(w_i·x) − knot, 0)."""

    directions: np.ndarray
    """(n, d) unit vectors."""
    knot: float
    weights: np.ndarray
    """(n,) outer weights."""

    def values(self, x: np.ndarray) -> np.ndarray:
        return np.maximum(np.abs(x @ self.directions.T) - self.knot, 0) @ self.weights

    def values_and_gradients(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(points,) and (points, d)."""
        t = x @ self.directions.T
        bent = np.abs(t) - self.knot
        active = np.sign(t) * (bent > 0) * self.weights
        return np.maximum(bent, 0) @ self.weights, active @ self.directions


def level(
    hinges: list[Hinges],
    offset: float,
    target: Radial,
    rng: np.random.Generator,
    bar: Callable[[float], None] = lambda part: None,
) -> tuple[list[Hinges], float, float]:
    """The same hinges with one new scale per knot, a new constant, and the largest error found.

    `bar` is told the share that is done.
    """
    from scipy.optimize import linprog

    d = target.input_dim
    count = sum(len(h.weights) for h in hinges)
    starts = int(min(STARTS, max(FEWEST_STARTS, WORK / (2 * count * d * STEPS))))
    scales, found = np.ones(len(hinges)), [np.zeros((1, d))]
    best: tuple[float, np.ndarray, float] | None = None
    for done in range(ROUNDS):
        scaled = [
            Hinges(h.directions, h.knot, h.weights * s) for h, s in zip(hinges, scales, strict=True)
        ]
        worst = 0.0
        for half, sign in enumerate((1, -1)):

            def climbed(part: float, before: float = done + half / 2) -> None:
                bar((before + part / 2) / ROUNDS)

            x, height = _climb(scaled, offset, target, _starts(hinges, starts, rng), sign, climbed)
            worst = max(worst, height)
            found.append(x)
        if best is None or worst < best[0]:
            best = (worst, scales, offset)
        points = np.concatenate(found)
        columns = np.stack([*(h.values(points) for h in hinges), np.ones(len(points))], axis=1)
        radii = np.linalg.norm(points, axis=1)
        phi = np.asarray(target.profile(radii), dtype=np.float64)
        slack = np.ones((len(points), 1))
        solution = linprog(
            np.eye(len(hinges) + 2)[-1],
            A_ub=np.block([[columns, -slack], [-columns, -slack]]),
            b_ub=np.concatenate([phi, -phi]),
            bounds=[(None, None)] * (len(hinges) + 1) + [(0, None)],
            method="highs",
        )
        if solution.status != 0:
            break
        scales, offset = solution.x[:-2], float(solution.x[-2])
    assert best is not None
    worst, scales, offset = best
    scaled = [
        Hinges(h.directions, h.knot, h.weights * s) for h, s in zip(hinges, scales, strict=True)
    ]
    return scaled, offset, worst


def _starts(hinges: list[Hinges], count: int, rng: np.random.Generator) -> np.ndarray:
    """Random directions, the network's own, signed sums of a frame; half of each inside the ball.

    A signed sum of an orthonormal frame depends on all of that frame: Σ_i abs(w_i·x) is √d there,
    its maximum. Every second start is one; the others are random and own in turn.
    """
    d = hinges[0].directions.shape[1]
    x = rng.standard_normal((count, d))
    for place in range(count):
        own = hinges[rng.integers(len(hinges))].directions
        if place % 2:
            first = d * rng.integers(-(-len(own) // d))
            frame = own[first : first + d]
            x[place] = rng.choice([-1.0, 1.0], len(frame)) @ frame
        elif place % 4 == 0:
            x[place] = own[rng.integers(len(own))]
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)
    return x * np.where(np.arange(count) % 8 < 4, 1.0, rng.random(count))[:, None]


def _climb(
    hinges: list[Hinges],
    offset: float,
    target: Radial,
    x: np.ndarray,
    sign: int,
    bar: Callable[[float], None],
) -> tuple[np.ndarray, float]:
    """Points of large sign·(N − f) in the ball, by projected ascent, and the largest of them."""
    highest, at = np.full(len(x), -np.inf), x
    rate, decay = STEP_SIZE, SHRINKAGE ** (1 / (STEPS - 1))
    for step in range(STEPS):
        bar(step / STEPS)
        value, gradient = np.full(len(x), offset), np.zeros_like(x)
        for h in hinges:
            v, g = h.values_and_gradients(x)
            value, gradient = value + v, gradient + g
        r = np.linalg.norm(x, axis=1)
        error = sign * (value - target.profile(r))
        inner = np.maximum(r - 1e-6, 0.0)
        steep = (target.profile(r) - target.profile(inner)) / np.maximum(r - inner, 1e-300)
        gradient = sign * (gradient - (steep / np.maximum(r, 1e-12))[:, None] * x)
        higher = error > highest
        highest, at = np.where(higher, error, highest), np.where(higher[:, None], x, at)
        size = np.linalg.norm(gradient, axis=1, keepdims=True)
        x = x + rate * gradient / np.maximum(size, 1e-300)
        x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1.0)
        rate *= decay
    return at, float(highest.max())
