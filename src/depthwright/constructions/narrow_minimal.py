"""VYS22 Theorem 5: the least width, d + 2.

Statement. As Theorem 2 (narrow_bits.py), with width max{d + 2, 10, 6 + 2·d_out}.

Builds. Theorem 2's network behind another encoder, Lemmas 14 and 15: depth e·c0 in place of
2·c0, where e = d if d + 3 ≤ max{10, 6 + 2·d_out} and e = d + 1 otherwise; then Theorem 2's
Σ_{l<L} (n_l·(n_{l−1}·c + 2) + n_l·c + 1) + n_{L−1}·c + 2. The encoder is at most d + 2 wide, or
d + 3 where that is no wider than the rest.

Claim. As Theorem 2, with failure probability β·vol·Σ_j c0/(M·κ_j·side_j) ≤ δ, M the slope of the
bit tests; for floats, bit k = 0..c0 − 1 is tested with slope 2^{h−k}, and none meets a ramp.

Shapes and arithmetic. As Theorem 2.

Not in the paper. (1) The bit test h_δ(z) = (σ(z − ½ + δ/2) − σ(z − ½ − δ/2))/δ is moved by δ/2: as
printed it gives ½ at z = ½, which is where the integer above the second coordinate is read again.
(2) The remainder z ← 2z − bit is affine in the test's neurons, so a bit takes one layer and the
encoder (d + 1)·c0 of them, not O(c0²·d). (3) Repairs (1), (3), (4), (5) of narrow_bits.py.

Source. VYS22, Theorem 5, Lemmas 14 and 15 (arXiv 2202.03841).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from depthwright.constructions.bits.extraction import encode_in_turn, in_turn_blocks
from depthwright.constructions.narrow_bits import NarrowBits
from depthwright.networks.architecture import Block
from depthwright.networks.exact.calculus import Linear, Program
from depthwright.networks.exact.dyadic import Dyadic


@dataclass(frozen=True)
class NarrowMinimal(NarrowBits):
    """Width max{d + 2, 10, 6 + 2·d_out}, coordinates read one after the other."""

    @property
    def shared(self) -> bool:
        """Whether coordinate 1 must share a neuron with coordinate 2."""
        return self.target.input_dim + 3 > max(10, 6 + 2 * self.target.widths[-1])

    @property
    def slopes(self) -> tuple[Dyadic, ...]:
        """Slope of the test of each of the c0 bits: as small as δ, grid or floats allow."""
        c0, finest = self.budget.c0, self.reading.grid_bits or self.slope_bits
        if finest is not None:
            return tuple(Dyadic(1, max(finest - k, 1)) for k in range(c0))
        least = self.probability_of(Fraction(c0)) / Fraction(self.failure_probability)
        return (Dyadic(max(2, math.ceil(least))),) * c0

    @property
    def bad_length(self) -> Fraction:
        """Each of c0 bit tests has a ramp of length 1/M."""
        return self.budget.c0 / self.slopes[0].fraction

    def misread(self, u: Fraction) -> bool:
        rests = ((u * 2**k % 1, slope.fraction) for k, slope in enumerate(self.slopes))
        return any(Fraction(1, 2) - 1 / slope < r < Fraction(1, 2) for r, slope in rests)

    def encode(self, u: Sequence[Linear]) -> Program:
        """Lemmas 14 and 15."""
        return encode_in_turn(u, self.slopes, self.budget.c, self.shared)

    @property
    def encoder_bits(self) -> int:
        """The slope M twice, in M·(2r − t1 + t2 − ½), over multiples of 2^{−U}."""
        top, own = max(m.top for m in self.slopes), max(m.bits for m in self.slopes)
        shared = self.budget.c0 if self.shared else 0
        return top + max(own, shared) + self.unit_bits + 3

    def encoder_blocks(self) -> list[Block]:
        return in_turn_blocks(self.target.input_dim, self.budget.c0, self.shared)
