"""Where a descent of a depth-2 network begins: directions spread, kinks in two rows.

A network near a radial target needs few sorts of kinks; two rows were found to be a good start for
Cone and Hat. Half of the neurons begin at 0 and half at c/√d, and c is the one with the least mean
square error of few neurons, the output weights solved for; or it is the construction's own neurons
that have it.
"""

from __future__ import annotations

import math

import numpy as np

from depthwright.approximation.directions import spread
from depthwright.approximation.neurons import Neurons, least_squares, mean_square, sample
from depthwright.targets.radial import Radial

DISTANCES = (0.3, 0.45, 0.6, 0.75, 0.9, 1.1, 1.4)
"""c, of the kinks that are not at 0."""
FEW = 300
"""Neurons that stand for all when distances are compared."""
POINTS_PER_WEIGHT, FEWEST_POINTS = 10, 6000
SMALL = 1000
"""Parameters up to which there are several starts."""
DRAWS = 12
"""Their number."""
REACH = 0.6
"""Largest distance of a drawn kink from the origin."""
RIDGE = 1e-6
"""Of least squares: a descent would be held up by large weights that cancel."""


def starts(own: Neurons, target: Radial, rng: np.random.Generator) -> list[Neurons]:
    """Neurons like `own`, as many, with output weights solved for; one start unless it is small."""
    n, d = own.weight.shape
    x = sample(max(FEWEST_POINTS, POINTS_PER_WEIGHT * n), d, rng)
    few = x[: max(FEWEST_POINTS, 2 * POINTS_PER_WEIGHT * FEW)]
    chosen = rng.permutation(n)[:FEW]
    rows = two_rows(n, d, rng)
    tried = [least_squares(part(one, chosen), target, few, RIDGE) for one in [own, *rows]]
    order = np.argsort([mean_square(one, target, few) for one in tried], kind="stable")
    found = [[own, *rows][k] for k in order]
    if not is_small(own):
        return [least_squares(found[0], target, x, RIDGE)]
    while len(found) < DRAWS:
        w = directions(n, d, rng)
        found.append(Neurons(w, np.asarray(rng.random(n) * -REACH), np.ones(n), 0.0))
    return [least_squares(one, target, x, RIDGE) for one in found[:DRAWS]]


def is_small(neurons: Neurons) -> bool:
    n, d = neurons.weight.shape
    return n * (d + 2) + 1 <= SMALL


def part(neurons: Neurons, chosen: np.ndarray) -> Neurons:
    return Neurons(
        neurons.weight[chosen], neurons.bias[chosen], neurons.outer[chosen], neurons.offset
    )


def two_rows(n: int, d: int, rng: np.random.Generator) -> list[Neurons]:
    """All kinks at 0; and kinks at 0 and, for a half of the neurons, at a distance, for each."""
    one, two = directions(n, d, rng), [directions(k, d, rng) for k in (n - n // 2, n // 2)]
    far = np.arange(n) >= n - n // 2
    found = [Neurons(one, np.zeros(n), np.ones(n), 0.0)]
    for c in DISTANCES:
        bias = np.where(far, -c / math.sqrt(d), 0.0)
        found.append(Neurons(np.concatenate(two), bias, np.ones(n), 0.0))
    return found


def directions(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """(n, d) unit vectors, even."""
    if d == 2:
        angle = 2 * math.pi * (rng.permutation(n) + rng.random()) / n
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    w = rng.standard_normal((n, d))
    return spread(w / np.linalg.norm(w, axis=1, keepdims=True))
