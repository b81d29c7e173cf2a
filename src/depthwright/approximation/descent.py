"""Depth-2 networks that descend, from a construction, to a smaller error: no claim is left.

*Mean square.* All parameters by L-BFGS at one fixed sample, from several starts where the network
is small: the construction's own neurons; kinks at 0 in even directions; kinks drawn inside the
ball. The best one after FIRST_STEPS goes on. Networks with more parameters than the sample can
hold keep their neurons, and the output weights alone are solved for.

*Largest error.* Rounds of attack and descent: the points met go into a pool, and a p-norm of the
pool's errors, p rising, with a share of the root mean square, descends by a few steps. The best
network of all rounds is kept.

No step is random but for the points; the same seed gives the same network.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from depthwright.approximation.directions import spread
from depthwright.approximation.neurons import START_RIDGE, Neurons, least_squares, profile, sample
from depthwright.targets.radial import Radial

Progress = Callable[[float, str], None]
POINTS_PER_PARAMETER, FEWEST_POINTS, MOST_POINTS = 25, 6_000, 40_000
LEAST_PER_PARAMETER = 4
POINTS_PER_WEIGHT = 20
"""Least number of points per output weight where nothing else is solved for."""
FIRST_STEPS, RACE = 40, 3
MOST_STEPS = 1000
WORK = 6e10
"""Multiply-adds of a descent of the mean square, half a minute on a core."""
SMALL = 1000
"""Parameters up to which several starts are tried."""
REACH = 0.6
"""Largest distance of a drawn kink from the origin."""
DRAWS = 17
MEMORY = 25
"""Pairs that L-BFGS keeps."""
SMALL_ROUNDS, ROUNDS = 24, 100
SMALL_MIXED_ROUNDS, MIXED_ROUNDS = 12, 8
"""Where the mean square counts as well."""
ROUND_STEPS, ATTACK_STEPS = 10, 60
DAMPING = 0.5
"""Part of a round's way that is gone: its points are few, and beside them errors rise."""
FIRST_POWER, LAST_POWER = 20.0, 90.0
ATTACK_WORK = 6e12
"""Multiply-adds of all rounds of attack and descent."""
MOST_STARTS, POOL = 512, 6000


@dataclass(frozen=True)
class Objective:
    """share·(root mean square at `law`) + (p-norm of the errors in `pool`), either may be empty."""

    law: np.ndarray
    pool: np.ndarray
    target: Radial
    share: float
    power: float

    def minimise(self, start: Neurons, steps: int) -> tuple[Neurons, float]:
        """L-BFGS in (w, b, a) scaled so that a neuron's inner and outer weight are equal."""
        from scipy.optimize import minimize

        n, d = start.weight.shape
        points = np.concatenate([self.law, self.pool])
        wanted = profile(self.target, points).astype(np.float32)
        x = points.astype(np.float32)
        scale = np.sqrt(np.maximum(np.abs(start.outer), 1e-9))
        sign = np.where(start.outer < 0, -1.0, 1.0)
        first = [(start.weight * scale[:, None]).ravel(), start.bias * scale, scale * sign]

        def value(theta: np.ndarray) -> tuple[float, np.ndarray]:
            w, b, a, c = _parts(theta.astype(np.float32), n, d)
            z = x @ w.T
            z += b
            on = (z > 0).astype(np.float32)
            np.maximum(z, 0, out=z)
            error = z @ a + c - wanted
            total, slope = self._of(error)
            weighted = on.T @ np.column_stack([x * slope[:, None], slope])
            weighted *= a[:, None]
            pieces = [weighted[:, :-1].ravel(), weighted[:, -1], slope @ z, [slope.sum()]]
            return total, np.concatenate(pieces).astype(np.float64)

        found = minimize(
            value,
            np.concatenate([*first, [start.offset]]),
            jac=True,
            method="L-BFGS-B",
            options={
                "maxiter": steps, "maxfun": 2 * steps, "maxcor": MEMORY, "ftol": 1e-13, "gtol": 0.0,
            },
        )  # fmt: skip
        w, b, a, c = _parts(found.x, n, d)
        size = np.maximum(np.linalg.norm(w, axis=1), 1e-12)
        return Neurons(w / size[:, None], b / size, a * size, float(c)), float(found.fun)

    def _of(self, error: np.ndarray) -> tuple[float, np.ndarray]:
        """The objective, and its slope in every error."""
        slope, total = np.zeros_like(error), 0.0
        law, pool = error[: len(self.law)], error[len(self.law) :]
        if len(law):
            root = float(np.sqrt(np.mean(law**2))) or 1e-30
            total += self.share * root
            slope[: len(law)] = self.share * law / (root * len(law))
        if len(pool):
            size = np.abs(pool)
            top = float(size.max()) or 1e-30
            powers = (size / top) ** (self.power - 1)
            norm = float(powers @ (size / top)) ** (1 / self.power)
            total += top * norm
            slope[len(law) :] = np.sign(pool) * powers * norm ** (1 - self.power)
        return total, slope


