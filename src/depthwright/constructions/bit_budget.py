"""How many bits Theorems 2 and 5 need: VYS22's printed constants, and a certified choice.

The network holds z ≈ z̃·2^{−c0} with integers z̃, sums at scale 2^{2c0}, in fields of c bits. With
κ the dyadic 1/(2A) and X_j the first c0 bits of κ(x_j + A), its integers are
w̃ = ⌊2^{c0}·abs(w)⌋ with its sign and b̃ = ⌊2^{2c0}·b⌋, but in map 1
w̃ = ⌊2^{c0}·abs(w)/κ⌋ with its sign and b̃ = ⌊2^{2c0}·b − Aκ2^{c0}·Σ_j w̃_j⌋.

Interval bounds. Rounding and truncation are towards 0 or down, so the sums v̂ of the network obey
v̂ ≤ max(W, 0)·ẑ^max + b with bounds of the target alone (map 1: abs(W)·A + b): they do not depend on
c0, and c = 2c0 + e with v̂ < 2^e is enough. Errors: input e = 2^{−c0}/κ (less a grid step); a map
carries e to abs(W)·e + abs(W − Ŵ)·ẑ^max + 2^{−2c0}, with the residuals of this very network, and
truncation adds 2^{−c0}. Sums of products of non-negative numbers, every operation rounded up
(networks/upper.py), so that no factor is lost where a later one would bring it back.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from depthwright.constructions.narrow_packed_bits import Input
from depthwright.networks.upper import Upper, product
from depthwright.refusal import Refusal
from depthwright.targets.network import ReLUNetwork

BITS_LIMIT = 1000
"""No accuracy that needs more bits than this per number is tried."""


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

    def __init__(self, target: ReLUNetwork, inputs: Input) -> None:
        self.target, self.inputs = target, inputs
        reach = Upper.of(np.full(target.input_dim, target.radius))
        self.reaches = [reach]
        """Per map, bounds of abs(ẑ) that it reads."""
        hidden = zip(target.weights[:-1], target.biases[:-1], strict=True)
        for i, (matrix, bias) in enumerate(hidden):
            size = np.maximum(matrix, 0) if i else np.abs(matrix)
            high = product(size, reach) + Upper.of(np.maximum(bias, 0))
            reach = high - Upper.of(np.maximum(-bias, 0))
            self.reaches.append(reach)
        tops = [reach.max() for reach in self.reaches[1:]]
        exponents = [int(top.exponent) for top in tops if top.mantissa]
        self.exponent = max(exponents, default=None)
        """Hidden sums stay below 2^exponent; None if none is ever positive."""

    def fields(self, c0: int) -> int:
        """The smallest c without overflow."""
        needed = c0 + 1
        return needed if self.exponent is None else max(needed, 2 * c0 + self.exponent)

    def terms(self, c0: int) -> dict[str, float]:
        """The error on good inputs, source by source, of the output with the largest."""
        return {name: float(term) for name, term in self._terms(c0).items()}

    def _terms(self, c0: int) -> dict[str, Upper]:
        unit, inputs = Upper.power(-c0), self.inputs
        cell = unit if inputs.grid_bits is None else unit - Upper.power(-inputs.grid_bits)
        none = Upper.of(np.zeros(inputs.dim))
        coarse, weights, cut = none + cell / Upper.of(inputs.scale), none, none
        last = len(self.target.weights) - 1
        for i, (matrix, reach) in enumerate(zip(self.target.weights, self.reaches, strict=True)):
            size = np.abs(matrix)
            coarse, cut = product(size, coarse), product(size, cut)
            rounding = self._rounding(size, reach, c0, first=not i)
            weights = product(size, weights) + rounding + unit * unit
            if i < last:
                cut = cut + unit
        worst = (coarse + weights + cut).argmax()
        return {
            "input quantisation": coarse[worst],
            "weight rounding": weights[worst],
            "truncation": cut[worst],
        }

    def _rounding(self, size: np.ndarray, reach: Upper, c0: int, first: bool) -> Upper:
        """What w̃ leaves of `size`, times `reach`; its bound κ2^{−c0} where κ is no power of two."""
        if not first:
            return product(residual(size, -c0), reach)
        mantissa, exponent = math.frexp(self.inputs.scale)
        if mantissa == 0.5:
            return product(residual(size, exponent - 1 - c0), reach)
        return product(np.ones_like(size), reach) * (Upper.of(self.inputs.scale) << -c0)

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


def residual(size: np.ndarray, power: int) -> np.ndarray:
    """What is left of `size` above the multiple of 2^power below it, exact."""
    with np.errstate(over="ignore"):
        whole = np.floor(np.ldexp(size, -power))  # rounded only where it is below 1, then 0
        below = np.ldexp(whole, power)
    return np.where(np.isinf(whole), 0.0, size - below)  # what overflows was a multiple


@dataclass(frozen=True)
class Integers:
    """w̃ (fan_out rows) and b̃ of one map."""

    weights: list[list[int]]
    biases: list[int]


def integers(target: ReLUNetwork, inputs: Input, c0: int) -> Iterator[Integers]:
    """Map by map."""
    kappa = Fraction(inputs.scale)
    for i, (matrix, bias) in enumerate(zip(target.weights, target.biases, strict=True)):
        scale = 2**c0 / kappa if i == 0 else Fraction(2**c0)
        weights = [[int(Fraction(w) * scale) for w in row] for row in matrix.tolist()]
        shift = Fraction(target.radius) * kappa * 2**c0 if i == 0 else Fraction(0)
        biases = [
            math.floor(Fraction(b) * 4**c0 - shift * sum(row))
            for b, row in zip(bias.tolist(), weights, strict=True)
        ]
        yield Integers(weights, biases)


def check_fields(maps: list[Integers], inputs: Input, budget: Budget) -> None:
    """Prove, in integers, that every hidden sum of this network is below 2^c."""
    highest = math.floor(2 * Fraction(inputs.radius) * Fraction(inputs.scale) * 2**budget.c0)
    reach = [min(highest, 2**budget.c0 - 1)] * inputs.dim
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
