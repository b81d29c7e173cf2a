"""Depth-3 networks for radial functions: squares of coordinates, then a profile of their sum.

Statement
    Let f(x) = ϕ(‖x‖) on the unit ball of R^d, ϕ L-Lipschitz on [0, 1], and ε > 0. A depth-3 ReLU
    network computes f up to ε in the sup norm with width O(d^{3/2}·L/ε): the easy case that depth 2
    is measured against.

Builds
    Hidden layer 1: each x_i² by its interpolant with q equal pieces on [−1, 1], q odd: kinks at
    ±(2j − 1)/q, 1 ≤ j ≤ (q − 1)/2, all turns 4/q. It lies between x_i² and x_i² + 1/q²; lowered by
    half of that, the sum ŝ is within d/(2q²) of s = ‖x‖².
    Hidden layer 2: ψ(ŝ), constant outside [0, 1] and interpolating ϕ(√s) at s_k = r_k²,
    0 = r_0 < … < r_m = 1.
    depth 3, widths d·(q − 1) and m + 1.

Claim
    sup norm on the unit ball, for every x; the sum of
    squares: L·√(d/(2q²)), since abs(√s − √s') ≤ √abs(s − s') and clipping ŝ to [0, 1] moves it
    nearer to s;
    profile: sup abs(ψ(s) − ϕ(√s)). On [a, b] a line in r becomes c·√s, which its chord leaves by
    abs(c)(b − a)²/(4(a + b)); where ϕ bends, curvature·(b − a)²/8 is added;
    rounding of the float64 evaluation.

Shapes and arithmetic
    (batch, d) → (batch, 1); float64.

Not in the paper
    The sizes: the papers say "depth 3 is easy". Knots r_k are as far apart as the profile's share
    allows; the share is the one that costs fewest parameters.

Source
    ES16 section 1 and SES19 section 1 for the observation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from depthwright.constructions.construction import Built, Claim, Construction
from depthwright.constructions.hypotheses import check_float_accuracy, check_radial_target
from depthwright.networks.architecture import Architecture
from depthwright.networks.arithmetic import FLOAT64_ROUNDOFF
from depthwright.refusal import Refusal
from depthwright.targets.declared import PROFILE_ROUNDING
from depthwright.targets.radial import Radial

if TYPE_CHECKING:
    import torch

MEMORY_LIMIT = 4 * 10**9
"""Largest network that is built, in bytes of its matrices."""
MOST_KNOTS = 100_000
LEAST_BREAK = 1e-150
"""Smaller breaks are no knots, since their squares underflow; the Lipschitz constant covers them.
"""
ROUNDING_SHARE = 1e-3
SHARES = np.linspace(0.02, 0.6, 30)
"""Parts of the accuracy tried for the profile."""


@dataclass(frozen=True)
class Plan:
    """q, the radii of the knots, and the two error terms."""

    pieces: int
    radii: np.ndarray
    squares: float
    profile: float


@dataclass(frozen=True)
class RadialDepthThree(Construction):
    """Depth-3 network within `accuracy` of a radial target, everywhere on the unit ball."""

    target: Radial
    accuracy: float = 0.1

    def __post_init__(self) -> None:
        check_float_accuracy(self.accuracy)
        check_radial_target(self.target, type(self).__name__)

    def architecture(self) -> Architecture:
        return self._architecture(self._plan)

    def _architecture(self, plan: Plan) -> Architecture:
        d = self.target.input_dim
        return Architecture.of((d, d * (plan.pieces - 1), len(plan.radii), 1))

    def build(self) -> Built:
        from depthwright.networks.torch_network import ModuleNetwork

        plan = self._plan
        memory = 8 * self._architecture(plan).parameters
        if memory > MEMORY_LIMIT:
            raise Refusal(
                f"accuracy={self.accuracy} in input_dim={self.target.input_dim} needs "
                f"{memory / 1e9:.3g} GB of weights (limit {MEMORY_LIMIT / 1e9:g} GB); "
                "raise accuracy or lower input_dim"
            )
        layers, rounding = self._layers(plan)
        claim = Claim(
            accuracy=self.accuracy,
            norm="sup",
            domain=str(self.target.domain),
            terms={"squares": plan.squares, "profile": plan.profile, "rounding": rounding},
        )
        if not claim.bound <= self.accuracy:
            raise Refusal(
                f"accuracy={self.accuracy} is finer than float64 rounding allows here "
                f"({rounding:.1e} of {claim.bound:.1e}); ask for a larger one"
            )
        return Built(ModuleNetwork.of(layers), claim, domain=self.target.domain)

    @cached_property
    def _plan(self) -> Plan:
        budget = self.accuracy * (1 - ROUNDING_SHARE)
        d, lipschitz = self.target.input_dim, self.target.lipschitz
        plans = []
        for share in SHARES:
            radii = _knots(self.target, share * budget * (1 - 1e-12))
            if radii is None:
                continue
            least = lipschitz * math.sqrt(d / 2) / ((1 - share) * budget)
            pieces = max(3, 2 * math.ceil((least * (1 + 1e-12) - 1) / 2) + 1)
            squares = lipschitz * math.sqrt(d / 2) / pieces * (1 + 1e-12)
            plans.append(Plan(pieces, radii, squares, share * budget))
        if not plans:
            raise Refusal(
                f"accuracy={self.accuracy} needs more than {MOST_KNOTS} knots for this profile; "
                "ask for a larger one"
            )
        return min(plans, key=lambda plan: self._architecture(plan).parameters)

    def _layers(self, plan: Plan) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], float]:
        """The layers, and a bound on its float64 rounding error on the ball.

        ŝ adds d·(q − 1) terms that are 4/q times numbers rounded by u, to a sum below 3 + d/q²;
        ψ multiplies what is lost by its steepest slope; its own terms add up to Σ abs(turns).
        """
        import torch

        d, q, s = self.target.input_dim, plan.pieces, plan.radii**2
        kinks = (2 * np.arange(1, (q - 1) // 2 + 1) - 1) / q
        identity = np.repeat(np.eye(d), len(kinks), axis=0)
        weight = np.concatenate([identity, -identity])
        bias = np.tile(-kinks, 2 * d)
        values = np.asarray(self.target.profile(plan.radii), dtype=np.float64)
        if not (np.diff(s) > 0).all():
            raise Refusal(
                f"accuracy={self.accuracy} needs knots whose squares are the same in float64; "
                "ask for a larger one"
            )
        slopes = np.diff(values) / np.diff(s)
        turns = np.diff(slopes, prepend=0.0, append=0.0)
        lowered = d / (2 * q**2)
        layers = [
            (weight, bias),
            (np.full((len(s), len(bias)), 4 / q), lowered - s),  # ŝ − s_k
            (turns[None], values[:1]),
        ]
        sums = FLOAT64_ROUNDOFF * ((len(bias) + 16) * (4 + d / q**2) + 8 * d)
        own = FLOAT64_ROUNDOFF * (len(s) + 16) * (4 * float(np.abs(turns).sum()) + abs(values[0]))
        # ϕ at the knots is rounded, and r² by one unit.
        lipschitz = self.target.lipschitz
        read = PROFILE_ROUNDING * (float(np.abs(values).max()) + lipschitz)
        read += 2 * FLOAT64_ROUNDOFF * lipschitz
        rounding = 2 * (
            sums * float(np.abs(slopes).max()) + own + sums * float(np.abs(turns).sum()) + read
        )
        tensors = [(torch.from_numpy(w), torch.from_numpy(np.asarray(b))) for w, b in layers]
        return tensors, rounding


def _knots(target: Radial, error: float) -> np.ndarray | None:
    """Radii from 0 to 1, breaks of ϕ among them, whose interpolant in s errs at most `error`."""
    lipschitz, breaks = target.lipschitz, np.asarray(target.breaks, dtype=np.float64)[1:]
    left_out = bool(breaks[0] < LEAST_BREAK)

    def bound(a: float, b: float) -> float:
        bend = lipschitz * (b - a) / 2
        if a > 0 or not left_out:
            bend = min(target.curvature * (b - a) ** 2 / 8, bend)
        return lipschitz * (b - a) * ((b - a) / (a + b) / 4) + bend

    radii = [0.0]
    for end in map(float, breaks[breaks >= LEAST_BREAK]):
        while radii[-1] < end:
            a, low, high = radii[-1], radii[-1], end
            if bound(a, end) > error:
                for _ in range(60):
                    middle = (low + high) / 2
                    low, high = (middle, high) if bound(a, middle) <= error else (low, middle)
                if low <= a:
                    return None
                radii.append(low)
            else:
                radii.append(end)
            if len(radii) > MOST_KNOTS:
                return None
    return np.array(radii)
