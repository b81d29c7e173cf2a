"""Depth-2 networks of small mass for radial functions: few knots, random directions.

Statement
    Let f(x) = ϕ(‖x‖) on the unit ball of R^d, d ≥ 2, and let a_1, …, a_K, b_1, …, b_K, a_∞ have
    abs(P(r) − ϕ(r)) ≤ e on [0, 1], P = a_∞ + Σ_k a_k T h_{b_k} (`approximation.mass`: P is the mean
    over directions of a_∞ + Σ_k a_k h_{b_k}(w·x)). With n_k directions for knot k, drawn as
    orthonormal frames, N(x) = a_∞ + Σ_k (a_k/n_k) Σ_i h_{b_k}(w_{k,i}·x) is within
    e + t + L·η of f on the whole ball with probability 1 − δ, where
      · t = inf_μ (ℓ/n + G(±μ))/μ is the deviation at exponent ℓ = d·log(1 + 2/η) + log(1/δ),
        G(μ) = Σ_k (n_k/n)·ψ_k(μ·a_k·n/n_k), ψ_k the log moment generating function per direction
        (`approximation.deviation`), for one x,
      · a net of the ball with (1 + 2/η)^d points carries it everywhere, N − P having the
        Lipschitz constant L ≤ Σ_k abs(a_k)·√d/d + E abs(w_1)·max(Σ a_k⁺, Σ a_k⁻): the gradient of
        one frame is at most √d, since its directions are orthonormal. N − P is even, so half of
        the net serves, which pays for deviations of two signs.

Builds
    depth 2, width = Σ_k c_k·n_k + 2·[some b_k = 0], c_k = 2 for a knot b_k > 0 (σ(±w·x − b)) and
    1 for b_k = 0, where abs(t) = 2σ(t) − t and all linear parts share two neurons.

Claim
    Three kinds, never confused. Where a constant is near enough it is taken, two neurons wide, its
    error bounded for all x.
      · `failure_probability` in (0, 1): norm "drawn", terms program, deviation, net, rounding.
      · `failure_probability` 0, d ≤ 4: norm "sup", certified on the network as drawn by a covering
        of the ball (`approximation.covering`).
      · `width`: a budget, norm "none". Scales and constant are levelled on attacked points.
      · `solved`: it descends (`constructions.solved`), and no proof of the draw outlives that: norm
        "none"; for d ≤ 3 norm "sup", whatever boxes prove (`approximation.branch_and_bound`).

Shapes and arithmetic
    (batch, d) → (batch, 1); float64.

Not in the paper
    All of it: SES19 goes through polynomials and a sampling argument of its own. The program's
    price for a knot is what its neurons cost at equal deviation, √(c_k·variance), not its mass.

Source
    SES19 Theorems 1 and 2 for the question; the construction is ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from depthwright.approximation.averaged_hinge import mean_size
from depthwright.approximation.covered import covered
from depthwright.approximation.deviation import Hinge, joint_exponent
from depthwright.approximation.directions import frames, spread
from depthwright.approximation.levelling import LARGEST, Hinges, level
from depthwright.approximation.mass import SMALLEST_ERROR, Minimum, RadialSum, minimum
from depthwright.approximation.neurons import MOST_SOLVED, MOST_SOLVED_ON_GPU, solvable
from depthwright.constructions.claim import Norm
from depthwright.constructions.construction import Built, Claim, Construction
from depthwright.constructions.hypotheses import check_float_accuracy, check_radial_target
from depthwright.networks.architecture import Architecture
from depthwright.networks.network import Network
from depthwright.networks.ridge import RidgeGroup, RidgeNetwork
from depthwright.progress import Bar
from depthwright.refusal import Refusal, need_one_of, need_probability, need_seed, need_whole
from depthwright.targets.radial import Radial

PROGRAM, LEAST_SQUARES, MINIMAX = "program", "least_squares", "minimax"
SOLVED = (PROGRAM, LEAST_SQUARES, MINIMAX)
FEWEST = 4
"""Neurons of a budget: those of two directions. No more than can be levelled in minutes."""
COVERED_DIMENSIONS = 4
"""Largest input_dim in which the ball is covered."""
MEMORY_LIMIT = 4 * 10**9
"""Largest array of directions that is drawn, in bytes."""
ROUNDING_SHARE = 1e-6
"""Part of the accuracy reserved for rounding; the part that is not needed is not claimed."""
CERTAIN_SHARE = 0.4
"""Part of the accuracy for the program where a covering certifies the rest."""
PROGRAM_GAP = 1e-3
"""Relative gap at which the programs stop; their residuals are certified."""
SPREAD = 2.0
"""A budget is planned for a sup error of SPREAD·√d standard deviations: the best value found."""
TILTS = np.geomspace(1e-2, 1e2, 241)
"""Values of μ·a_k·n/n_k, in units of 1/√d, over which deviations are minimised."""


@dataclass(frozen=True)
class Plan:
    """What is drawn: knots, the number of directions of each, and the error terms."""

    program: Minimum
    counts: np.ndarray
    """(K,) directions per knot."""
    terms: dict[str, float]

    @property
    def width(self) -> int:
        return int(_neurons(self.program.primal.knots) @ self.counts) + _linear(self.program)


def _neurons(knots: np.ndarray) -> np.ndarray:
    """Per direction: one for the knot at 0, two for others."""
    return np.where(knots == 0, 1, 2)


def _linear(program: Minimum) -> int:
    return 2 * int((program.primal.knots == 0).any())


@dataclass(frozen=True)
class SparseRidge(Construction):
    """Depth-2 network near a radial target: a probable claim, a certain one, or a budget."""

    target: Radial
    accuracy: float = 0.1
    failure_probability: float = 1e-3
    """0: a claim without exception, possible for d ≤ 4."""
    width: int | None = None
    """A budget of hidden neurons: the accuracy is only recorded, and a claim may be above it."""
    seed: int = 0
    """Of the directions."""
    solved: str = PROGRAM
    """program: weights of the linear program, claims as above. With a `width`, all parameters
    descend, by Adam: least_squares (the mean square under uniform radius × direction, then the
    largest error beside it) or minimax (the largest error that climbers find, for minutes)."""

    def __post_init__(self) -> None:
        check_float_accuracy(self.accuracy)
        check_radial_target(self.target, type(self).__name__)
        d = self.target.input_dim
        if d < 2:
            raise Refusal(
                f"input_dim={d} has no sphere of directions to average over; "
                "SparseRidge needs input_dim ≥ 2"
            )
        need_probability("failure_probability", self.failure_probability)
        if self.failure_probability == 0 and self.width is None and d > COVERED_DIMENSIONS:
            raise Refusal(
                f"failure_probability=0 asks for a covering of the ball in input_dim={d} "
                f"(limit {COVERED_DIMENSIONS}); set failure_probability > 0, or width for a budget"
            )
        if self.width is not None:
            need_whole("width", self.width, FEWEST, LARGEST // d)
        need_one_of("solved", self.solved, SOLVED)
        if self.solved != PROGRAM and not (self.width and solvable(self.width)):
            raise Refusal(
                f"solved={self.solved!r} does not take width={self.width}; give a "
                f"width up to {MOST_SOLVED} (with a GPU {MOST_SOLVED_ON_GPU})"
            )
        need_seed("seed", self.seed)

    def architecture(self) -> Architecture:
        """From the plan; only a covering (failure_probability = 0) has to build the network."""
        if (constant := self._constant) is not None:
            return constant.network.architecture
        if self._covered:
            return self._certain.network.architecture
        width = self.width if self.solved != PROGRAM and self.width else self._plan.width
        return Architecture.of((self.target.input_dim, width, 1))

    def build(self) -> Built:
        if self._constant is not None:
            return self._constant
        if self._covered:
            return self._certain
        if self.solved != PROGRAM:
            return self._solve()
        plan, target = self._plan, self.target
        memory = 8 * int(plan.counts.sum()) * target.input_dim
        if memory > MEMORY_LIMIT:
            raise Refusal(
                f"accuracy={self.accuracy} in input_dim={target.input_dim} needs "
                f"{memory / 1e9:.3g} GB of directions (limit {MEMORY_LIMIT / 1e9:g} GB); "
                "raise accuracy or lower input_dim"
            )
        rng = np.random.default_rng(self.seed)
        if self.width is not None:
            return self._built(_network(target.input_dim, *self._levelled(rng)), "none", {})
        network = _network(target.input_dim, self._draw(plan, rng), plan.program.primal.offset)
        rounding = {"rounding": network.rounding_bound("float64")}
        built = self._built(network, "drawn", plan.terms | rounding)
        self._check_rounding(built.claim)
        return built

    def _spread(self, rng: np.random.Generator) -> tuple[list[Hinges], float]:
        """Of a budget: the plan's hinges with directions spread, and the offset."""
        drawn = self._draw(self._plan, rng)
        hinges = [Hinges(spread(h.directions), h.knot, h.weights) for h in drawn]
        return hinges, self._plan.program.primal.offset

    def _levelled(self, rng: np.random.Generator) -> tuple[list[Hinges], float]:
        with Bar("levelling the network") as bar:
            return level(*self._spread(rng), self.target, rng, bar)[:2]

    def _solve(self) -> Built:
        from depthwright.constructions.solved import solve

        rng = np.random.default_rng(self.seed)
        begun = self._levelled(rng) if self.solved == MINIMAX else self._spread(rng)
        assert self.width is not None
        network, terms = solve(*begun, self.target, self.width, self.seed, self.solved)
        return self._built(network, "sup" if terms else "none", terms)

    @cached_property
    def _range(self) -> tuple[float, float]:
        """Lowest and highest value of ϕ, sampled."""
        radii = np.union1d(np.linspace(0, 1, 1001), self.target.breaks)
        phi = np.asarray(self.target.profile(radii), dtype=np.float64)
        return float(phi.min()), float(phi.max())

    @property
    def _half_range(self) -> float:
        """The error of the best constant, sampled."""
        low, high = self._range
        return (high - low) / 2

    @cached_property
    def _constant(self) -> Built | None:
        """A constant, where one is accurate enough: two neurons with zero output weights.

        With a budget only where ϕ is constant up to the tolerance of the programs.
        """
        target, d = self.target, self.target.input_dim
        if self.width is not None:
            size = target.lipschitz + max(map(abs, self._range))
            if self._half_range > SMALLEST_ERROR * size:
                return None
        low, high = self._range
        nothing, offset = np.zeros(0), low + (high - low) / 2
        network = _network(d, [Hinges(np.eye(1, d), 0.5, np.zeros(1))], offset)
        if self.width is not None:
            return self._built(network, "none", {})
        if self._half_range > self.accuracy:
            return None
        error = RadialSum(d, nothing, nothing, offset).sup_distance(target)[0]
        terms = {"program": error, "rounding": network.rounding_bound("float64")}
        built = self._built(network, "drawn" if self.failure_probability else "sup", terms)
        return built if built.claim.bound <= self.accuracy else None

    @property
    def _covered(self) -> bool:
        return self.width is None and self.failure_probability == 0

    def _built(self, network: Network, norm: Norm, terms: dict[str, float]) -> Built:
        """The network with a claim for the ball, or with none."""
        domain = self.target.domain
        failure = self.failure_probability if norm == "drawn" else 0.0
        claim = Claim(self.accuracy, norm, str(domain), terms, failure_probability=failure)
        return Built(network, claim, domain=None if norm == "none" else domain)

    def _check_rounding(self, claim: Claim) -> None:
        if not claim.bound <= self.accuracy:
            raise Refusal(
                f"accuracy={self.accuracy} is finer than float64 rounding allows here "
                f"({claim.terms['rounding']:.1e} of {claim.bound:.1e}); ask for a larger one"
            )

    def _draw(self, plan: Plan, rng: np.random.Generator) -> list[Hinges]:
        primal = plan.program.primal
        return [
            Hinges(frames(int(n), self.target.input_dim, rng), float(b), np.full(n, a / n))
            for b, a, n in zip(primal.knots, primal.weights, plan.counts, strict=True)
        ]

    @cached_property
    def _plan(self) -> Plan:
        plans = self._probable() if self.width is None else self._budgeted(self.width)
        best = min(plans, key=lambda found: found[0], default=None)
        if best is None and self.width is not None:
            raise Refusal(
                f"width={self.width} has no direction for each knot that this profile needs in "
                f"input_dim={self.target.input_dim}; give a larger one"
            )
        if best is None:
            raise Refusal(
                f"accuracy={self.accuracy} is out of reach for this profile in input_dim="
                f"{self.target.input_dim} in float64; ask for a larger one"
            )
        return best[1]

    def _programs(self, largest: float) -> Iterator[tuple[Minimum, list[Hinge]]]:
        """Programs from coarse to fine, until float64 fails."""
        d = self.target.input_dim
        price = _price(d)
        for error in largest * np.geomspace(0.9, 0.02, 10):
            try:
                program = minimum(self.target, float(error), price, PROGRAM_GAP)
            except Refusal:
                return
            if len(program.primal.knots):
                yield program, [Hinge.of(float(b), d) for b in program.primal.knots]

    def _budgeted(self, width: int) -> Iterator[tuple[float, Plan]]:
        d = self.target.input_dim
        for program, hinges in self._programs(self._half_range):
            primal = program.primal
            cost = _neurons(primal.knots)
            deviations = np.sqrt([h.frame_variance(d) for h in hinges])
            share = np.abs(primal.weights) * deviations / np.sqrt(cost)
            left = width - _linear(program)
            counts = np.floor(left * share / (share @ cost)).astype(int)
            if (counts < 1).any():
                continue
            # Rounding down leaves a few neurons; they go to the knot with most directions.
            largest = int(counts.argmax())
            counts[largest] += (left - int(cost @ counts)) // cost[largest]
            variance = float(np.sum((primal.weights * deviations) ** 2 / counts))
            yield program.error + SPREAD * math.sqrt(d * variance), Plan(program, counts, {})

    def _probable(self) -> Iterator[tuple[float, Plan]]:
        """Plans whose claim is within the accuracy, with their widths."""
        d = self.target.input_dim
        budget = self.accuracy * (1 - ROUNDING_SHARE)
        for program, hinges in self._programs(min(budget, self._half_range)):
            if (
                plan := _cheapest(program, hinges, budget, d, self.failure_probability)
            ) is not None:
                yield plan.width, plan

    @cached_property
    def _certain(self) -> Built:
        """Shows a progress bar: a steep piece next to the sphere takes minutes."""
        target, d = self.target, self.target.input_dim
        error = min(CERTAIN_SHARE * self.accuracy, self._half_range / 2)
        program = minimum(target, error, _price(d), PROGRAM_GAP)

        def rounding(hinges: list[Hinges], offset: float) -> float:
            return _network(d, hinges, offset).rounding_bound("float64")

        with Bar("covering the ball") as bar:
            found = covered(program.primal, target, self.accuracy, self.seed, rounding, bar)
        network = _network(d, found.hinges, found.offset)
        terms = {"covering": found.bound, "rounding": network.rounding_bound("float64")}
        return self._built(network, "sup", terms)


