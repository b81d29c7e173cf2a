"""Depth-2 networks for radial functions: polynomial, ridge, cubature, piecewise linear.

Statement
    Let f(x) = ϕ(‖x‖) on the unit ball of R^d, d ≥ 2, ϕ Lipschitz on [0, 1], and ε > 0. A depth-2
    ReLU network computes f up to ε in the sup norm. Its width is polynomial in d for fixed ε and
    polynomial in 1/ε for fixed d (SES19 Theorems 1 and 2), and for ‖x‖^{2k} it is d^{O(k)}
    (SES19 Theorem 3).

Builds
    1. p of degree K with abs(ϕ(r) − p(r²)) ≤ e on [0, 1].
    2. g(t) = Σ_j a_j c_{d,j} t^{2j}, so that p(‖x‖²) = E_w g(w·x), w uniform on the sphere, with
       c_{d,j} = Π_{i<j} (d+2i)/(1+2i).
    3. Directions w_i and weights A_i that replace the mean exactly for even degree 2K.
    4. ĝ piecewise linear and even with M pieces, abs(ĝ − g) ≤ η on [−1, 1].
    The network is Σ_i A_i ĝ(w_i·x): depth 2, width = directions·(M − 1), and 2 more where ĝ has a
    kink at 0. Among the degrees and rules tried, the narrowest network is taken.

Claim
    sup norm on the unit ball, for every x:
    e (polynomial) + 0 (cubature: exact in rationals) + Σ abs(A_i)·η (piecewise_linear) + rounding
    of directions, weights and float64 evaluation.

Shapes and arithmetic
    (batch, d) → (batch, 1); float64 by default. Everything up to the knots of ĝ is exact
    rational arithmetic (the float coefficients of p are dyadic), since the coefficients of g grow
    like d^j and cancel.

Not in the paper
    All sizes: SES19 proves width exp(O(ε⁻⁹ log(d/ε))) with a sampling argument in place of
    step 3. The fully symmetric rules, the equidistributed knots with values of least uniform
    error (half of what interpolation has) and the choice of K are ours.

Source
    SES19, Theorems 1 to 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from depthwright.approximation import piecewise_linear
from depthwright.approximation.bending import BendingProgram
from depthwright.approximation.cubature import Cubature, candidates
from depthwright.approximation.piecewise_linear import EvenPiecewiseLinear
from depthwright.approximation.polynomial import (
    EvenApproximation,
    Polynomial,
    best_even_polynomial,
    certified,
)
from depthwright.approximation.product_rule import ProductRule
from depthwright.approximation.ridge_function import ridge_function
from depthwright.constructions.construction import Built, Claim, Construction
from depthwright.constructions.hypotheses import check_float_accuracy, check_radial_target
from depthwright.networks.architecture import Architecture
from depthwright.networks.arithmetic import UNIT_ROUNDOFF, Arithmetic
from depthwright.networks.ridge import Bundle, RidgeGroup, RidgeNetwork, rounding_bound
from depthwright.refusal import Refusal
from depthwright.targets.radial import Radial

LARGEST_HALF_DEGREE = {2: 40, 3: 40, 4: 12, 5: 12}
"""Largest K tried in low dimensions, where a rule costs few directions, …"""
OTHER_HALF_DEGREE = 6
"""… and in higher ones."""
MEMORY_LIMIT = 4 * 10**9
"""Largest network that is built, in bytes of its structured form."""
BYTES_PER_ENTRY, BYTES_PER_DIRECTION = 32, 16
PATIENCE = 4
"""Degrees without a narrower network after which the search ends."""
ROUNDING_ALLOWANCE = 1e-6
"""Part of the accuracy first reserved for rounding."""
REPLANS = 4
"""Times that a plan is made again because rounding costs more than was reserved."""
FIRST_SHARES: tuple[float, ...] = (0.05, 0.2, 0.35, 0.5, 0.65, 0.8)
"""Shares of the error left by the best polynomial that are used to lower curvature, first degree.
"""
SHARE_STEP = 0.2
"""Factor from the best share of one degree to those tried at the next."""


@dataclass(frozen=True)
class Plan:
    """The outcome of the four steps: the whole network except its list of directions."""

    approximation: EvenApproximation
    cubature: Cubature | ProductRule
    ridge: EvenPiecewiseLinear
    rounding: float
    """Rounding error of an evaluation in the wanted arithmetic."""

    @property
    def width(self) -> int:
        # A constant has a kink at 0 that does not turn, and no linear part to carry.
        kink_at_zero = self.ridge.pieces % 2 == 0 and self.ridge.turns[0] != 0
        return self.cubature.count * (self.ridge.pieces - 1) + 2 * int(kink_at_zero)


def _bytes(rule: Cubature | ProductRule) -> int:
    entries = sum(count * nonzeros for count, nonzeros, _ in rule.shapes)
    return BYTES_PER_ENTRY * entries + BYTES_PER_DIRECTION * rule.count


def _rounding(rule: Cubature | ProductRule, ridge: EvenPiecewiseLinear, word: Arithmetic) -> float:
    bundles = [Bundle(*shape, ridge.kinks, ridge.turns) for shape in rule.shapes]
    return rounding_bound(bundles, ridge.offset, word)


@dataclass(frozen=True)
class Ridge(Construction):
    """Depth-2 network within `accuracy` of a radial target, everywhere on the unit ball."""

    target: Radial
    accuracy: float = 0.1
    arithmetic: Arithmetic = "float64"
    """Arithmetic of the evaluation for which the claim holds: float64 or float32."""

    def __post_init__(self) -> None:
        check_float_accuracy(self.accuracy)
        if self.arithmetic not in UNIT_ROUNDOFF:
            raise Refusal(
                f"arithmetic={self.arithmetic!r} has no rounding to bound; "
                "Ridge claims for float64 or float32"
            )
        check_radial_target(self.target, type(self).__name__)
        if self.target.input_dim < 2:
            raise Refusal(
                f"input_dim={self.target.input_dim} has no sphere of directions to average over; "
                "Ridge needs input_dim ≥ 2"
            )

    # --- 1. polynomials

    @property
    def _half_degree_limit(self) -> int:
        return LARGEST_HALF_DEGREE.get(self.target.input_dim, OTHER_HALF_DEGREE)

    def _half_degrees(self, budget: float) -> Iterator[int]:
        """K in growing steps, from the first whose polynomial leaves a part of the budget."""
        limit = self._half_degree_limit
        jackson = math.pi * self.target.lipschitz / (4 * (limit + 1))
        # The last degree first: an impossible accuracy is refused without trying all others.
        reached = 0.0 if jackson < budget / 2 else self._approximate(limit).error
        half_degree = 1
        if reached < budget:
            errors = [self._approximate(half_degree).error]
            while errors[-1] >= budget and half_degree < limit:
                half_degree += 1
                errors.append(self._approximate(half_degree).error)
            reached = min(errors)
        if reached >= budget:
            raise Refusal(
                f"accuracy={self.accuracy} is below {reached:.2g}, what even polynomials of "
                f"degree {2 * limit} (the limit in input_dim={self.target.input_dim}) reach for "
                "this profile; ask for a larger one"
            )
        while half_degree <= limit:
            yield half_degree
            half_degree += 1 + half_degree // 10

    def _approximate(self, half_degree: int) -> EvenApproximation:
        target = self.target
        if (exact := target.even_polynomial) is not None and len(exact) <= half_degree + 1:
            coefficients = [Fraction(0)] * (2 * len(exact) - 1)
            coefficients[::2] = map(Fraction, exact)
            return EvenApproximation(Polynomial(tuple(coefficients)), 0.0)
        return best_even_polynomial(
            target.profile, target.lipschitz, half_degree, target.breaks, target.curvature
        )

    def _approximations(
        self, half_degree: int, budget: float, shares: tuple[float, ...]
    ) -> tuple[list[EvenApproximation], tuple[float, ...]]:
        """The best uniform approximation, one of smaller curvature, and the shares to try next."""
        target = self.target
        closest = self._approximate(half_degree)
        program = BendingProgram(target.profile, half_degree, target.input_dim, target.breaks)
        room = budget - closest.error
        found = []
        for share in shares:
            least = program.least_bending(closest.error + share * room)
            if least is not None:
                found.append((least.bending / math.sqrt(1 - share), share, least.polynomial))
        if not found:
            return [closest], shares
        _, share, polynomial = min(found, key=lambda entry: entry[0])
        less_bent = certified(
            polynomial, target.profile, target.lipschitz, target.breaks, target.curvature
        )
        steps = (share - SHARE_STEP, share, share + SHARE_STEP)
        choice = [a for a in (less_bent, closest) if a.error < budget]
        return choice, tuple(s for s in steps if 0 < s < 0.95)

    # --- 2, 3, 4. ridge function, directions, knots: all networks that are tried

    def _narrowest(self, budget: float) -> Plan:
        """Increase the degree until PATIENCE degrees in a row bring no narrower network."""
        d = self.target.input_dim
        best: Plan | None = None
        too_large, idle, shares = math.inf, 0, FIRST_SHARES
        for half_degree in self._half_degrees(budget):
            idle += 1
            choice, shares = self._approximations(half_degree, budget, shares)
            for rule in candidates(d, half_degree):
                if _bytes(rule) > MEMORY_LIMIT:
                    too_large = min(too_large, _bytes(rule))
                    continue
                for approximation in choice:
                    if not approximation.error < budget:
                        continue
                    limit = best.width // rule.count + 1 if best else piecewise_linear.MOST_PIECES
                    error = (budget - approximation.error) / rule.weight_sum
                    g = ridge_function(approximation.polynomial, d)
                    ridge = piecewise_linear.fewest_pieces(g, error, limit)
                    if ridge is None:
                        continue
                    rounding = _rounding(rule, ridge, self.arithmetic)
                    plan = Plan(approximation, rule, ridge, rounding)
                    if best is None or plan.width < best.width:
                        best, idle = plan, 0
            if idle == PATIENCE or too_large < math.inf:
                break
        if best is None:
            need = (
                f"{too_large / 1e9:.3g} GB of directions (limit {MEMORY_LIMIT / 1e9:g} GB)"
                if too_large < math.inf
                else f"more than {piecewise_linear.MOST_PIECES} pieces a direction (the limit)"
            )
            raise Refusal(
                f"accuracy={self.accuracy} in input_dim={d} needs {need}; "
                "raise accuracy or lower input_dim"
            )
        return best

    @cached_property
    def _plan(self) -> Plan:
        """The narrowest network whose error leaves room for rounding."""
        kept = ROUNDING_ALLOWANCE * self.accuracy
        for _ in range(REPLANS):
            plan = self._narrowest(self.accuracy - kept)
            if plan.rounding <= kept * (1 - 1e-9):
                return plan
            kept = 1.2 * plan.rounding
            if kept >= self.accuracy:
                break
        raise Refusal(
            f"accuracy={self.accuracy} is finer than {self.arithmetic} rounding allows here "
            f"({plan.rounding:.1e}); ask for a larger one"
        )

    # --- the network

    def architecture(self) -> Architecture:
        """Width from the plan; the directions are counted, not listed."""
        return Architecture.of((self.target.input_dim, self._plan.width, 1))

    def build(self) -> Built:
        plan = self._plan
        groups = [
            RidgeGroup(
                indices,
                values,
                np.full(len(indices), weight),
                plan.ridge.kinks,
                plan.ridge.turns,
            )
            for indices, values, weight in plan.cubature.directions()
        ]
        network = RidgeNetwork(self.target.input_dim, groups, plan.ridge.offset, self.arithmetic)
        claim = Claim(
            accuracy=self.accuracy,
            norm="sup",
            domain=str(self.target.domain),
            terms={
                "polynomial": plan.approximation.error,
                "cubature": 0.0,
                "piecewise_linear": plan.cubature.weight_sum * plan.ridge.error,
                "rounding": network.rounding_bound(self.arithmetic),
            },
            arithmetic=self.arithmetic,
        )
        if not claim.bound <= self.accuracy:
            raise AssertionError(
                f"the claim {claim.bound} is above accuracy={self.accuracy}; this is a bug"
            )
        return Built(network, claim, domain=self.target.domain)
