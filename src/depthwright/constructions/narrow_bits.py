"""VYS22 Theorem 2: width is replaced by depth, bit by bit.

Statement. Let N0 : [−A, A]^d → R^d_out have depth L ≥ 2, hidden widths n_1..n_{L−1}, weights in
[−B, B]; ε, δ > 0. There is a network N of width max{5d, 10, 6 + 2·d_out} with
abs(N(x) − N0(x)) ≤ ε (every output) outside a set of probability at most δ under the uniform law
on the cube; for x on a grid −A + h·Z^d, h dyadic, without exception.

Builds. With c0 bits after the point and fields of c bits, and n_0 = d, depth
2·c0 + Σ_{l<L} (n_l·(n_{l−1}·c + 2) + n_l·c + 1) + n_{L−1}·c + 2: Lemmas 8 and 9 read the inputs
(2·c0 layers, alternately 5d and 4d neurons), Lemma 11 computes a layer (10 neurons), Lemma 12 drops
its c0 lowest bits (6 neurons), Lemma 10 computes the outputs (6 + 2·d_out neurons); see
bit_extraction.py. Parameters are those of these widths, dense. bits="paper" takes
c0 = ⌈2L·log2(5ABnd/ε)⌉, c = 2c0 + ⌈log2(2Ad)⌉ + ⌈L·log2((n + 1)B)⌉; bits="certified" the
smallest c0 and c that the interval bound of bit_budget.py proves enough for this very network.

Claim. "probability" on the cube with failure probability d·2^{c0}·2τ/(2Aκ) ≤ δ: coordinate u = κ(x
+ A) is misread only within 2τ below a multiple of 2^{−c0}. Terms: input quantisation, weight
rounding, truncation, final rounding to float64. "sup" on the grid. That no field overflows is
proved in integers when the network is built.

Shapes and arithmetic. (batch, d) → (batch, d_out), exact. A packed layer is one number of n·c
bits, so a float evaluation is refused.

Not in the paper. (1) κ is 1/(2A) rounded down to a float, τ a power of two, so that all weights are
dyadic; the cell of the inputs, 2^{−c0}/κ, stands in the weights of layer 1, where the factor 2A of
the shifted and scaled input has to go. (2) Misread inputs lie on one side of the dyadic points
only, so τ may be twice the printed δ/(d·2^{c0+2}). (3) The printed c0 and c suppose A, B ≥ 1 ≥ ε;
otherwise c can be too short for the biases and c0 too small, so max(A, 1), max(B, 1), min(ε, 1)
stand in their place. n is the largest width, d included. (4) φ's outer σ does nothing on [0, 1], so
Lemmas 10 to 12 take one layer per bit. (5) Several outputs are computed in one pass with a pair of
sums each. (6) x_j = A, a single value of u, is misread (as 0); it has probability 0 and lies on no
grid, for there κ < 1/(2A).

Source. VYS22, Theorem 2 (= 13), Lemmas 8 to 12, section 3.3 (arXiv 2202.03841).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np

from depthwright.constructions.bit_budget import (
    Budget,
    Intervals,
    check_fields,
    integers,
    printed,
)
from depthwright.constructions.bit_extraction import (
    encode_together,
    layer,
    layer_blocks,
    neurons,
    neurons_blocks,
    together_blocks,
    truncate,
    truncate_blocks,
)
from depthwright.constructions.construction import Built, Claim, Construction
from depthwright.constructions.hypotheses import (
    check_accuracy,
    check_depth,
    check_probability,
    check_target,
)
from depthwright.constructions.narrow_packed_bits import check_range, read_inputs
from depthwright.constructions.narrow_packed_bits import Input
from depthwright.networks.architecture import Architecture, Block
from depthwright.networks.calculus import Builder, Linear, Program
from depthwright.refusal import Refusal
from depthwright.targets.network import ReLUNetwork


@dataclass(frozen=True)
class NarrowBits(Construction):
    """Width max{5d, 10, 6 + 2·d_out}, one pass per imitated neuron."""

    target: ReLUNetwork
    accuracy: float
    failure_probability: float = 0.0
    bits: Literal["certified", "paper"] = "certified"
    grid: float | None = None
    """Step h: the claim then holds for every x with coordinates −radius + h·k, k whole."""
    theorem: ClassVar[str] = "VYS22 Theorem 2"

    def __post_init__(self) -> None:
        check_target(self.target)
        check_accuracy(self.accuracy)
        check_probability(self.failure_probability, self.grid)
        if self.bits not in ("certified", "paper"):
            raise Refusal(f"bits={self.bits!r} is neither 'certified' nor 'paper'")

    @cached_property
    def inputs(self) -> Input:
        """κ and the grid's bits."""
        return read_inputs(self.target.input_dim, self.target.radius, self.grid)

    @cached_property
    def intervals(self) -> Intervals:
        """What is known of the target."""
        return Intervals(self.target, self.inputs)

    @cached_property
    def final_rounding(self) -> float:
        """Half a unit in the last place of the largest value, error included."""
        return (self.target.magnitude + self.accuracy) * 2.0**-52

    @cached_property
    def budget(self) -> Budget:
        """c0 and c."""
        if self.bits == "paper":
            target = self.target
            arrays = (*target.weights, *target.biases)
            return printed(
                target.radius,
                max(float(np.abs(array).max()) for array in arrays),
                max(target.widths[:-1]),
                target.input_dim,
                len(target.widths) - 1,
                self.accuracy,
            )
        check_range(self.final_rounding)
        error = (self.accuracy - self.final_rounding) * (1 - 1e-12)
        if error <= 0:
            raise Refusal(
                f"accuracy={self.accuracy} is below the rounding of the result to float64, "
                f"{self.final_rounding:.3g}; give a larger accuracy"
            )
        return self.intervals.certified(error)

    @property
    def tries(self) -> Fraction:
        """d/(2Aκ): coordinates, times the density of each u."""
        share = 2 * Fraction(self.target.radius) * Fraction(self.inputs.scale)
        return self.target.input_dim / share

    @property
    def gap(self) -> int:
        """τ = 2^{−gap}, as large as δ, or the grid, allows."""
        c0, g = self.budget.c0, self.inputs.grid_bits
        if g is not None:
            return max(g, c0) + 1
        least = self.tries / Fraction(self.failure_probability)
        return c0 + 1 + (math.ceil(least) - 1).bit_length()

    @property
    def failure(self) -> Fraction:
        """Probability of the bad set: the claim's, before it is rounded to a float."""
        return self.tries * Fraction(2) ** (self.budget.c0 + 1 - self.gap)

    def misread(self, u: Fraction) -> bool:
        """Within 2τ below a multiple of 2^{−c0}."""
        cells = u * 2**self.budget.c0
        return u == 1 or cells % 1 > 1 - Fraction(2) ** (self.budget.c0 + 1 - self.gap)

    def fails(self, x: np.ndarray) -> np.ndarray:
        """Which rows of `x` (batch, d) lie in the bad set, exactly: booleans (batch,)."""
        radius, scale = Fraction(self.target.radius), Fraction(self.inputs.scale)
        rows = np.asarray(x, float).tolist()
        bad = [any(self.misread((Fraction(v) + radius) * scale) for v in row) for row in rows]
        return np.array(bad, dtype=bool)

    def encode(self, u: Sequence[Linear]) -> Program:
        """Lemmas 8 and 9."""
        return encode_together(u, self.budget.c0, self.gap, self.budget.c)

    @property
    def encoder_bits(self) -> int:
        """Mantissa bits with which no step of `encode` rounds (see Input.unit_bits)."""
        return max(self.inputs.unit_bits, self.gap) + 3

    def encoder_blocks(self) -> list[Block]:
        """Hidden widths of `encode`."""
        return together_blocks(self.target.input_dim, self.budget.c0)

    def architecture(self) -> Architecture:
        """From c0 and c."""
        return bits_architecture(self.target.widths, self.budget, self.encoder_blocks())

    @property
    def claim(self) -> Claim:
        """Terms that sum to at most the accuracy asked for."""
        terms = self.intervals.terms(self.budget.c0)
        terms["final rounding to float64"] = self.final_rounding
        domain = str(self.target.domain)
        if self.grid is not None:
            domain = f"the points −{self.target.radius:g} + {self.grid:g}·k of the {domain}"
            return Claim(self.accuracy, "sup", domain, terms, "exact", 0.0)
        probability = min(math.nextafter(float(self.failure), 1.0), self.failure_probability)
        return Claim(self.accuracy, "probability", domain, terms, "exact", probability)

    def build(self) -> Built:
        """Read the inputs, then one neuron of the target after the other."""
        check_depth(self.architecture())
        claim = self.claim
        if claim.bound > self.accuracy:
            raise Refusal(
                f"the printed constants give {claim.bound:.3g}, not {self.accuracy}, for this "
                'target in float64; use bits="certified"'
            )
        target, c0, c = self.target, self.budget.c0, self.budget.c
        *hidden, last = maps = list(integers(target, self.inputs, c0))
        check_fields(maps, self.inputs, self.budget)
        builder = Builder(target.input_dim)
        u = [(x + target.radius) * self.inputs.scale for x in builder.values]
        packed = builder.run(self.encode(u))
        fields = target.input_dim
        for numbers in hidden:
            packed = builder.run(layer(packed, fields, c, numbers.weights, numbers.biases))
            fields = len(numbers.biases)
            packed = builder.run(truncate(packed, fields, c, c0))
        totals, _ = builder.run(neurons(packed, fields, c, last.weights, last.biases))
        longest = max(max(target.widths[:-1]) * c + 2, self.encoder_bits)
        outputs = [total >> 2 * c0 for total in totals]
        network = builder.output(outputs, "exact", target.domain.inputs, longest)
        return Built(network, claim, self.fails if self.grid is None else None)


def bits_architecture(
    widths: Sequence[int], budget: Budget, encoder: Sequence[Block]
) -> Architecture:
    """The size for a target of these widths; nothing but c0 and c is asked about its weights."""
    blocks = list(encoder)
    *fields, outputs = widths
    for fan_in, fan_out in pairwise(fields):
        blocks += layer_blocks(fan_in, budget.c, fan_out) + truncate_blocks(fan_out, budget.c)
    blocks += neurons_blocks(fields[-1], budget.c, outputs)
    return Architecture(widths[0], blocks, outputs)
