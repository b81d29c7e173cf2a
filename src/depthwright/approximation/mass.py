"""Minimal mass: the smallest total weight of averaged hinges that gives a radial profile.

*Averaged hinge.* h_b(t) = max(abs(t) − b, 0) and, w uniform on the sphere S^{d−1},

    (T h_b)(r) = E h_b(r·w_1) = r·(E abs(w_1))·(1 − s²)^p − b·P(abs(w_1) > s),

s = min(b/r, 1), p = (d − 1)/2, P(abs(w_1) > s) = I_{1−s²}(p, ½) (regularised incomplete beta).
It is convex in r, with slope E abs(w_1)·(1 − s²)^p, and convex in b, with slope −P(abs(w_1) > s).

*Program.* M_ε(ϕ, d) = min Σ_k abs(a_k) over finitely many knots b_k in [0, 1), subject to
abs(a_∞ + Σ_k a_k T h_{b_k}(r) − ϕ(r)) ≤ ε for all r in [0, 1].

*Dual.* The largest ∫ϕ dμ − ε·‖μ‖ over signed measures μ on [0, 1] with ∫dμ = 0 and
abs(∫ T h_b dμ) ≤ 1 for every b in [0, 1). Every feasible μ gives a lower bound on M_ε.

Both are solved together by exchange: a small linear program on a few radii and knots, to which
the radii that violate the primal and the knots that violate the dual are added until there are
none. What is returned is then certified between the samples (`enclosure`): the residual of the
primal, and the dual value divided by sup_b abs(∫ T h_b dμ).

A price on the knots (`price(b)`, default 1) turns mass into another cost, for constructions.

Source: ours; the averaging is SES19's reason why radial functions need so much.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from depthwright.approximation.enclosure import Samples, sup_abs
from depthwright.refusal import Refusal
from depthwright.targets.radial import Radial

EPS = float(np.finfo(np.float64).eps)
ROUNDING = 64 * EPS
"""Relative error of the two terms of T h_b as computed here, up to d = 1000; tested."""
START_KNOTS, START_RADII = 48, 96
SEARCH_POINTS = 3001
"""Grid on which violations are looked for, before each is refined."""
LARGEST_ARRAY = 1 << 22
"""Entries of radii × knots held at once."""
MOST_EXCHANGES = 40
SMALLEST_ERROR = 1e-9
"""The program never has less slack than this times the Lipschitz constant."""
MOST_ADDED = 24
"""Most violations of a kind that one exchange repairs, the worst first."""
SMALLEST_COLUMN = 1e-11
"""Knots b with T h_b(1) below this stay out of the program: float64 cannot use them."""


@cache
def mean_size(dimension: int) -> float:
    """E abs(w_1) = Γ(d/2)/(√π Γ((d+1)/2)), w uniform on S^{d−1}; E abs(w·x) = this·‖x‖.

    By E_{d+2} = E_d·d/(d + 1), since differences of log-gammas lose three digits at d = 1000.
    """
    start = 3 if dimension % 2 else 2
    first = 0.5 if dimension % 2 else 2 / math.pi
    return math.prod((d / (d + 1) for d in range(start, dimension, 2)), start=first)


def _cap(knot: Any, radius: Any) -> np.ndarray:
    """y = 1 − min(b/r, 1)², without cancellation."""
    knot, radius = np.asarray(knot, dtype=np.float64), np.asarray(radius, dtype=np.float64)
    inside = radius > knot
    s = np.divide(knot, radius, out=np.ones(np.broadcast(knot, radius).shape), where=inside)
    return (1 - s) * (1 + s)


def exceeds(knot: Any, radius: Any, dimension: int) -> np.ndarray:
    """P(abs(r·w_1) > b) = −∂/∂b (T h_b)(r)."""
    from scipy.special import betainc

    return betainc((dimension - 1) / 2, 0.5, _cap(knot, radius))


def slope(knot: Any, radius: Any, dimension: int) -> np.ndarray:
    """∂/∂r (T h_b)(r) = E abs(w_1)·(1 − s²)^p; its limit from the right at r = 0."""
    y = _cap(knot, radius)
    y = np.where((np.asarray(radius) == 0) & (np.asarray(knot) == 0), 1.0, y)
    return mean_size(dimension) * y ** ((dimension - 1) / 2)


def averaged_hinge(knot: Any, radius: Any, dimension: int) -> np.ndarray:
    """(T h_b)(r), broadcast over knots b ≥ 0 and radii r ≥ 0.

    Absolute error at most ROUNDING·(r·E abs(w_1) + b).
    """
    from scipy.special import betainc

    y, p = _cap(knot, radius), (dimension - 1) / 2
    value = mean_size(dimension) * radius * y**p - knot * betainc(p, 0.5, y)
    return np.maximum(value, 0.0)


@dataclass(frozen=True)
class RadialSum:
    """r ↦ offset + Σ_k weights[k]·(T h_{knots[k]})(r): what rotations leave of a network."""

    dimension: int
    knots: np.ndarray
    weights: np.ndarray
    offset: float

    @property
    def mass(self) -> float:
        """Σ abs(weights)."""
        return float(np.abs(self.weights).sum())

    def __call__(self, radius: np.ndarray) -> np.ndarray:
        """Values at radii (n,)."""
        return self.offset + self._sums(averaged_hinge, radius, self.weights)[:, 0]

    def _sums(
        self, part: Callable[..., np.ndarray], radius: np.ndarray, *weights: np.ndarray
    ) -> np.ndarray:
        """(n, len(weights)): Σ_k weights[k]·part(b_k, r), a few radii at a time."""
        rows = max(1, LARGEST_ARRAY // max(1, len(self.knots)))
        pieces = np.split(radius, range(rows, len(radius), rows))
        columns = np.stack(weights, axis=1)
        return np.concatenate(
            [part(self.knots, r[:, None], self.dimension) @ columns for r in pieces]
        )

    @property
    def rounding(self) -> float:
        """Bound on what float64 does to a value or a slope of either sign's part."""
        return (ROUNDING + (len(self.knots) + 2) * EPS) * 2 * (self.mass + abs(self.offset))

    def sup_distance(self, target: Radial, tolerance: float = 1e-9) -> tuple[float, float]:
        """(rigorous upper bound on sup over [0, 1] of abs(self − ϕ), about where it is)."""
        signs = np.maximum(self.weights, 0), np.maximum(-self.weights, 0)

        def sample(r: np.ndarray) -> Samples:
            plus, minus = self._sums(averaged_hinge, r, *signs).T
            plus_slope, minus_slope = self._sums(slope, r, *signs).T
            rest = self.offset - np.asarray(target.profile(r), dtype=np.float64)
            return Samples(plus, plus_slope, minus, minus_slope, rest)

        def leaves_chord(h: np.ndarray) -> np.ndarray:
            return np.minimum(target.curvature * h**2 / 8, target.lipschitz * h / 2)

        bound, where = sup_abs(sample, leaves_chord, _cells(target.breaks, 128), tolerance)
        return bound + self.rounding + 8 * EPS * (bound + target.lipschitz), where


