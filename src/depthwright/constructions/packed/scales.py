"""The target as NarrowPacked uses it: neurons that reach an output, and their scales.

σ(2^a v) = 2^a σ(v), so hidden neuron i of layer l may be multiplied by 2^{a_li} and divided again
where it is read: the same function. a_li is such that the scaled weights that read the neuron have
a norm of about 1, from the outputs back. Then one unit of rounding costs every neuron of a layer
about the same error of the output, numbers of any size in the target become numbers near 1, and
underflow is negligible. The outputs are scaled by the accuracy: error 1 is about ε.

Neurons that nothing reads and neurons that are never positive are left out, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from depthwright.constructions.bits.cells import floor_log2, power

Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Scaled:
    """The original weights and biases, and the exponents a_l, l = 1..L."""

    weights: Arrays
    biases: Arrays
    exponents: Arrays

    @classmethod
    def of(cls, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], unit: float) -> Scaled:
        """Without neurons that reach no output; an error of `unit` becomes one in [1, 2)."""
        kept = [np.ones(len(biases[-1]), bool)]
        exponents = [np.full(len(biases[-1]), -floor_log2(Fraction(unit)))]
        chosen: list[np.ndarray] = []
        for matrix in reversed(weights[1:]):
            read = matrix[kept[0]]
            used = read.any(axis=0)
            chosen.insert(0, read[:, used])
            exponents.insert(0, _column_norms(chosen[0], exponents[0]))
            kept.insert(0, used)
        chosen.insert(0, weights[0][kept[0]])
        picked = tuple(bias[used] for bias, used in zip(biases, kept, strict=True))
        return cls(tuple(chosen), picked, tuple(exponents))

    def without(self, dead: Sequence[np.ndarray], unit: float) -> Scaled:
        """Hidden neurons given by masks are left out, and the scales are chosen again."""
        weights, biases = list(self.weights), list(self.biases)
        for level, mask in enumerate(dead):
            weights[level], biases[level] = weights[level][~mask], biases[level][~mask]
            weights[level + 1] = weights[level + 1][:, ~mask]
        return Scaled.of(weights, biases, unit)

    @property
    def widths(self) -> tuple[int, ...]:
        """(d, n_1, …, d_out) of the remaining neurons."""
        return (self.weights[0].shape[1], *(len(bias) for bias in self.biases))

    @cached_property
    def matrices(self) -> Arrays:
        """Scaled maps 2..L; exact but for entries below 2^{−1022}."""
        return tuple(
            np.ldexp(matrix, above[:, None] - below[None, :])
            for matrix, above, below in zip(
                self.weights[1:], self.exponents[1:], self.exponents, strict=False
            )
        )

    @cached_property
    def shifts(self) -> Arrays:
        """Scaled biases 2..L, with the same exception."""
        pairs = zip(self.biases[1:], self.exponents[1:], strict=True)
        with np.errstate(over="ignore"):  # infinite magnitudes are refused
            return tuple(np.ldexp(bias, exponent) for bias, exponent in pairs)

    @property
    def outputs(self) -> int:
        """The exponent of the outputs."""
        return int(self.exponents[-1][0])

    def first(self, factors: Sequence[Fraction]) -> np.ndarray:
        """2^{a_i} w_ij factor_j, to a relative 2^{−52}, or absolutely 2^{−1074}."""
        parts = [normal(factor) for factor in factors]
        mantissas, exponents = np.frexp(self.weights[0])
        powers = exponents + np.array([e for _, e in parts]) + self.exponents[0][:, None]
        with np.errstate(over="ignore"):
            return np.ldexp(mantissas * np.array([m for m, _ in parts]), powers)

    def first_at(self, x: Sequence[Fraction]) -> list[Fraction]:
        """2^{a_i} v_i of the first layer at one input, exactly."""
        values = []
        rows = zip(
            self.weights[0].tolist(), self.biases[0].tolist(), self.exponents[0], strict=True
        )
        for row, bias, exponent in rows:
            pairs = zip(row, x, strict=True)
            total = Fraction(bias) + sum((Fraction(w) * v for w, v in pairs if w), Fraction(0))
            values.append(total * power(int(exponent)))
        return values

    @property
    def constant(self) -> list[Fraction] | None:
        """The outputs, if some hidden layer has no neuron left."""
        empty = [level for level, bias in enumerate(self.biases[:-1]) if not len(bias)]
        if not empty:
            return None
        values: list[Fraction] = []
        for level in range(empty[-1] + 1, len(self.biases)):
            rows = zip(self.weights[level].tolist(), self.biases[level].tolist(), strict=True)
            values = [
                sum((Fraction(w) * z for w, z in zip(row, values, strict=True)), Fraction(bias))
                for row, bias in rows
            ]
            if level < len(self.biases) - 1:
                values = [max(v, Fraction(0)) for v in values]
        return values


def _column_norms(matrix: np.ndarray, above: np.ndarray) -> np.ndarray:
    """a of the neurons that a map reads: the logarithms of its scaled columns' norms, rounded."""
    if not matrix.size:
        return np.zeros(matrix.shape[1], int)
    mantissas, exponents = np.frexp(matrix)
    exponents = np.where(matrix != 0, exponents + above[:, None], -(2**30))
    largest = exponents.max(axis=0)
    scaled = np.ldexp(mantissas, np.maximum(exponents - largest, -600))
    return largest + np.rint(np.log2(np.sqrt((scaled**2).sum(axis=0)))).astype(int)


def normal(value: Fraction) -> tuple[float, int]:
    """A positive number as mantissa × 2^exponent, the mantissa in [1, 2] rounded to a float."""
    exponent = floor_log2(value)
    return float(value * power(-exponent)), exponent


def to_float(value: Fraction) -> float:
    """The nearest float, ±inf beyond the range."""
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
