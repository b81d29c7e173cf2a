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
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import ClassVar

import numpy as np

from depthwright.approximation import piecewise_linear
from depthwright.approximation.cubature import Cubature, candidates, ridge_constant
from depthwright.approximation.piecewise_linear import EvenPiecewiseLinear
from depthwright.approximation.polynomial import (
    EvenApproximation,
    Polynomial,
    best_even_polynomial,
)
from depthwright.constructions.construction import Built, Claim, Construction
from depthwright.constructions.hypotheses import check_accuracy
from depthwright.networks.architecture import Architecture
from depthwright.networks.ridge_network import RidgeGroup, RidgeNetwork
from depthwright.refusal import Refusal
from depthwright.targets.radial import Radial
from depthwright.targets.target import Target

LARGEST_HALF_DEGREE = {2: 40, 3: 12, 4: 12, 5: 12}
"""Largest K tried in low dimensions, where a rule costs few directions, …"""
OTHER_HALF_DEGREE = 6
"""… and in higher ones."""
MEMORY_LIMIT = 4 * 10**9
"""Largest network that is built, in bytes of its structured form."""
BYTES_PER_ENTRY, BYTES_PER_DIRECTION = 32, 16
PATIENCE = 3
"""Degrees that may bring no narrower network before the search ends."""
ROUNDING_SHARE = 1e-3
"""Part of the accuracy kept for rounding; what is not needed of it is not claimed."""


@dataclass(frozen=True)
class Plan:
    """The four steps' outcome: all of the network but its list of directions."""

    approximation: EvenApproximation
    cubature: Cubature
    ridge: EvenPiecewiseLinear

    @property
    def width(self) -> int:
        """Hidden neurons."""
        kink_at_zero = self.ridge.pieces % 2 == 0
        return self.cubature.count * (self.ridge.pieces - 1) + 2 * kink_at_zero


def _bytes(rule: Cubature) -> int:
    """Memory of the structured form."""
    return BYTES_PER_ENTRY * rule.entries + BYTES_PER_DIRECTION * rule.count


@dataclass(frozen=True)
class Ridge(Construction):
    """Depth-2 network within `accuracy` of a radial target, everywhere on the unit ball."""

    theorem: ClassVar[str] = "SES19 Theorems 1, 2, 3"
    target: Target
    accuracy: float = 0.1

    def __post_init__(self) -> None:
        check_accuracy(self.accuracy)
        if not isinstance(self.target, Radial):
            raise Refusal(
                f"Ridge approximates radial targets, and {type(self.target).__name__} is none; "
                "use one of the narrow constructions for it"
            )
        if self.target.input_dim < 2:
            raise Refusal(
                f"input_dim={self.target.input_dim} has no sphere of directions to average over; "
                "Ridge needs input_dim ≥ 2"
            )

    def architecture(self) -> Architecture:
        """Width from the plan; the directions are counted, not listed."""
        return Architecture.of((self.target.input_dim, self._plan.width, 1))

    def build(self) -> Built:
        """List the directions and attach the claim."""
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
        network = RidgeNetwork(self.target.input_dim, groups, plan.ridge.offset)
        claim = Claim(
            accuracy=self.accuracy,
            norm="sup",
            domain=str(self.target.domain),
            terms={
                "polynomial": plan.approximation.error,
                "cubature": 0.0,
                "piecewise_linear": plan.cubature.weight_sum * plan.ridge.error,
                "rounding": network.rounding_bound("float64"),
            },
        )
        if claim.bound > self.accuracy:
            raise Refusal(
                f"accuracy={self.accuracy} is finer than float64 rounding allows here "
                f"({claim.terms['rounding']:.1e} of {claim.bound:.1e}); ask for a larger one"
            )
        return Built(network, claim)

    @cached_property
    def _plan(self) -> Plan:
        """The narrowest network; degrees rise until PATIENCE of them in a row bring nothing."""
        d, budget = self.target.input_dim, self.accuracy * (1 - ROUNDING_SHARE)
        best: Plan | None = None
        too_large, idle = math.inf, 0
        for half_degree in range(self._smallest_half_degree(budget), self._half_degree_limit + 1):
            approximation = self._approximate(half_degree)
            g = _ridge_function(approximation.polynomial, d)
            idle += 1
            for rule in candidates(d, half_degree):
                if _bytes(rule) > MEMORY_LIMIT:
                    too_large = min(too_large, _bytes(rule))
                    continue
                limit = best.width // rule.count + 1 if best else piecewise_linear.MOST_PIECES
                error = (budget - approximation.error) / rule.weight_sum
                ridge = piecewise_linear.fewest_pieces(g, error, limit)
                if ridge and (best is None or Plan(approximation, rule, ridge).width < best.width):
                    best, idle = Plan(approximation, rule, ridge), 0
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

    @property
    def _half_degree_limit(self) -> int:
        return LARGEST_HALF_DEGREE.get(self.target.input_dim, OTHER_HALF_DEGREE)

    def _smallest_half_degree(self, budget: float) -> int:
        """The first K whose polynomial leaves something of the budget."""
        limit = self._half_degree_limit
        jackson = math.pi * self.target.lipschitz / (4 * (limit + 1))
        # The last degree first: an accuracy out of reach is refused without trying all others.
        reached = 0.0 if jackson < budget / 2 else self._approximate(limit).error
        if reached >= budget:
            raise Refusal(
                f"accuracy={self.accuracy} is below {reached:.2g}, what even polynomials of "
                f"degree {2 * limit} (the limit in input_dim={self.target.input_dim}) reach for "
                "this profile; ask for a larger one"
            )
        return next(k for k in range(1, limit + 1) if self._approximate(k).error < budget)

    def _approximate(self, half_degree: int) -> EvenApproximation:
        target = self.target
        assert isinstance(target, Radial)
        if (exact := target.even_polynomial) is not None and len(exact) <= half_degree + 1:
            coefficients = [Fraction(0)] * (2 * len(exact) - 1)
            coefficients[::2] = map(Fraction, exact)
            return EvenApproximation(Polynomial(tuple(coefficients)), 0.0)
        return best_even_polynomial(
            target.profile, target.lipschitz, half_degree, target.breaks, target.curvature
        )


def _ridge_function(polynomial: Polynomial, dimension: int) -> Polynomial:
    """g with E_w g(w·x) = polynomial(‖x‖), w uniform on the sphere; exact."""
    return Polynomial(
        tuple(
            a * ridge_constant(dimension, power // 2) if a else a
            for power, a in enumerate(polynomial.coefficients)
        )
    )