def _cells(breaks: np.ndarray, count: int) -> np.ndarray:
    return np.union1d(np.linspace(0.0, 1.0, count + 1), breaks)


@dataclass(frozen=True)
class Minimum:
    """The program's solution, primal and dual."""

    primal: RadialSum
    error: float
    """Rigorous bound on sup abs(primal − ϕ); the ε asked for, up to about 1e-9."""
    cost: float
    """Σ price·abs(weights): the mass where no price was given."""
    radii: np.ndarray
    """Support of the dual measure μ, …"""
    measure: np.ndarray
    """… and its weights, which sum to 0."""
    floor: float
    """Rigorous lower bound on the minimum at the ε asked for, from the dual."""


def minimum(
    target: Radial,
    error: float,
    price: Callable[[np.ndarray], np.ndarray] | None = None,
    gap: float = 1e-7,
) -> Minimum:
    """M_ε for ε = `error`, by exchange until primal and dual are violated by a share `gap` at most.

    However coarse the gap, `Minimum.error` and `Minimum.floor` are certified for what is returned.
    """
    d = target.input_dim
    if d < 2:
        raise Refusal(
            f"input_dim={d} has no rotations to average over; minimal mass needs input_dim ≥ 2"
        )
    if not (math.isfinite(error) and error >= 0):
        raise Refusal(f"error={error} is not a number ≥ 0")
    # A program without slack has no interior; a floor from slightly more slack is still a floor.
    slack = max(error, SMALLEST_ERROR * target.lipschitz)
    knots, radii = _start(target)
    grid = _cells(target.breaks, SEARCH_POINTS - 1)
    knot_grid = np.union1d(np.linspace(0, knots[-1], SEARCH_POINTS), _scaled(d, knots[-1], 2000))
    prices = _ones if price is None else price
    for _ in range(MOST_EXCHANGES):
        weights, offset, measure = _solve(target, slack, knots, radii, prices(knots))
        used, charged = np.flatnonzero(weights), np.flatnonzero(measure)
        primal = RadialSum(d, knots[used], weights[used], offset)
        violation = np.abs(primal(grid) - target.profile(grid)) - slack
        constraint = averaged_hinge(knot_grid[:, None], radii[charged], d) @ measure[charged]
        excess = np.abs(constraint) / prices(knot_grid) - 1
        new_radii = _peaks(grid, violation, max(gap * (slack + 1e-3), 1e-9))
        new_knots = _peaks(knot_grid, excess, gap)
        before = len(knots) + len(radii)
        radii, knots = np.union1d(radii, new_radii), np.union1d(knots, new_knots)
        if len(knots) + len(radii) == before:
            break
        grid, knot_grid = _refined(grid, new_radii), _refined(knot_grid, new_knots)
    primal = _merged(primal)
    floor, radii, measure = _floor(target, error, radii[charged], measure[charged], price)
    return Minimum(
        primal=primal,
        error=primal.sup_distance(target)[0],
        cost=float(prices(primal.knots) @ np.abs(primal.weights)),
        radii=radii,
        measure=measure,
        floor=floor,
    )