def _parts(
    theta: np.ndarray, n: int, d: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return (
        theta[: n * d].reshape(n, d),
        theta[n * d : n * d + n],
        theta[n * d + n : n * d + 2 * n],
        theta[-1],
    )


def small(neurons: Neurons) -> bool:
    """Whether several starts are tried."""
    n, d = neurons.weight.shape
    return n * (d + 2) + 1 <= SMALL


def descend_mean_square(
    start: Neurons, target: Radial, rng: np.random.Generator, step: Progress
) -> tuple[Neurons, bool]:
    """A network of the same shape and a lower mean square error; whether its neurons moved."""
    n, d = start.weight.shape
    parameters = n * (d + 2) + 1
    few = LEAST_PER_PARAMETER * parameters > MOST_POINTS
    count = POINTS_PER_WEIGHT * n if few else POINTS_PER_PARAMETER * parameters
    x = sample(int(np.clip(count, FEWEST_POINTS, max(MOST_POINTS, POINTS_PER_WEIGHT * n))), d, rng)
    step(0.0, "least squares")
    solved = least_squares(start, target, x)
    if few:
        return solved, False
    objective = Objective(x, np.zeros((0, d)), target, 1.0, 2.0)
    steps = int(min(MOST_STEPS, WORK / (6 * len(x) * n * (d + 6))))
    best = least_squares(start, target, x, START_RIDGE)
    if small(start):
        step(0.2, "several starts")
        part = dataclasses.replace(objective, law=x[::RACE])
        best = least_squares(_race([solved, *_starts(start, rng)], part), target, x, START_RIDGE)
    step(0.4, "descending")
    moved = objective.minimise(best, steps)[0]
    return least_squares(moved, target, x), True


def _race(runners: list[Neurons], objective: Objective) -> Neurons:
    """Successive halving: the better third goes on for three times as many steps."""
    steps = FIRST_STEPS
    runners = [least_squares(s, objective.target, objective.law, START_RIDGE) for s in runners]
    while True:
        runs = [objective.minimise(s, steps) for s in runners]
        runs.sort(key=lambda run: run[1])
        if len(runs) <= 3:
            return runs[0][0]
        runners, steps = [s for s, _ in runs[: -(-len(runs) // 3)]], 3 * steps


def _starts(start: Neurons, rng: np.random.Generator) -> list[Neurons]:
    """Other neurons: kinks at 0, and kinks inside the ball that look outwards."""
    n, d = start.weight.shape
    found = []
    for k in range(1 + DRAWS):
        if d == 2:
            angle = 2 * math.pi * (rng.permutation(n) + rng.random()) / n
            w = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        else:
            w = rng.standard_normal((n, d))
            w = spread(w / np.linalg.norm(w, axis=1, keepdims=True))
        bias = np.asarray(rng.random(n) * -REACH if k else rng.standard_normal(n) * 1e-3)
        found.append(Neurons(w, bias, np.ones(n), 0.0))
    return found


def descend_largest(
    start: Neurons, target: Radial, rng: np.random.Generator, share: float, step: Progress
) -> tuple[Neurons, float]:
    """A network of the same shape with a smaller attacked error, and that error.

    `share` is the weight of the root mean square beside the largest error.
    """
    n, d = start.weight.shape
    few, many = (SMALL_MIXED_ROUNDS, MIXED_ROUNDS) if share else (SMALL_ROUNDS, ROUNDS)
    rounds = few if small(start) else many
    each = ATTACK_WORK / rounds / (n * (d + 6))
    count = int(np.clip(0.3 * each / (4 * ATTACK_STEPS), 64, MOST_STARTS))
    most = int(np.clip(0.3 * each / (6 * ROUND_STEPS), 1000, POOL))
    law = sample(2 * most, d, rng) if share else np.zeros((0, d))
    pool, now = np.zeros((1, d)), start
    best: tuple[float, Neurons] | None = None
    for k in range(rounds + 1):
        sizes = np.abs(now.errors(pool, target))
        worst = pool[np.argsort(-sizes)[: count // 4]]
        at, heights = now.worst(
            target, np.concatenate([now.starts(count, rng), worst]), ATTACK_STEPS
        )
        largest = float(max(heights.max(), sizes.max()))
        mean = float(np.sqrt(np.mean(now.errors(law, target) ** 2))) if share else 0.0
        value = largest + share * mean
        if best is None or value < best[0]:
            best, found = (value, now), largest
        step(k / (rounds + 1), f"attacked error {largest:.3g}")
        if k == rounds:
            break
        pool = np.concatenate([pool, at])
        order = np.argsort(-np.abs(now.errors(pool, target)))
        pool = pool[order[:most]]
        power = FIRST_POWER * (LAST_POWER / FIRST_POWER) ** (k / (rounds - 1))
        moved = Objective(law, pool, target, share, power).minimise(now, ROUND_STEPS)[0]
        now = now.towards(moved, DAMPING)
    assert best is not None
    return best[1], found
