"""Minimal mass: the smallest total weight of averaged hinges that gives a radial profile.

*Program.* M_ε(ϕ, d) = min Σ_k abs(a_k) over finitely many knots b_k in [0, 1), subject to
abs(a_∞ + Σ_k a_k T h_{b_k}(r) − ϕ(r)) ≤ ε for all r in [0, 1], T h_b the averaged hinge
(averaged_hinge.py).

*Dual.* The largest ∫ϕ dμ − ε·‖μ‖ over signed measures μ on [0, 1] with ∫dμ = 0 and
abs(∫ T h_b dμ) ≤ 1 for every b in [0, 1). Every feasible μ gives a lower bound on M_ε.

Both are solved together by exchange: a small linear program on a few radii and knots
(`fit_program`), to which the radii that violate the primal and the knots that violate the dual are
added until there are none. Error above ε has a penalty, which grows until there is none: so
each program has an answer, and its measures grow from small to large. What is returned is then
certified between the samples (`enclosure`): the residual of the primal, and the dual value divided
by sup_b abs(∫ T h_b dμ).

A price on the knots (`price(b)`, default 1) turns mass into another cost, for constructions.

Source: ours; the averaging is SES19's reason why radial functions need so much.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from depthwright.approximation.averaged_hinge import (
    ROUNDING,
    averaged_hinge,
    hinge_and_chance,
    mean_size,
    slope,
)
from depthwright.approximation.enclosure import Samples, sup_abs
from depthwright.approximation.exchange import Answer, SemiInfinite
from depthwright.networks.arithmetic import EPS
from depthwright.refusal import Refusal
from depthwright.targets.declared import PROFILE_ROUNDING, check_radial
from depthwright.targets.radial import Radial

Price = Callable[[np.ndarray], np.ndarray]
Support = tuple[np.ndarray, np.ndarray]
"""Knots and radii."""
Report = Callable[[int, float], None]
"""Receives the number of an exchange, and the approximate floor after it."""
START_KNOTS, START_RADII = 48, 96
SEARCH_POINTS = 3001
"""Size of the grid on which violations are sought, before each is refined."""
LARGEST_ARRAY = 1 << 22
"""Entries of radii × knots held at once."""
SMALLEST_ERROR = 1e-9
"""The program never has less slack than this share of the profile's range."""
SMALLEST_COLUMN = 1e-11
"""Knots b with T h_b(1) below this stay out of the program: float64 cannot use them."""
FIRST_PENALTY = 30.0
"""First penalty of excess error, in units of 1/E abs(w_1): the measure of a cone needs 2."""
NEAR = 3e-3
"""Relative distance of the neighbours added to a known support."""
MOST_EXCESS = 0.01
"""A primal that exceeds the wanted error by more than this share is not used."""
BLURRED, MOST_FALLS = 0.25, 2
"""Rounding of a dual's constraint, against 1, above which measures may grow by noise of float64;
and the number of successive floors below half of the best after which the search ends."""
LAST_STEPS = PROFILE_ROUNDING + 8 * EPS
"""Relative rounding of a profile's values, and of a few operations with them."""
SMALLEST_FLOOR = 2.0**-960
"""Below, products underflow."""


@dataclass(frozen=True)
class RadialSum:
    """r ↦ offset + Σ_k weights[k]·(T h_{knots[k]})(r): the mean of a network over all rotations."""

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
        """Bound on the rounding error of float64 in a value or a slope, for either sign's part."""
        return (ROUNDING + (len(self.knots) + 2) * EPS) * 2 * (self.mass + abs(self.offset))

    def sup_distance(self, target: Radial, tolerance: float = 1e-9) -> tuple[float, float]:
        """(rigorous upper bound on sup over [0, 1] of abs(self − ϕ), about where it is)."""
        check_radial(target)
        signs = np.maximum(self.weights, 0), np.maximum(-self.weights, 0)

        def sample(r: np.ndarray) -> Samples:
            plus, minus = self._sums(averaged_hinge, r, *signs).T
            plus_slope, minus_slope = self._sums(slope, r, *signs).T
            rest = self.offset - np.asarray(target.profile(r), dtype=np.float64)
            return Samples(plus, plus_slope, minus, minus_slope, rest)

        def leaves_chord(h: np.ndarray) -> np.ndarray:
            return np.minimum(target.curvature * h**2 / 8, target.lipschitz * h / 2)

        bound, where = sup_abs(sample, leaves_chord, _cells(target.breaks, 128), tolerance)
        return bound + self.rounding + LAST_STEPS * (bound + target.lipschitz), where


def _cells(breaks: np.ndarray, count: int) -> np.ndarray:
    return np.union1d(np.linspace(0.0, 1.0, count + 1), breaks)


@dataclass(frozen=True)
class Minimum:
    """The program's solution, primal and dual."""

    primal: RadialSum
    error: float
    """Rigorous bound on sup abs(primal − ϕ): the wanted ε, up to the gap and about 1e-9."""
    cost: float
    """Σ price·abs(weights): the mass where no price was given."""
    radii: np.ndarray
    """Support of the dual measure μ, …"""
    measure: np.ndarray
    """… and its weights, which sum to 0."""
    floor: float
    """Rigorous lower bound on the minimum at the wanted ε, from the dual."""