def _ones(knots: np.ndarray) -> np.ndarray:
    return np.ones_like(knots)


def _scaled(dimension: int, last: float, count: int) -> np.ndarray:
    """Knots on the scale 1/√d, on which w_1 lives."""
    return np.linspace(0, min(last, 8 / math.sqrt(dimension)), count)


def _start(target: Radial) -> tuple[np.ndarray, np.ndarray]:
    """Knots up to the last one that float64 can use, and radii, breaks of the profile included."""
    d = target.input_dim
    fine = np.linspace(0, 1, 1001)[:-1]
    last = float(fine[averaged_hinge(fine, 1.0, d) > SMALLEST_COLUMN][-1])
    knots = np.union1d(np.linspace(0, last, START_KNOTS), _scaled(d, last, START_KNOTS))
    radii = (1 - np.cos(np.linspace(0, math.pi, START_RADII + 1))) / 2
    return knots, np.union1d(radii, target.breaks)


def _solve(
    target: Radial, error: float, knots: np.ndarray, radii: np.ndarray, prices: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray]:
    """Weights of the knots, the constant, and the dual measure on the radii."""
    from scipy.optimize import linprog

    matrix = averaged_hinge(knots, radii[:, None], target.input_dim)
    phi = np.asarray(target.profile(radii), dtype=np.float64)
    # In units of each knot's largest value the columns are alike.
    scale = matrix.max(axis=0)
    matrix = matrix / scale
    ones = np.ones((len(radii), 1))
    solution = linprog(
        np.concatenate([prices / scale, prices / scale, [0.0]]),
        A_ub=np.block([[matrix, -matrix, ones], [-matrix, matrix, -ones]]),
        b_ub=np.concatenate([phi + error, error - phi]),
        bounds=[(0, None)] * (2 * len(knots)) + [(None, None)],
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if solution.status != 0:
        raise Refusal(
            f"error={error:.3g} is too small for a minimal-mass program of this profile in "
            f"float64 (input_dim={target.input_dim}: {solution.message.split('.')[0]}); "
            "ask for a larger one"
        )
    n, m = len(knots), len(radii)
    marginals = solution.ineqlin.marginals
    weights = (solution.x[:n] - solution.x[n : 2 * n]) / scale
    return weights, float(solution.x[-1]), marginals[:m] - marginals[m:]


def _peaks(grid: np.ndarray, height: np.ndarray, level: float) -> np.ndarray:
    """Where `height` has local maxima above `level`, refined by the parabola through three."""
    padded = np.pad(height, 1, constant_values=-np.inf)
    peaks = np.flatnonzero((height > level) & (height >= padded[:-2]) & (height >= padded[2:]))
    found = []
    for i in peaks[np.argsort(-height[peaks])][:MOST_ADDED]:
        found.append(grid[i])
        if 0 < i < len(grid) - 1:
            (a, b, c), (u, v, w) = grid[i - 1 : i + 2], height[i - 1 : i + 2]
            left, right = (v - u) / (b - a), (w - v) / (c - b)
            if left > right:
                vertex = (a + b) / 2 + left / (left - right) * (c - a) / 2
                if a < vertex < c:
                    found.append(vertex)
    return np.array(found)


def _refined(grid: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The grid with these points and the middles of the cells around them."""
    grid = np.union1d(grid, points)
    at = np.searchsorted(grid, points)
    left, right = np.maximum(at - 1, 0), np.minimum(at + 1, len(grid) - 1)
    return np.union1d(grid, np.concatenate([(grid[left] + points) / 2, (grid[right] + points) / 2]))


def _merged(primal: RadialSum) -> RadialSum:
    """Knots of one sign closer than 1e-6 to each other, made one of the same weight and moment."""
    order = np.argsort(primal.knots)
    knots: list[float] = []
    weights: list[float] = []
    for knot, weight in zip(primal.knots[order], primal.weights[order], strict=True):
        if knots and knots[-1] > 0 and weight * weights[-1] > 0 and knot - knots[-1] < 1e-6:
            total = weights[-1] + weight
            knots[-1] = (knots[-1] * weights[-1] + knot * weight) / total
            weights[-1] = total
        else:
            knots.append(float(knot))
            weights.append(float(weight))
    return RadialSum(primal.dimension, np.array(knots), np.array(weights), primal.offset)


def _floor(
    target: Radial,
    error: float,
    radii: np.ndarray,
    measure: np.ndarray,
    price: Callable[[np.ndarray], np.ndarray] | None,
) -> tuple[float, np.ndarray, np.ndarray]:
    """Rigorous lower bound from a measure made feasible: (bound, its radii, its weights).

    T h_b vanishes at r = 0, so a point mass there balances μ without touching the constraint.
    Only the unit price is certified; for others the bound is the trivial 0.
    """
    d = target.input_dim
    if price is not None or not len(radii):
        return 0.0, radii, measure
    measure = np.append(measure[radii > 0], 0.0)
    radii = np.append(radii[radii > 0], 0.0)
    measure[-1] = -math.fsum(measure)
    plus, minus = np.maximum(measure, 0), np.maximum(-measure, 0)

    def sample(b: np.ndarray) -> Samples:
        hinges = averaged_hinge(b[:, None], radii, d)
        slopes = -exceeds(b[:, None], radii, d)
        return Samples(
            hinges @ plus, slopes @ plus, hinges @ minus, slopes @ minus, np.zeros_like(b)
        )

    total = float(np.abs(measure).sum())
    rounding = (2 * ROUNDING + (len(radii) + 2) * EPS) * total
    start = np.union1d(np.linspace(0, 1, 257), _scaled(d, 1.0, 257))
    largest = sup_abs(sample, np.zeros_like, start, 1e-9)[0] + rounding
    phi = np.asarray(target.profile(radii), dtype=np.float64)
    # The constant a_∞ of a network within ε is at most abs(ϕ(0)) + ε, its value at r = 0.
    slack = 8 * EPS * total * (float(np.abs(phi).max()) + target.lipschitz + error)
    value = math.fsum(measure * phi) - error * total - slack
    return max(0.0, value / largest * (1 - 4 * EPS)), radii, measure
