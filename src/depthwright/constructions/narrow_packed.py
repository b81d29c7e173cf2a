"""Every wide ReLU network has a narrow twin with one layer per bit (ours).

Statement. Let N0 : [−A, A]^d → R^d_out be a ReLU network of depth L ≥ 2 and hidden widths
n_1..n_{L−1}; ε, δ > 0. There is a network N of width max{d + 2, 4 + d_out} with
abs(N(x) − N0(x)) ≤ ε (every output) outside a set of probability at most δ under the uniform law
on the cube; for x on a grid −A + h·Z^d, h dyadic, without exception. Proof: narrow_packed.md.

Builds. With c bits per coordinate, and per hidden layer l fields of s_l bits of which t_l are
dropped, depth e·c + Σ_{l<L} (n_l·(s_l + 1) − t_l) + 1, where e = d if d + 3 ≤ 4 + d_out
(the reader of the inputs may be wide) and e = d + 1 otherwise. The widths are written out in
`packed_architecture`; a bit read costs 30 parameters, a bit dropped 12.

Claim. "probability" on the cube with failure probability d·c/(M·2Aκ) ≤ δ, M the slope of the bit
tests; terms: input quantisation, weight rounding, truncation (both certified by interval and
Euclidean bounds over this very network), final rounding to float64. "sup" on the grid.

Shapes and arithmetic. (batch, d) → (batch, d_out), exact. Packed weights are integers of
n_l·(s_l + 1) bits, so a float evaluation is refused.

Not in the paper. All of it; the problem and the encoding of Theorem 5's inputs are VYS22's.
Theorem 2 reads the packed layer once per output neuron, n² passes; here the accumulator is packed
as well, so one pass adds into all n pre-activations at once. By BHLM19 about n·L parameters are
needed, so this is within logarithms of the end of the road.

Source. VYS22, Theorem 2, Lemmas 14 and 15 for the riding input (arXiv 2202.03841).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import ClassVar

import numpy as np

from depthwright.constructions.construction import Built, Claim, Construction
from depthwright.constructions.hypotheses import (
    check_accuracy,
    check_depth,
    check_probability,
    check_target,
)
from depthwright.constructions.narrow_packed_bits import (
    Bounds,
    Input,
    LayerFacts,
    Sizing,
    he_facts,
)
from depthwright.constructions.narrow_packed_choice import choose
from depthwright.constructions.narrow_packed_layers import Packer, rides
from depthwright.networks.architecture import Architecture, Block
from depthwright.networks.dyadic import Dyadic
from depthwright.refusal import Refusal
from depthwright.targets.network import ReLUNetwork


@dataclass(frozen=True)
class NarrowPacked(Construction):
    """Width max{d + 2, 4 + d_out}, one layer per bit."""

    target: ReLUNetwork
    accuracy: float
    failure_probability: float = 0.0
    grid: float | None = None
    """Step h: the claim then holds for every x with coordinates −radius + h·k, k whole."""
    theorem: ClassVar[str] = "Packed narrow network (ours)"

    def __post_init__(self) -> None:
        check_target(self.target)
        check_accuracy(self.accuracy)
        check_probability(self.failure_probability, self.grid)

    @cached_property
    def inputs(self) -> Input:
        """κ and the grid's bits."""
        return read_inputs(self.target.input_dim, self.target.radius, self.grid)

    @cached_property
    def bounds(self) -> Bounds:
        """What is known of the target."""
        layers = zip(
            self.target.weights, self.target.biases, self.target.spectral_norms, strict=True
        )
        return Bounds([LayerFacts.of(*layer) for layer in layers], self.inputs)

    @cached_property
    def sizing(self) -> Sizing:
        """The bits, and what they achieve."""
        accuracy = self.accuracy - self.target.reading_error
        return packed_sizing(self.bounds, self.target.widths, accuracy)

    @property
    def slopes(self) -> tuple[Dyadic, ...]:
        """Slope of the test of each of a coordinate's c bits: as small as δ, or the grid, allow."""
        c, g = self.sizing.bits.c, self.inputs.grid_bits
        if g is not None:
            return tuple(Dyadic(1, g - k) for k in range(c))
        share = 2 * Fraction(self.target.radius) * Fraction(self.inputs.scale)
        least = self.target.input_dim * c / (share * Fraction(self.failure_probability))
        return (Dyadic(max(2, math.ceil(least))),) * c

    def architecture(self) -> Architecture:
        """From the bits."""
        return packed_architecture(self.target.widths, self.sizing)

    @property
    def claim(self) -> Claim:
        """Terms that sum to at most the accuracy asked for."""
        terms = self.bounds.terms(self.sizing.bits)
        terms["final rounding to float64"] = final_rounding(self.bounds, self.accuracy)
        terms |= self.target.reading_terms
        domain = str(self.target.domain)
        if self.grid is not None:
            domain = f"the points −{self.target.radius:g} + {self.grid:g}·k of the {domain}"
            return Claim(self.accuracy, "sup", domain, terms, "exact", 0.0)
        fails = (
            self.target.input_dim
            * self.sizing.bits.c
            / (
                self.slopes[0].fraction
                * 2
                * Fraction(self.target.radius)
                * Fraction(self.inputs.scale)
            )
        )
        probability = math.nextafter(float(fails), 1.0)
        return Claim(
            self.accuracy,
            "probability",
            domain,
            terms,
            "exact",
            min(probability, self.failure_probability),
        )

    def build(self) -> Built:
        """Read the inputs, then one hidden layer of the target after the other."""
        check_depth(self.architecture())
        network = Packer(self.target, self.inputs, self.slopes, self.sizing).network()
        return Built(network, self.claim, self.fails if self.grid is None else None)

    def fails(self, x: np.ndarray) -> np.ndarray:
        """Which rows of `x` (batch, d) lie in the bad set G, exactly: booleans (batch,)."""
        radius, scale = Fraction(self.target.radius), Fraction(self.inputs.scale)
        slopes = [slope.fraction for slope in self.slopes]

        def bad(value: float) -> bool:
            u = (Fraction(value) + radius) * scale
            rests = ((u * 2**k % 1, slope) for k, slope in enumerate(slopes))
            return any(1 / slope > HALF - r > 0 for r, slope in rests)

        return np.array([any(map(bad, row)) for row in np.asarray(x, float).tolist()], dtype=bool)


