"""How many bits Theorems 2 and 5 need: VYS22's printed constants, and a certified choice.

The network holds z ≈ z̃·2^{−c0} with integers z̃, sums at scale 2^{2c0}, in fields of c bits. With
X_j the number of the cell of x_j, x̂_j = centre_j + step_j·X_j (inputs.py), its integers are
w̃ = ⌊2^{c0}·abs(w)⌋ with its sign and b̃ = ⌊2^{2c0}·b⌋, but in map 1
w̃_j = ⌊2^{2c0}·abs(w_j)·step_j⌋ with its sign and b̃ = ⌊2^{2c0}·b + Σ_j w̃_j·centre_j/step_j⌋.

Interval bounds. Rounding and truncation are towards 0 or down, so from map 2 on the sums v̂ of the
network obey v̂ ≤ max(W, 0)·ẑ^max + b. In map 1 v̂ ≤ Ŵx̂ + b with abs(ŵ) ≤ abs(w) of the same sign:
at most the largest Wx + b over the box and 0 together, and at most that over the box alone plus
abs(W − Ŵ)·abs(x̂). c = 2c0 + e with v̂ < 2^e is enough. Errors: input e = abs(x − x̂); a map carries
e to abs(W)·e + abs(W − Ŵ)·z^max + 2^{−2c0}, with the residuals of this very network and z^max of
the target, and truncation adds 2^{−c0}. Sums of products of non-negative numbers, every operation
rounded up (networks/upper.py), so that no factor is lost where a later one would bring it back.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from depthwright.constructions.bits.cells import power
from depthwright.constructions.bits.inputs import BitInputs, lowest, outwards, rounded_up
from depthwright.networks.upper import Upper, product
from depthwright.refusal import Refusal
from depthwright.targets.network import ReLUNetwork, affine_range

BITS_LIMIT = 1000
"""An accuracy that needs more bits per number is refused."""


@dataclass(frozen=True)
class Budget:
    """c0 bits after the point, fields of c bits."""

    c0: int
    c: int


def printed(
    radius: float, weight_bound: float, width: int, input_dim: int, depth: int, accuracy: float
) -> Budget:
    """VYS22's c0 and c for A, B, n, d, L, ε; n counts d, too.

    c0 = ⌈2L·log2(5ABnd/ε)⌉, c = 2c0 + ⌈log2(2Ad)⌉ + ⌈L·log2((n + 1)B)⌉ suppose A, B ≥ 1 ≥ ε: with
    a small cube c would be too short for the biases, with a large ε c0 too small for the error.
    """
    a, b = Fraction(max(radius, 1.0)), Fraction(max(weight_bound, 1.0))
    n, d = max(width, input_dim), input_dim
    c0 = math.ceil(2 * depth * _log2(5 * a * b * n * d / Fraction(min(accuracy, 1.0))))
    c = 2 * c0 + math.ceil(_log2(2 * a * d)) + math.ceil(depth * _log2((n + 1) * b))
    return Budget(c0, c)


def _log2(value: Fraction) -> float:
    """Of a positive number that may be beyond the range of float64."""
    return math.log2(value.numerator) - math.log2(value.denominator)


class Intervals:
    """Interval bounds over one target."""

    def __init__(self, target: ReLUNetwork, inputs: BitInputs) -> None:
        self.target, self.inputs = target, inputs
        lower, upper = target.lower, target.upper
        high, _ = affine_range(target.weights[0], target.biases[0], lower, upper)
        self.reaches = [Upper.of(np.maximum(np.abs(lower), np.abs(upper))), *self._later(high)]
        """For each map, bounds of abs(z) of its inputs."""

    def _later(self, high: Upper) -> list[Upper]:
        """Bounds of the hidden states after the first, computed from it."""
        states = [high]
        for matrix, bias in list(zip(self.target.weights, self.target.biases, strict=True))[1:-1]:
            high = product(np.maximum(matrix, 0), high) + Upper.of(np.maximum(bias, 0))
            states.append(high := high - Upper.of(np.maximum(-bias, 0)))
        return states

    def exponent(self, c0: int) -> int | None:
        """The network's hidden sums stay below 2^exponent; None if none is ever positive."""
        matrix, bias, digits = self.target.weights[0], self.target.biases[0], self.inputs.at(c0)
        ends = [outwards(a.centre, a.centre + a.step * a.top) for a in digits]
        low, high = (np.array(side) for side in zip(*ends, strict=True))
        with_zero, _ = affine_range(matrix, bias, np.minimum(low, 0), np.maximum(high, 0))
        alone, _ = affine_range(matrix, bias, low, high)
        reach = Upper.of(np.maximum(np.abs(low), np.abs(high)))
        alone = alone + self._first_rounding(np.abs(matrix), reach, c0)
        tops = [state.max() for state in self._later(smaller(with_zero, alone))]
        return max((int(top.exponent) for top in tops if top.mantissa), default=None)

    def fields(self, c0: int) -> int:
        """The smallest c without overflow."""
        exponent = self.exponent(c0)
        return c0 + 1 if exponent is None else max(c0 + 1, 2 * c0 + exponent)

    def terms(self, c0: int) -> dict[str, float]:
        """The error on good inputs, source by source, for the output with the largest."""
        return {name: float(term) for name, term in self._terms(c0).items()}

    def _terms(self, c0: int) -> dict[str, Upper]:
        unit = Upper.power(-c0)
        coarse = rounded_up([digits.error for digits in self.inputs.at(c0)])
        weights = cut = Upper.of(np.zeros(self.inputs.dim))
        last = len(self.target.weights) - 1
        for i, (matrix, reach) in enumerate(zip(self.target.weights, self.reaches, strict=True)):
            size = np.abs(matrix)
            coarse, cut = product(size, coarse), product(size, cut)
            if i:
                rounding = product(residual(size, -c0), reach)
            else:
                rounding = self._first_rounding(size, reach, c0)
            weights = product(size, weights) + rounding + unit * unit
            if i < last:
                cut = cut + unit
        worst = (coarse + weights + cut).argmax()
        return {
            "input quantisation": coarse[worst],
            "weight rounding": weights[worst],
            "truncation": cut[worst],
        }

    def _first_rounding(self, size: np.ndarray, reach: Upper, c0: int) -> Upper:
        """What w̃ of map 1 leaves of `size`, times `reach`.

        ŵ_j is a multiple of κ_j2^{−c0}, which bounds it where κ_j is no power of two.
        """
        scales = [digits.scale for digits in self.inputs.at(c0)]
        known = np.array([scale == power(lowest(scale)) for scale in scales])
        powers = np.array(
            [lowest(scale) if k else 0 for scale, k in zip(scales, known, strict=True)]
        )
        exact = np.where(known, residual(size, powers - c0), 0.0)
        units = rounded_up(scales) << -c0
        others = np.where(known, 0.0, np.ones_like(size))
        return product(exact, reach) + product(others, reach * units)

    def certified(self, error: float) -> Budget:
        """The smallest c0 whose bound is at most `error`, and the smallest c.

        By bisection: every term falls as c0 rises.
        """

        def enough(c0: int) -> bool:
            coarse, weights, cut = self._terms(c0).values()
            return float(coarse + weights + cut) <= error

        c0 = 1 + bisect_left(range(1, BITS_LIMIT + 1), True, key=enough)
        if c0 > BITS_LIMIT:
            raise Refusal(
                f"an error of {error:.3g} would need more than {BITS_LIMIT} bits per number; "
                "give a larger accuracy"
            )
        return Budget(c0, self.fields(c0))