@dataclass(frozen=True)
class Floor:
    """A lower bound on M_ε; it holds whether or not the primal was solved."""

    value: float
    """The lower bound, rigorous."""
    settled: bool
    """Whether it equals M_ε up to the gap."""
    support: Support
    """Knots of the primal and radii of the dual: a start for a smaller ε."""


def minimum(target: Radial, error: float, price: Price | None = None, gap: float = 1e-7) -> Minimum:
    """M_ε for ε = `error`, by exchange until primal and dual are violated by a share `gap` at most.

    `Minimum.error` and `Minimum.floor` are certified for the result, with any gap.
    """
    answers = list(_answers(target, error, price or _ones, gap))
    if not answers:
        raise Refusal(
            f"no setting of HiGHS solves a minimal-mass program of this profile (input_dim="
            f"{target.input_dim}, error={error:.3g}); ask for a larger error"
        )
    answer = answers[-1]
    slack = _slack(target, error)
    primal = _merged(target.input_dim, answer, gap * slack)
    reached = primal.sup_distance(target)[0]
    if reached > slack * (1 + MOST_EXCESS):
        raise Refusal(
            f"error={error:.3g} is too small for a minimal-mass program of this profile in "
            f"float64 (input_dim={target.input_dim}: {reached:.3g} was reached); ask for a "
            "larger one"
        )
    # Only the unit price is certified; for others the bound is the trivial 0.
    dual = _Dual.of(target, error, answer.rows, answer.measure)
    floor = dual.floor() if price is None else 0.0
    cost = float((price or _ones)(primal.knots) @ np.abs(primal.weights))
    return Minimum(primal, reached, cost, dual.radii, dual.measure, floor)


def floor(
    target: Radial,
    error: float,
    gap: float,
    start: Support | None = None,
    report_progress: Report | None = None,
) -> Floor:
    """The best lower bound on M_ε that float64 finds, from the support of a larger ε or afresh.

    `report_progress` is called after each exchange with its number and the approximate floor.
    """
    duals, value, fallen, last = [], 0.0, 0, None
    for number, last in enumerate(_answers(target, error, _ones, gap, start), start=1):
        dual = _Dual.of(target, error, last.rows, last.measure)
        if report_progress:
            report_progress(number, max(value, dual.at_most))
        if dual.rounding <= BLURRED or last.settled:
            duals.append(dual)
            continue
        found = dual.floor(value / 2)
        value, fallen = max(value, found), 0 if found > value / 2 else fallen + 1
        if fallen == MOST_FALLS:
            break
    if last is None:
        return Floor(0.0, False, start or _start(target))
    # Where the exchange is cut short, an earlier measure may be better than the last.
    tried = duals[-1:] if last.settled else sorted(duals, key=lambda dual: -dual.at_most)
    for dual in tried:
        value = max(value, dual.floor(value))
    return Floor(value, last.settled, (last.knots, last.rows))


def _answers(
    target: Radial, error: float, prices: Price, gap: float, start: Support | None = None
) -> Iterator[Answer]:
    """Successive solutions, in the profile's own units; the last is the best."""
    check_radial(target)
    d = target.input_dim
    if d < 2:
        raise Refusal(
            f"input_dim={d} has no rotations to average over; minimal mass needs input_dim ≥ 2"
        )
    if not (math.isfinite(error) and error >= 0):
        raise Refusal(f"error={error} is not a number ≥ 0; give the error that is allowed")
    base, height = _range(target)
    knots, radii = _start(target)
    last = knots[-1]
    if start is not None:
        knots = np.union1d(knots, _around(start[0], last))
        radii = np.union1d(radii, _around(start[1], 1.0))
    program = SemiInfinite(
        columns=lambda b, r: averaged_hinge(b, r, d),
        values=lambda r: (np.asarray(target.profile(r), dtype=np.float64) - base) / height,
        prices=prices,
        slack=_slack(target, error) / height,
        knots=knots,
        rows=radii,
        knot_grid=np.union1d(np.linspace(0, last, SEARCH_POINTS), _scaled(d, last, 2000)),
        row_grid=_cells(target.breaks, SEARCH_POINTS - 1),
        penalty=FIRST_PENALTY / mean_size(d) * float(prices(knots).max()),
    )
    for a in program.answers(gap):
        yield replace(a, weights=a.weights * height, offset=a.offset * height + base)


def _range(target: Radial) -> tuple[float, float]:
    """ϕ(0), and the height of the profile on the grid, which is the unit of the program."""
    values = np.asarray(target.profile(_cells(target.breaks, SEARCH_POINTS - 1)), dtype=np.float64)
    height = float(np.ptp(values))
    return float(values[0]), height if height > 0 else float(np.abs(values).max()) or 1.0


def _slack(target: Radial, error: float) -> float:
    """A program without slack has no interior; a floor for slightly more error is still a floor."""
    return max(error, SMALLEST_ERROR * _range(target)[1])


