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

Source. VYS22, Theorem 2, Lemmas 14 and 15 for the riding input (arXiv 2202.03841).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import ClassVar

import numpy as np

from depthwright.constructions.bits.cells import Floats, Reading
from depthwright.constructions.construction import Built, Claim, Construction
from depthwright.constructions.hypotheses import (
    check_accuracy,
    check_depth,
    check_inputs,
    check_range,
    check_target,
    density_share,
)
from depthwright.constructions.packed.bounds import Bounds, Facts, First, Layout, Sizing
from depthwright.constructions.packed.choice import choose
from depthwright.constructions.packed.layers import Packer
from depthwright.constructions.packed.scales import Scaled, to_float
from depthwright.constructions.packed.widths import architecture, parameters
from depthwright.networks.architecture import Architecture
from depthwright.networks.exact.calculus import Builder, Linear
from depthwright.networks.inputs import Inputs, Numbers
from depthwright.refusal import Refusal
from depthwright.targets.network import ReLUNetwork


@dataclass(frozen=True)
class NarrowPacked(Construction):
    """Width max{d + 2, 4, d_out + 1}; every float of the box is read right."""

    target: ReLUNetwork
    accuracy: float
    failure_probability: float = 0.0
    """0: the claim speaks of floats. Else of all real inputs but this share of the box."""
    grid: float | None = None
    """Step h: the claim then holds for every float64 x with coordinates lower + h·k, k whole."""
    inputs: Floats = "float64"
    """For which floats a claim of norm "floats" holds."""
    density_bound: float | None = None
    """VYS22's β of the law that a claim of norm "probability" is about; None: it is uniform."""
    long_gaps: bool = False
    """Zeros behind the fields make every layer cost 6 parameters a bit; for the sizes, and built
    where no packed number has more than LENGTH_LIMIT digits (narrow_packed_layers.py)."""
    theorem: ClassVar[str] = "Packed narrow network (ours)"

    def __post_init__(self) -> None:
        check_target(self.target)
        check_accuracy(self.accuracy)
        check_inputs(
            self.target, self.failure_probability, self.grid, self.inputs, self.density_bound
        )

    def reading(self, bits: int, cells: bool = True) -> Reading:
        """The whole numbers that stand for the coordinates: cells of `bits` bits, or the grid."""
        return self._reader(cells)(bits)

    def _reader(self, cells: bool) -> Callable[[int], Reading]:
        """That function of the bits, which outlives this object and does not hold it."""
        lower, upper = self.target.lower.tolist(), self.target.upper.tolist()
        if not cells:
            assert self.grid is not None
            found = Reading.steps(lower, upper, self.grid)
            return lambda _: found
        floats, share = self.inputs, self._bad_share
        return lambda bits: Reading.cells(lower, upper, bits, floats, share)

    @property
    def _bad_share(self) -> Fraction | None:
        """The part of the box that may be misread, at most."""
        if not self.failure_probability:
            return None
        share = density_share(self.density_bound, self.target.domain)
        return Fraction(self.failure_probability) / share

    @cached_property
    def scaled(self) -> Scaled:
        """The target's neurons that count, and their scales."""
        scaled = Scaled.of(self.target.weights, self.target.biases, self.accuracy)
        while scaled.constant is None:
            bounds = self._bounds(scaled, cells=True)
            dead = [high <= 0 for high in bounds.high[:-1]]
            if not any(mask.any() for mask in dead):
                break
            scaled = scaled.without(dead, self.accuracy)
        return scaled

    def _bounds(self, scaled: Scaled, cells: bool) -> Bounds:
        reading = lru_cache(maxsize=64)(self._reader(cells))
        maps = zip(scaled.matrices, scaled.shifts, strict=True)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
            return Bounds(First.of(scaled, reading), [Facts.of(*layer) for layer in maps])

    @cached_property
    def bounds(self) -> Bounds:
        """What is known of the target, inputs read bit by bit."""
        return self._bounds(self.scaled, cells=True)

    @cached_property
    def sizing(self) -> Sizing:
        """The bits, and what they achieve."""
        budget = self._budget
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
    def _budget(self) -> float:
        """The error that is left, scaled."""
        rounding = self.final_rounding + self.target.reading_error
        check_range(rounding)
        if rounding >= self.accuracy:
            raise Refusal(
                f"accuracy={self.accuracy} is below the rounding of the result to float64, "
                f"{rounding:.3g}; give a larger accuracy"
            )
        return math.ldexp((self.accuracy - rounding) * (1 - 1e-12), self.scaled.outputs)

    @property
    def final_rounding(self) -> float:
        """At least half a unit in the last place of the largest value, error included."""
        constant = self.scaled.constant
        if constant is not None:
            largest = max(abs(to_float(value)) for value in constant)
        else:
            size = float(np.maximum(self.bounds.high[-1], self.bounds.low[-1]).max())
            largest = unscaled(size, self.scaled)
        return (largest + self.accuracy) * 2.0**-52 + 2.0**-1074

    def architecture(self) -> Architecture:
        """From the bits."""
        if self.scaled.constant is not None:
            return Architecture(self.target.input_dim, [], self.target.output_dim)
        return architecture(self.scaled.widths, self.sizing)

    @property
    def claim(self) -> Claim:
        """Terms that sum to at most the accuracy asked for."""
        terms = {} if self.scaled.constant is not None else self._terms()
        terms["final rounding to float64"] = self.final_rounding
        terms |= self.target.reading_terms
        domain, delta = str(self.covered), self.failure_probability
        if self.grid is not None:
            return Claim(self.accuracy, "sup", domain, terms, "exact")
        if not delta:
            return Claim(self.accuracy, "floats", domain, terms, "exact")
        probability = 0.0
        if self.scaled.constant is None:
            share = density_share(self.density_bound, self.target.domain)
            bad = self.reading(self.sizing.bits.c).share * share
            probability = min(math.nextafter(float(bad), 1.0), delta)
        return Claim(
            self.accuracy, "probability", domain, terms, "exact", probability, self.density_bound
        )

    def _terms(self) -> dict[str, float]:
        sizing = self.sizing
        bounds = self.bounds if sizing.layout.cells else self._bounds(self.scaled, cells=False)
        first = bounds.sizing(sizing.layout, sizing.bits, weights=False, states=False).error
        second = bounds.sizing(sizing.layout, sizing.bits, states=False).error
        parts = [first, max(second - first, 0.0), max(sizing.error - second, 0.0)]
        sizes = [math.nextafter(unscaled(part, self.scaled), math.inf) for part in parts]
        names = ("input quantisation", "weight rounding", "truncation")
        return dict(zip(names, sizes, strict=True))

    @property
    def covered(self) -> Inputs:
        """The inputs that the claim speaks of."""
        box = self.target.domain
        numbers: Numbers = "real" if self.failure_probability or self.grid else self.inputs
        return Inputs(box.lower, box.upper, numbers, self.grid)

    def build(self) -> Built:
        """Read the inputs, then one hidden layer of the target after the other."""
        check_depth(self.architecture())
        constant = self.scaled.constant
        if constant is not None:
            builder = Builder(self.target.input_dim)
            network = builder.output([Linear.of(v) for v in constant], "exact", self.covered, 53)
            return Built(network, self.claim)
        sizing = self.sizing
        biases = self.target.biases[-1].tolist()
        reading = self.reading(sizing.bits.c, sizing.layout.cells)
        network = Packer(self.scaled, reading, sizing, biases, self.covered).network()
        return Built(network, self.claim, self.fails if self.failure_probability else None)

    def fails(self, x: np.ndarray) -> np.ndarray:
        """Which rows of `x` (batch, d) lie in the bad set, exactly: booleans (batch,)."""
        if self.scaled.constant is not None or not self.sizing.layout.cells:
            return np.zeros(len(x), bool)
        return self.reading(self.sizing.bits.c).in_bad_set(x)


def unscaled(value: float, scaled: Scaled) -> float:
    """An error or a size of the scaled outputs as one of the outputs, rounded up."""
    if not math.isfinite(value):
        return math.inf
    return math.nextafter(to_float(Fraction(value) * Fraction(2) ** -scaled.outputs), math.inf)


def layouts(widths: Sequence[int], cells: bool, long_gaps: bool) -> Iterator[Layout]:
    """What is tried, each within width max(d + 2, 4, outputs + 1)."""
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