def smaller(a: Upper, b: Upper) -> Upper:
    """The smaller of two bounds, element by element."""
    zero = (a.mantissa == 0) | (b.mantissa == 0)
    same = a.exponent == b.exponent
    first = (a.exponent < b.exponent) | (same & (a.mantissa <= b.mantissa))
    return Upper(
        np.where(zero, 0.0, np.where(first, a.mantissa, b.mantissa)),
        np.where(first, a.exponent, b.exponent),
    )


def residual(size: np.ndarray, exponent: int | np.ndarray) -> np.ndarray:
    """What is left of `size` above the multiple of 2^exponent below it, exact."""
    with np.errstate(over="ignore"):
        whole = np.floor(np.ldexp(size, -exponent))  # rounded only where it is below 1, then 0
        below = np.ldexp(whole, exponent)
    return np.where(np.isinf(whole), 0.0, size - below)  # an overflow means that it was a multiple


@dataclass(frozen=True)
class Integers:
    """w̃ (fan_out rows) and b̃ of one map."""

    weights: list[list[int]]
    biases: list[int]


def integers(target: ReLUNetwork, inputs: BitInputs, c0: int) -> Iterator[Integers]:
    for i, (matrix, bias) in enumerate(zip(target.weights, target.biases, strict=True)):
        if i:
            scales, shifts = [Fraction(2**c0)] * matrix.shape[1], [Fraction(0)] * matrix.shape[1]
        else:
            digits = inputs.at(c0)
            scales = [axis.step * 4**c0 for axis in digits]
            shifts = [axis.centre / axis.step for axis in digits]
        weights = [
            [int(Fraction(w) * scale) for w, scale in zip(row, scales, strict=True)]
            for row in matrix.tolist()
        ]
        biases = [
            math.floor(Fraction(b) * 4**c0 + sum(w * s for w, s in zip(row, shifts, strict=True)))
            for b, row in zip(bias.tolist(), weights, strict=True)
        ]
        yield Integers(weights, biases)


def check_fields(maps: list[Integers], inputs: BitInputs, budget: Budget) -> None:
    """Prove, in integers, that every hidden sum of this network is below 2^c."""
    reach = [digits.top for digits in inputs.at(budget.c0)]
    for level, numbers in enumerate(maps[:-1], 1):
        high = [
            sum(w * z for w, z in zip(row, reach, strict=True) if w > 0) + bias
            for row, bias in zip(numbers.weights, numbers.biases, strict=True)
        ]
        if max(high) >= 2**budget.c:
            raise AssertionError(
                f"a sum of layer {level} may need {max(high).bit_length()} bits, its field has "
                f"{budget.c}; this is a bug"
            )
        reach = [max(v, 0) >> budget.c0 for v in high]
