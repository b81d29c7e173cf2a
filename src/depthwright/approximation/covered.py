"""Directions added until a covering of the ball proves the accuracy, in low dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from depthwright.approximation.covering import MOST_CUBES, MOST_WORK, TooFine, certify
from depthwright.approximation.directions import even
from depthwright.approximation.levelling import Hinges, level
from depthwright.approximation.mass import RadialSum
from depthwright.refusal import Refusal
from depthwright.targets.radial import Radial

MOST_DIRECTIONS = 20_000
"""Most directions per knot for which a covering is tried."""
GROWTH = 1.15
"""Factor between two tried numbers of directions."""
MOST_GIVEN_UP = 2
"""Number of coverings that may be too fine before the accuracy is refused."""


@dataclass(frozen=True)
class Covered:
    """A network's hinges, and a proved bound on its sup error on the ball, without rounding."""

    hinges: list[Hinges]
    offset: float
    bound: float


def covered(
    primal: RadialSum,
    target: Radial,
    accuracy: float,
    seed: int,
    rounding: Callable[[list[Hinges], float], float],
    step: Callable[[float, str], None],
) -> Covered:
    """The fewest directions tried with which bound and twice the rounding are within `accuracy`.

    `primal`: a sum of averaged hinges near the profile. `rounding(hinges, offset)`: what float64
    evaluation adds. `step` receives the progress of the search.
    """
    d = target.input_dim
    first, given_up = 2.0 * d, 0
    count = first if len(primal.knots) else math.inf
    while count <= MOST_DIRECTIONS:
        rng = np.random.default_rng(seed)
        hinges = _spread(primal, count, rng)
        hinges, offset, worst = level(hinges, primal.offset, target, rng)
        drawn = sum(len(h.weights) for h in hinges)
        part = math.log(count / first) / math.log(MOST_DIRECTIONS / first)
        text = f"{drawn:,} directions: error {worst:.3g}, asked {accuracy:.3g}"
        step(part, text)
        count *= GROWTH
        if worst > accuracy:
            continue
        goal = accuracy - 2 * rounding(hinges, offset)
        if goal <= 0:
            break

        def examined(cubes: int, part: float = part, text: str = text) -> None:
            step(part, f"{text}, {cubes:,} cubes")

        try:
            bound = certify(hinges, offset, target, goal, examined)
        except TooFine:
            given_up += 1
            if given_up < MOST_GIVEN_UP:
                continue
            raise Refusal(
                f"accuracy={accuracy} in input_dim={d}: {drawn:,} directions are within "
                f"{worst:.3g} of this profile where they were attacked, but proving it would take "
                f"more than {MOST_CUBES:,} cubes, or {MOST_WORK:,} cubes times neurons; ask for a "
                "larger accuracy, or set "
                "failure_probability > 0"
            ) from None
        if math.isfinite(bound):
            return Covered(hinges, offset, bound)
    raise Refusal(
        f"accuracy={accuracy} was not certified with {MOST_DIRECTIONS} directions a knot in "
        f"input_dim={d}; ask for a larger one, or set failure_probability > 0"
    )


def _spread(primal: RadialSum, count: float, rng: np.random.Generator) -> list[Hinges]:
    """Directions as evenly spread as possible, at each knot in proportion to its weight."""
    hinges = []
    share = np.abs(primal.weights) / np.abs(primal.weights).max()
    for knot, weight, part in zip(primal.knots, primal.weights, share, strict=True):
        directions = even(max(primal.dimension, int(count * part)), primal.dimension, rng)
        n = len(directions)
        hinges.append(Hinges(directions, float(knot), np.full(n, weight / n)))
    return hinges
