"""Every wide ReLU network has a narrow twin with six parameters a bit (ours).

Statement. Let N0 : Π_j [lower_j, upper_j] → R^o be a ReLU network of depth L ≥ 2 and hidden widths
n_1..n_{L−1}; ε > 0. There is a network N of width max{d + 2, 4, o + 1} with
abs(N(x) − N0(x)) ≤ ε (every output) for every float64 x of the box, and for every real x outside
a set of Lebesgue measure far below 2^{−52} of the box. Proof: narrow_packed.md.

Builds. With c bits per coordinate and fields of s_li bits, for one output and L = 3: reading
about c·log_{3/2} d layers; n_1 layers of width d + 2, or Σ_i (s_1i + 2) layers of width 3; then
Σ_i (s_2i + 1) layers of width 2. `blocks` writes the widths out. A bit of the last hidden layer
costs 6 parameters, one of a layer before it 12, or 20 where the layer is truncated.

Claim. "floats": for every float64, or every float32 (`inputs`), of the box. "probability" if a
`failure_probability` is given: for all real x outside the bad set, whose probability under the
uniform law is made as small as that. "sup" on a `grid`. Terms: input quantisation, weight rounding,
truncation (certified by interval and Euclidean bounds over this very network), and the final
rounding to float64.

Shapes and arithmetic. (batch, d) → (batch, o), exact. A packed number has Σ_i (s_i + 1) digits, so
a float evaluation is refused.

Not in the paper. All of it; the problem is VYS22's. Theorem 2 reads the packed layer once per
output neuron, n² passes; here what is added up is packed as well, so one pass serves all neurons.
By BHLM19 targets of as many parameters, of long inputs, need about n·L of them; for inputs of any
length n/√log n is proved (narrow_packed.md).

Source. VYS22, Theorem 2, Lemmas 14 and 15 for inputs that share a neuron (arXiv 2202.03841).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np

from depthwright.constructions.bits.cells import Reading
from depthwright.constructions.construction import Built
from depthwright.constructions.hypotheses import check_depth
from depthwright.constructions.narrow import NarrowConstruction
from depthwright.constructions.packed.bounds import Bounds, Facts, First, Layout, Sizing
from depthwright.constructions.packed.choice import choose
from depthwright.constructions.packed.layers import Packer
from depthwright.constructions.packed.scales import Scaled, to_float
from depthwright.constructions.packed.widths import architecture, parameters
from depthwright.machine.memory import need_memory
from depthwright.networks.architecture import Architecture
from depthwright.networks.exact.calculus import Builder, Linear

EACH, LARGEST = 32, 64
"""Bytes for each of the target's weights, and for each of its largest matrix: measured up to width
4,096, and rounded up."""


@dataclass(frozen=True)
class NarrowPacked(NarrowConstruction):
    """Width max{d + 2, 4, d_out + 1}; every float of the box is read right."""

    long_gaps: bool = False
    """Zeros behind the fields make every layer cost 6 parameters a bit; for the sizes, and built
    where no packed number has more than LENGTH_LIMIT digits (packed/layers.py)."""

    def reading(self, bits: int, cells: bool = True) -> Reading:
        """The integers that stand for the coordinates: cells of `bits` bits, or the grid."""
        return self._reader(cells)(bits)

    def _reader(self, cells: bool) -> Callable[[int], Reading]:
        """The same as a function of the number of bits that holds no reference to this object."""
        lower, upper = self.target.lower.tolist(), self.target.upper.tolist()
        if not cells:
            assert self.grid is not None
            found = Reading.steps(lower, upper, self.grid)
            return lambda _: found
        floats, share = self.inputs, self._bad_share
        return lambda bits: Reading.cells(lower, upper, bits, floats, share)

    @property
    def _bad_share(self) -> Fraction | None:
        """Upper bound on the share of the box that may be misread."""
        if not self.failure_probability:
            return None
        return Fraction(self.failure_probability) / self.density_share

    @cached_property
    def _alive(self) -> tuple[Scaled, Bounds | None]:
        """The target's neurons that reach an output, and what their values can be."""
        self._need_memory()
        scaled = Scaled.of(self.target.weights, self.target.biases, self.accuracy)
        while scaled.constant is None:
            bounds = self._bounds(scaled, cells=True)
            dead = [high <= 0 for high in bounds.high[:-1]]
            if not any(mask.any() for mask in dead):
                return scaled, bounds
            scaled = scaled.without(dead, self.accuracy)
        return scaled, None

    def _need_memory(self) -> None:
        """Raises Refusal before the target's weights are drawn, if they are."""
        sizes = [above * below for above, below in pairwise(self.target.widths)]
        need_memory(
            EACH * sum(sizes) + LARGEST * max(sizes),
            f"a packed twin of a network with {sum(sizes):,} weights",
            "give a smaller network, or take a larger machine",
        )

    @property
    def scaled(self) -> Scaled:
        """The target's neurons that reach an output, and their scales."""
        return self._alive[0]

    def _bounds(self, scaled: Scaled, cells: bool) -> Bounds:
        reading = lru_cache(maxsize=64)(self._reader(cells))
        maps = zip(scaled.matrices, scaled.shifts, strict=True)
        with np.errstate(over="ignore", invalid="ignore"):  # values that are not finite are refused
            return Bounds(First.of(scaled, reading), [Facts.of(*layer) for layer in maps])

    @property
    def bounds(self) -> Bounds:
        """What their values can be, and how far off; not where the target is constant."""
        bounds = self._alive[1]
        assert bounds is not None
        return bounds

    @cached_property
    def sizing(self) -> Sizing:
        budget = math.ldexp(self.error_left, self.scaled.outputs)
        kinds = [True] if self.grid is None else [False, True]
        found = []
        for cells in kinds:
            bounds = self.bounds if cells else self._bounds(self.scaled, cells=False)
            possible = layouts(self.scaled.widths, cells, self.long_gaps)
            found.append(choose(bounds, budget, self._cost, possible))
        return min(found, key=self._cost)

    def _cost(self, sizing: Sizing) -> int:
        return parameters(self.scaled.widths, sizing)

    @property
    def final_rounding(self) -> float:
        constant = self.scaled.constant
        if constant is not None:
            largest = max(abs(to_float(value)) for value in constant)
        else:
            size = float(np.maximum(self.bounds.high[-1], self.bounds.low[-1]).max())
            largest = unscaled(size, self.scaled)
        return (largest + self.accuracy) * 2.0**-52 + 2.0**-1074

    def architecture(self) -> Architecture:
        if self.scaled.constant is not None:
            return Architecture(self.target.input_dim, [], self.target.output_dim)
        return architecture(self.scaled.widths, self.sizing)

    @property
    def error_terms(self) -> dict[str, float]:
        if self.scaled.constant is not None:
            return {}
        sizing = self.sizing
        bounds = self.bounds if sizing.layout.cells else self._bounds(self.scaled, cells=False)
        first = bounds.sizing(sizing.layout, sizing.bits, weights=False, states=False).error
        second = bounds.sizing(sizing.layout, sizing.bits, states=False).error
        parts = [first, max(second - first, 0.0), max(sizing.error - second, 0.0)]
        sizes = [math.nextafter(unscaled(part, self.scaled), math.inf) for part in parts]
        names = ("input quantisation", "weight rounding", "truncation")
        return dict(zip(names, sizes, strict=True))

    @property
    def bad_set_probability(self) -> Fraction:
        if self.scaled.constant is not None:
            return Fraction(0)
        return self.reading(self.sizing.bits.c).share * self.density_share

    def build(self) -> Built:
        check_depth(self.architecture())
        constant = self.scaled.constant
        if constant is not None:
            builder = Builder(self.target.input_dim)
            network = builder.output([Linear.of(v) for v in constant], "exact", self.covered, 53)
            return self._built(network)
        sizing = self.sizing
        biases = self.target.biases[-1].tolist()
        reading = self.reading(sizing.bits.c, sizing.layout.cells)
        return self._built(Packer(self.scaled, reading, sizing, biases, self.covered).network())

    def in_bad_set(self, x: np.ndarray) -> np.ndarray:
        if self.scaled.constant is not None or not self.sizing.layout.cells:
            return np.zeros(len(x), bool)
        return self.reading(self.sizing.bits.c).in_bad_set(x)


def unscaled(value: float, scaled: Scaled) -> float:
    """An error or a size of the scaled outputs as one of the outputs, rounded up."""
    if not math.isfinite(value):
        return math.inf
    return math.nextafter(to_float(Fraction(value) * Fraction(2) ** -scaled.outputs), math.inf)


def layouts(widths: Sequence[int], cells: bool, long_gaps: bool) -> Iterator[Layout]:
    """The layouts that are tried, each within width max(d + 2, 4, outputs + 1)."""
    d, hidden, outputs = widths[0], len(widths) - 2, widths[-1]
    middle = "tent" if long_gaps else "exact"
    for first in ("direct", "packed"):
        for sums in (True,) if long_gaps or outputs < 3 else (True, False):
            last = "tent" if sums else "exact"
            ways = [middle] * (hidden - 1) + [last]
            if first == "direct":
                ways[0] = "direct"
                wide = d + 1 + (outputs if sums and hidden == 1 else 1)
                if wide > max(d + 2, 4, outputs + 1):
                    continue
            yield Layout(tuple(ways), sums, cells)