def _ones(knots: np.ndarray) -> np.ndarray:
    return np.ones_like(knots)


def _scaled(dimension: int, last: float, count: int) -> np.ndarray:
    """Knots on the scale 1/√d, which is the scale of w_1."""
    return np.linspace(0, min(last, 8 / math.sqrt(dimension)), count)


def _start(target: Radial) -> Support:
    """Knots up to the last one that float64 can use, and radii, breaks of the profile included."""
    d = target.input_dim
    fine = np.linspace(0, 1, 1001)[:-1]
    last = float(fine[averaged_hinge(fine, 1.0, d) > SMALLEST_COLUMN][-1])
    knots = np.union1d(np.linspace(0, last, START_KNOTS), _scaled(d, last, START_KNOTS))
    radii = (1 - np.cos(np.linspace(0, math.pi, START_RADII + 1))) / 2
    return knots, np.union1d(radii, target.breaks)


def _around(points: np.ndarray, last: float) -> np.ndarray:
    """Points of a support, both neighbours of each, and the middles between them."""
    near = np.concatenate([points, points * (1 - NEAR), points * (1 + NEAR)])
    return np.concatenate([near, (points[1:] + points[:-1]) / 2]).clip(0.0, last)


def _merged(dimension: int, answer: Answer, allowed: float) -> RadialSum:
    """Knots of one sign that lie close, made one of the same weight and moment.

    Two weights at a distance h move the sum by at most mass·h²/8 times the density of abs(r·w_1),
    which is about √d: they are merged where that is below the error allowed.
    """
    mass = float(np.abs(answer.weights).sum())
    close = min(1e-6, math.sqrt(allowed / (mass * math.sqrt(dimension)))) if mass else 0.0
    knots: list[float] = []
    weights: list[float] = []
    for knot, weight in zip(answer.knots, answer.weights, strict=True):
        if knots and knots[-1] > 0 and weight * weights[-1] > 0 and knot - knots[-1] < close:
            total = weights[-1] + weight
            knots[-1] = (knots[-1] * weights[-1] + knot * weight) / total
            weights[-1] = total
        else:
            knots.append(float(knot))
            weights.append(float(weight))
    return RadialSum(dimension, np.array(knots), np.array(weights), answer.offset)


@dataclass(frozen=True)
class _Dual:
    """A measure, and the lower bound on M_ε that it gives once it is made feasible.

    T h_b vanishes at r = 0, so a point mass there balances μ without touching the constraint.
    """

    dimension: int
    radii: np.ndarray
    measure: np.ndarray
    value: float
    """∫ϕ dμ − ε·‖μ‖, rounded down."""

    @classmethod
    def of(cls, target: Radial, error: float, radii: np.ndarray, measure: np.ndarray) -> _Dual:
        """Balanced at the origin."""
        measure = np.append(measure[radii > 0], 0.0)
        radii = np.append(radii[radii > 0], 0.0)
        measure[-1] = -math.fsum(measure)
        total = float(np.abs(measure).sum())
        phi = np.asarray(target.profile(radii), dtype=np.float64)
        # The constant a_∞ of a network within ε is at most abs(ϕ(0)) + ε, its value at r = 0.
        slack = LAST_STEPS * total * (float(np.abs(phi).max()) + target.lipschitz + error)
        value = math.fsum(measure * phi) - error * total - slack
        return cls(target.input_dim, radii, measure, value)

    @property
    def rounding(self) -> float:
        """Rounding error of the computed ∫ T h_b dμ."""
        total = float(np.abs(self.measure).sum())
        return (2 * ROUNDING + (len(self.radii) + 2) * EPS) * total

    @cached_property
    def at_most(self) -> float:
        """An upper bound of `floor()`: the constraint at a few knots alone."""
        largest = float(np.abs(self._sample(_first_knots(self.dimension)).value).max())
        return self._floor(largest + self.rounding)

    def floor(self, above: float = 0.0) -> float:
        """Rigorous: the constraint at all knots; 0 where it is not above `above`."""
        if self.at_most <= above:
            return 0.0
        enough = self.value / above if above else math.inf
        start = _first_knots(self.dimension)
        largest = sup_abs(self._sample, np.zeros_like, start, 1e-9, enough)[0]
        return self._floor(largest + self.rounding)

    def _floor(self, largest: float) -> float:
        found = self.value / largest * (1 - 4 * EPS) if largest else 0.0
        return found if found > SMALLEST_FLOOR else 0.0

    def _sample(self, b: np.ndarray) -> Samples:
        plus, minus = np.maximum(self.measure, 0), np.maximum(-self.measure, 0)
        hinges, chances = hinge_and_chance(b[:, None], self.radii, self.dimension)
        return Samples(
            hinges @ plus, -chances @ plus, hinges @ minus, -chances @ minus, np.zeros_like(b)
        )


def _first_knots(dimension: int) -> np.ndarray:
    return np.union1d(np.linspace(0, 1, 257), _scaled(dimension, 1.0, 257))