HALF = Fraction(1, 2)


def read_inputs(dim: int, radius: float, grid: float | None) -> Input:
    """κ = 1/(2·radius) rounded down to a float; on a grid a power of two with 2·radius·κ < 1."""
    if grid is None:
        scale = 0.5 / radius
        if 2 * Fraction(radius) * Fraction(scale) > 1:
            scale = math.nextafter(scale, 0.0)
        return Input(dim, radius, scale)
    scale = math.ldexp(1.0, -math.frexp(2 * radius)[1])
    step = Dyadic.of(grid) * scale
    return Input(dim, radius, scale, max(1, -step.terms[0][1]))


def final_rounding(bounds: Bounds, accuracy: float) -> float:
    """At least half a unit in the last place of the largest value, error included."""
    return (float(bounds.v_max[-1].max()) + accuracy) * 2.0**-52 + 2.0**-1074


def check_range(rounding: float) -> None:
    """Refuse a target whose values, so the rounding of them, have no finite bound."""
    if not math.isfinite(rounding):
        raise Refusal(
            "the target's values may exceed 1.8e308, the largest float64; "
            "give smaller weights or a smaller radius"
        )


def packed_sizing(bounds: Bounds, widths: Sequence[int], accuracy: float) -> Sizing:
    """The bits with the fewest parameters under the accuracy."""
    check_range(final_rounding(bounds, accuracy))
    budget = (accuracy - final_rounding(bounds, accuracy)) * (1 - 1e-12)
    if budget <= 0:
        raise Refusal(
            f"accuracy={accuracy} is below the rounding of the result to float64, "
            f"{final_rounding(bounds, accuracy):.3g}; give a larger accuracy"
        )
    return choose(bounds, budget, lambda s: packed_architecture(widths, s).parameters)


def he_architecture(
    input_dim: int, width: int, depth: int, accuracy: float, doubt: float = 1e-6
) -> Architecture:
    """The size for a He-initialised target on [−1, 1]^d, no matrix drawn.

    From the norms that such a target has with probability at least 1 − doubt (he_facts); the
    failure probability δ sets the slopes and no size.
    """
    bounds = Bounds(he_facts(input_dim, width, depth, doubt=doubt), read_inputs(input_dim, 1, None))
    widths = (input_dim, *[width] * (depth - 1), 1)
    return packed_architecture(widths, packed_sizing(bounds, widths, accuracy))


def packed_architecture(widths: Sequence[int], sizing: Sizing) -> Architecture:
    """Widths, run by run, in the order in which `Packer` appends the layers."""
    d, outputs, c = widths[0], widths[-1], sizing.bits.c
    hidden: list[Block | int] = []
    if rides(widths):
        hidden.append(Block((d + 2,), 2 * c))  # read x_1, read it again off x_2
        hidden += [Block((4 + later,), c) for later in range(d - 2, -1, -1)]
    else:
        hidden += [Block((4 + later,), c) for later in range(d - 1, -1, -1)]
    last = len(widths) - 2
    for level in range(1, last + 1):
        sums = outputs if level == last else 1
        s, t = sizing.s[level - 1], sizing.bits.p[level - 1] - sizing.bits.q[level - 1]
        read = (3 + sums, *[4 + sums] * (s - t - 1))
        hidden.append(Block((*read, 3 + sums, *[2 + sums] * t), widths[level] - 1))
        hidden.append(Block((*read, 1 + sums)))
    return Architecture(d, hidden, outputs)
