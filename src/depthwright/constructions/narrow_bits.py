"""VYS22 Theorem 2: width is replaced by depth, bit by bit.

Statement. Let N0 have depth L ≥ 2, hidden widths n_1..n_{L−1} and weights in [−B, B] on the box
lower ≤ x ≤ upper (VYS22: [−A, A]^d) with d_out outputs; ε, δ > 0. There is a network N of width
max{5d, 10, 6 + 2·d_out} with abs(N(x) − N0(x)) ≤ ε (every output) outside a set of probability at
most δ under the uniform law, or any law of density at most β; another for every float64 (or every
float32) of the box, and one for x on a grid lower + h·Z^d, h dyadic, without exception.

Builds. With c0 bits after the point and fields of c bits, and n_0 = d, depth
2·c0 + Σ_{l<L} (n_l·(n_{l−1}·c + 2) + n_l·c + 1) + n_{L−1}·c + 2: Lemmas 8 and 9 read the inputs
(2·c0 layers, alternately 5d and 4d neurons), Lemma 11 computes a layer (10 neurons), Lemma 12 drops
its c0 lowest bits (6 neurons), Lemma 10 computes the outputs (6 + 2·d_out neurons); see
extraction.py. Parameters are those of these widths, dense. bits="paper" takes
c0 = ⌈2L·log2(5ABnd/ε)⌉, c = 2c0 + ⌈log2(2Ad)⌉ + ⌈L·log2((n + 1)B)⌉; bits="certified" the
smallest c0 and c that the interval bound of budget.py proves enough for this very network.

Claim. "probability" where failure_probability = δ > 0, with failure probability
β·vol·Σ_j 2^{c0}·2τ/(κ_j·side_j) ≤ δ (β·vol = 1 for the uniform law): coordinate u = κ(x − lower) is
misread only within 2τ below a multiple of 2^{−c0}. "floats" where it is 0: then the borders lie
between the floats (cells.py). "sup" on the grid. Terms: input quantisation, weight rounding,
truncation, final rounding to float64. That no field overflows is proved in integers when the
network is built.

Shapes and arithmetic. (batch, d) → (batch, d_out), exact. A packed layer is one number of n·c
bits, so a float evaluation is refused.

Not in the paper. (1) κ is 1/side rounded down to a float, τ a power of two, so that all weights are
dyadic; the cell of the inputs, 2^{−c0}/κ, stands in the weights of layer 1, where the factor 2A of
the shifted and scaled input has to go. (2) Misread inputs lie on one side of the dyadic points
only, so τ may be twice the printed δ/(d·2^{c0+2}). (3) The printed c0 and c suppose A, B ≥ 1 ≥ ε;
otherwise c can be too short for the biases and c0 too small, so max(A, 1), max(B, 1), min(ε, 1)
stand in their place. n is the largest width, d included. (4) φ's outer σ does nothing on [0, 1], so
Lemmas 10 to 12 take one layer per bit. (5) Several outputs are computed in one pass with a pair of
sums each. (6) x_j = upper_j may be a value u = 1, which is misread (as 0); it has probability 0.
(7) Boxes; floats, for which cells are twice as wide and read as their centres.

Source. VYS22, Theorem 2 (= 13), Lemmas 8 to 12, section 3.3 (arXiv 2202.03841).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np

from depthwright.constructions.bits.budget import Budget, Intervals, check_fields, integers, printed
from depthwright.constructions.bits.extraction import (
    encode_together,
    layer,
    layer_blocks,
    neurons,
    neurons_blocks,
    together_blocks,
    truncate,
    truncate_blocks,
)
from depthwright.constructions.bits.inputs import BitInputs, Digits, dyadic, lowest
from depthwright.constructions.construction import Built
from depthwright.constructions.hypotheses import check_depth
from depthwright.constructions.narrow import NarrowConstruction
from depthwright.networks.architecture import Architecture, Block
from depthwright.networks.exact.calculus import Builder, Linear, Program
from depthwright.refusal import Refusal, need_one_of


@dataclass(frozen=True)
class NarrowBits(NarrowConstruction):
    """Width max{5d, 10, 6 + 2·d_out}, one pass per imitated neuron."""

    bits: Literal["certified", "paper"] = "certified"

    def __post_init__(self) -> None:
        super().__post_init__()
        need_one_of("bits", self.bits, ("certified", "paper"))

    @cached_property
    def reading(self) -> BitInputs:
        return BitInputs(self.covered)

    @cached_property
    def digits(self) -> tuple[Digits, ...]:
        return self.reading.at(self.budget.c0)

    @cached_property
    def intervals(self) -> Intervals:
        return Intervals(self.target, self.reading)

    @cached_property
    def final_rounding(self) -> float:
        return self.target.magnitude * 2.0**-52 + self.accuracy * 2.0**-52 + 2.0**-1074

    @cached_property
    def budget(self) -> Budget:
        if self.bits == "paper":
            target = self.target
            arrays = (*target.weights, *target.biases)
            return printed(
                self.covered.largest,
                max(float(np.abs(array).max()) for array in arrays),
                max(target.widths[:-1]),
                target.input_dim,
                len(target.widths) - 1,
                self.accuracy,
            )
        return self.intervals.certified(self.error_left)

    def probability_of(self, length: Fraction) -> Fraction:
        """That some u_j lies in intervals of this total length: β·vol·Σ_j length/(side_j·κ_j)."""
        sides = (Fraction(a.upper) - Fraction(a.lower) for a in self.digits)
        each = (1 / (side * a.scale) for side, a in zip(sides, self.digits, strict=True))
        return length * sum(each, Fraction(0)) * self.density_share

    @property
    def slope_bits(self) -> int | None:
        """The largest h with no float where u is within 2^{−h} below a border; None for reals."""
        found = [a.slope_bits - lowest(a.scale) for a in self.digits if a.slope_bits is not None]
        return max(found, default=None)

    @property
    def gap(self) -> int:
        """τ = 2^{−gap}, as large as δ, the grid, or the distance of the floats allows."""
        c0, g, h = self.budget.c0, self.reading.grid_bits, self.slope_bits
        if g is not None:
            return max(g, c0) + 1
        if h is not None:
            return h + 1
        least = self.probability_of(Fraction(1)) / Fraction(self.failure_probability)
        return c0 + 1 + (math.ceil(least) - 1).bit_length()

    @property
    def bad_length(self) -> Fraction:
        """Of the intervals of u in which bits are misread: 2τ below each of 2^{c0} borders."""
        return Fraction(2) ** (self.budget.c0 + 1 - self.gap)

    @property
    def bad_set_probability(self) -> Fraction:
        return self.probability_of(self.bad_length)

    def misread(self, u: Fraction) -> bool:
        """Within 2τ below a multiple of 2^{−c0}."""
        cells = u * 2**self.budget.c0
        return u == 1 or cells % 1 > 1 - self.bad_length

    def in_bad_set(self, x: np.ndarray) -> np.ndarray:
        bad = [
            any(self.misread(a.unit(v)) for a, v in zip(self.digits, row, strict=True))
            for row in np.asarray(x, float).tolist()
        ]
        return np.array(bad, dtype=bool)

    def encode(self, u: Sequence[Linear]) -> Program:
        """Lemmas 8 and 9."""
        return encode_together(u, self.budget.c0, self.gap, self.budget.c)

    @property
    def unit_bits(self) -> int:
        """The largest U of all coordinates (bits/inputs.py)."""
        return max(digits.unit_bits for digits in self.digits)

    @property
    def encoder_bits(self) -> int:
        """Mantissa bits with which no step of `encode` rounds (see Digits.unit_bits)."""
        return max(self.unit_bits, self.gap) + 3

    def encoder_blocks(self) -> list[Block]:
        """Hidden widths of `encode`."""
        return together_blocks(self.target.input_dim, self.budget.c0)

    def architecture(self) -> Architecture:
        return bits_architecture(self.target.widths, self.budget, self.encoder_blocks())

    @property
    def error_terms(self) -> dict[str, float]:
        return self.intervals.terms(self.budget.c0)

    def build(self) -> Built:
        check_depth(self.architecture())
        bound = self.claim.bound
        if bound > self.accuracy:
            raise Refusal(
                f"the printed constants give {bound:.3g}, not {self.accuracy}, for this "
                'target in float64; use bits="certified"'
            )
        target, c0, c = self.target, self.budget.c0, self.budget.c
        *hidden, last = maps = list(integers(target, self.reading, c0))
        check_fields(maps, self.reading, self.budget)
        builder = Builder(target.input_dim)
        u = [
            (x - dyadic(a.start)) * dyadic(a.scale)
            for x, a in zip(builder.values, self.digits, strict=True)
        ]
        packed = builder.run(self.encode(u))
        fields = target.input_dim
        for numbers in hidden:
            packed = builder.run(layer(packed, fields, c, numbers.weights, numbers.biases))
            fields = len(numbers.biases)
            packed = builder.run(truncate(packed, fields, c, c0))
        totals, _ = builder.run(neurons(packed, fields, c, last.weights, last.biases))
        longest = max(max(target.widths[:-1]) * c + 2, self.encoder_bits)
        outputs = [total >> 2 * c0 for total in totals]
        return self._built(builder.output(outputs, "exact", self.covered, longest))


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