def _price(dimension: int) -> Callable[[np.ndarray], np.ndarray]:
    """Neurons cost √(neurons a direction · variance) a unit of weight, at equal deviation."""
    table = np.union1d(np.linspace(0, 1, 201)[:-1], np.linspace(0, 8, 201) / math.sqrt(dimension))
    table = table[table < 0.999]
    deviation = np.sqrt([Hinge.of(float(b), dimension).frame_variance(dimension) for b in table])
    floor = 1e-6 * deviation[0]

    def price(knots: np.ndarray) -> np.ndarray:
        at = np.maximum(np.interp(knots, table, deviation), floor)
        return np.sqrt(_neurons(knots)) * at / deviation[0]

    return price


def _network(dimension: int, hinges: list[Hinges], offset: float) -> RidgeNetwork:
    coordinates = np.arange(dimension)
    groups = [
        RidgeGroup(
            np.broadcast_to(coordinates, h.directions.shape),
            h.directions,
            h.weights,
            np.array([h.knot]),
            np.ones(1),
        )
        for h in hinges
    ]
    return RidgeNetwork(dimension, groups, offset)


def _cheapest(
    program: Minimum, hinges: list[Hinge], budget: float, d: int, failure: float
) -> Plan | None:
    """The fewest frames with which program + deviation + net stay within the budget."""
    primal = program.primal
    weights, cost = primal.weights, _neurons(primal.knots)
    lipschitz = _lipschitz(primal)
    share = np.abs(weights) * np.sqrt([h.variance for h in hinges]) / np.sqrt(cost)
    share = share / share.sum()
    tilt = TILTS * math.sqrt(d) / np.max(np.abs(weights) / share)
    exponents = [joint_exponent(primal, hinges, share, sign * tilt) for sign in (1, -1)]
    exponents = [np.where(np.isfinite(g), g, np.inf) for g in exponents]
    best: tuple[float, float, float] | None = None
    for net in (budget - program.error) * np.geomspace(0.02, 0.7, 40):
        t = budget - program.error - net
        log_points = d * math.log1p(2 * lipschitz / net) - math.log(failure)
        rate = min(float(np.max(tilt * t - g)) for g in exponents)
        if rate > 0 and (best is None or log_points / rate < best[0]):
            best = log_points / rate, float(t), float(net)
    if best is None or not math.isfinite(best[0]):
        return None
    counts = d * np.ceil(best[0] * share / d).astype(int)
    terms = {"program": program.error, "deviation": best[1], "net": best[2]}
    return Plan(program, counts, terms)


def _lipschitz(primal: RadialSum) -> float:
    """L: of N for whole orthonormal frames, and of its mean P."""
    weights, d = primal.weights, primal.dimension
    one_sign = max(float(np.maximum(weights, 0).sum()), float(np.maximum(-weights, 0).sum()))
    return primal.mass / math.sqrt(d) + mean_size(d) * one_sign
