"""How many bits Theorems 2 and 5 need: VYS22's printed constants, and a certified choice.

The network holds z ≈ z̃·2^{−c0} with integers z̃, sums at scale 2^{2c0}, in fields of c bits. With
κ the dyadic 1/(2A) and X_j the first c0 bits of κ(x_j + A), its integers are
w̃ = ⌊2^{c0}·abs(w)⌋ with its sign and b̃ = ⌊2^{2c0}·b⌋, but in map 1
w̃ = ⌊2^{c0}·abs(w)/κ⌋ with its sign and b̃ = ⌊2^{2c0}·b − Aκ2^{c0}·Σ_j w̃_j⌋.

Interval bounds. Rounding and truncation are towards 0 or down, so the sums v̂ of the network obey
v̂ ≤ max(W, 0)·ẑ^max + b with bounds of the target alone (map 1: abs(W)·A + b): they do not depend on
c0, and c = 2c0 + e with v̂ < 2^e is enough. Errors: input e = 2^{−c0}/κ (less a grid step); a map
carries e to abs(W)·e + abs(W − Ŵ)·ẑ^max + 2^{−2c0}, with the residuals of this very network, and
truncation adds 2^{−c0}. Sums of products of non-negative floats, so a relative slack covers their
rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from depthwright.constructions.narrow_packed_bits import Input
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
    a, b, n, d = max(radius, 1.0), max(weight_bound, 1.0), max(width, input_dim), input_dim
    c0 = math.ceil(2 * depth * math.log2(5 * a * b * n * d / min(accuracy, 1.0)))
    c = 2 * c0 + math.ceil(math.log2(2 * a * d)) + math.ceil(depth * math.log2((n + 1) * b))
    return Budget(c0, c)


class Intervals:
    """Interval bounds over one target."""

    def __init__(self, target: ReLUNetwork, inputs: Input) -> None:
        self.target, self.inputs = target, inputs
        self.slack = 1 + 8 * 2.0**-53 * sum(n + 32 for n in target.widths) * 2
        reach = np.full(target.input_dim, target.radius)
        self.reaches = [reach]
        """Per map, bounds of abs(ẑ) that it reads."""
        top = 0.0
        maps = zip(target.weights, target.biases, strict=True)
        for i, (matrix, bias) in enumerate(maps):
            size = np.maximum(matrix, 0) if i else np.abs(matrix)
            high = size @ reach * self.slack + bias + np.abs(bias) * 2.0**-50
            reach = np.maximum(high, 0.0)
            if i < len(target.weights) - 1:
                top = max(top, float(reach.max()))
                self.reaches.append(reach)
        self.exponent = math.frexp(top)[1] if top else None
        """Hidden sums stay below 2^exponent; None if none is ever positive."""

    def fields(self, c0: int) -> int:
        """The smallest c without overflow."""
        needed = c0 + 1
        return needed if self.exponent is None else max(needed, 2 * c0 + self.exponent)

    def terms(self, c0: int) -> dict[str, float]:
        """The error on good inputs, source by source, of the output with the largest."""
        unit, inputs = 2.0**-c0, self.inputs
        grid = 0.0 if inputs.grid_bits is None else 2.0**-inputs.grid_bits
        coarse = np.full(inputs.dim, max(unit - grid, 0.0) / inputs.scale * self.slack)
        weights, cut = np.zeros(inputs.dim), np.zeros(inputs.dim)
        last = len(self.target.weights) - 1
        for i, (matrix, reach) in enumerate(zip(self.target.weights, self.reaches, strict=True)):
            size = np.abs(matrix)
            rounding = residual(size, c0) if i else first_residual(size, c0, inputs.scale)
            coarse = size @ coarse * self.slack
            weights = (size @ weights + rounding @ reach + unit * unit + 5e-324) * self.slack
            cut = size @ cut * self.slack
            if i < last:
                cut = cut + unit
        worst = int((coarse + weights + cut).argmax())
        return {
            "input quantisation": float(coarse[worst]),
            "weight rounding": float(weights[worst]),
            "truncation": float(cut[worst]),
        }

    def certified(self, error: float) -> Budget:
        """The smallest c0 whose bound is at most `error`, and the smallest c."""
        for c0 in range(1, BITS_LIMIT + 1):
            if math.fsum(self.terms(c0).values()) * self.slack <= error:
                return Budget(c0, self.fields(c0))
        raise Refusal(
            f"an error of {error:.3g} would need more than {BITS_LIMIT} bits per number; "
            "give a larger accuracy"
        )


def residual(size: np.ndarray, c0: int) -> np.ndarray:
    """abs(w) − ⌊2^{c0}·abs(w)⌋·2^{−c0}, exact; what overflows was an integer already."""
    with np.errstate(over="ignore"):
        scaled = np.ldexp(size, c0)
    scaled[np.isinf(scaled)] = 0.0
    return np.ldexp(scaled - np.floor(scaled), -c0)


def first_residual(size: np.ndarray, c0: int, scale: float) -> np.ndarray:
    """abs(w) − κ2^{−c0}·⌊2^{c0}·abs(w)/κ⌋ if κ is a power of two, else κ2^{−c0}, its bound."""
    mantissa, exponent = math.frexp(scale)
    if mantissa == 0.5:
        return np.ldexp(residual(np.ldexp(size, 1 - exponent), c0), exponent - 1)
    return np.full(size.shape, scale * 2.0**-c0)


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
