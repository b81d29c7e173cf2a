"""How many bits NarrowPacked needs: certified error and field widths from facts about the layers.

The facts are the matrices themselves where they are small, else norms alone, so that sizes reach
widths at which no matrix would fit into memory. Every bound is the smaller of an interval bound
and a Euclidean one (spectral norm for errors, Cauchy–Schwarz for magnitudes); the inequalities
carry the numbers of narrow_packed.md. Everything is a sum of products of non-negative floats, so
a relative slack covers its rounding.

Which bits are taken is narrow_packed_choice.py's business.
"""

from __future__ import annotations

import math
from fractions import Fraction
from depthwright.refusal import Refusal
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from depthwright.networks.dyadic import Dyadic

MATRIX_LIMIT = 1 << 20
"""Layers with more entries than this are described by their norms only."""


@dataclass(frozen=True)
class LayerFacts:
    """What is known of one affine map. Row quantities are arrays (fan_out,), or (1,) for maxima."""

    fan_in: int
    fan_out: int
    spectral: float
    """‖W‖₂ or more."""
    row_norm: np.ndarray
    """‖w_i‖₂."""
    positive_norm: np.ndarray
    """‖max(w_i, 0)‖₂."""
    negative_norm: np.ndarray
    """‖max(−w_i, 0)‖₂."""
    row_sum: np.ndarray
    """Σ_j abs(w_ij); used where there is no matrix."""
    weight_max: float
    bias: np.ndarray
    """abs(b_i) where there is no matrix, b_i where there is."""
    bias_norm: float
    matrix: np.ndarray | None = field(default=None, repr=False)

    @classmethod
    def of(cls, matrix: np.ndarray, bias: np.ndarray, spectral: float) -> LayerFacts:
        """Everything there is to know, or the norms if the matrix is large.

        Squares are taken of entries below 1, brought there by a power of two: 1e-170 squared is 0.
        """
        scale = math.frexp(float(np.abs(matrix).max()))[1]
        square = np.ldexp(matrix, -scale) ** 2
        above = np.where(matrix > 0, square, 0.0).sum(axis=1)
        below = np.where(matrix < 0, square, 0.0).sum(axis=1)
        small = matrix.size <= MATRIX_LIMIT

        def norm(squares: np.ndarray) -> np.ndarray:
            with np.errstate(over="ignore"):  # `packed_sizing` refuses infinities
                return np.ldexp(np.sqrt(squares), scale)

        return cls(
            matrix.shape[1],
            matrix.shape[0],
            spectral,
            norm(square.sum(axis=1)),
            norm(above),
            norm(below),
            np.abs(matrix).sum(axis=1),
            float(np.abs(matrix).max()),
            bias,
            math.hypot(*bias.tolist()),
            matrix if small else None,
        )


def he_facts(
    input_dim: int, width: int, depth: int, output_dim: int = 1, doubt: float = 1e-6
) -> list[LayerFacts]:
    """Norms that a He-initialised network (biases 0) has with probability at least 1 − doubt.

    A matrix of independent N(0, 2/m) entries, k × m, has ‖W‖₂ ≤ √(2/m)(√k + √m + τ) outside
    probability e^{−τ²/2} (Gordon; Davidson & Szarek 2001); ‖w_i‖, ‖max(±w_i, 0)‖ and
    abs(w_ij) are √(2/m) times 1-Lipschitz functions of a Gaussian vector with means at most √m,
    √(m/2), 0, so each exceeds its mean by √(2/m)·τ with probability at most e^{−τ²/2}. The doubt
    is shared over all these events.
    """
    widths = [input_dim, *[width] * (depth - 1), output_dim]
    facts = []
    for m, k in pairwise(widths):
        events = depth * (1 + 3 * k + 2 * k * m)
        tau = math.sqrt(2 * math.log(events / doubt))
        scale = math.sqrt(2 / m)
        half = np.array([scale * (math.sqrt(m / 2) + tau)])
        row = scale * (math.sqrt(m) + tau)
        facts.append(
            LayerFacts(
                m,
                k,
                scale * (math.sqrt(k) + math.sqrt(m) + tau),
                np.array([row]),
                half,
                half,
                np.array([row * math.sqrt(m)]),
                scale * tau,
                np.zeros(1),
                0.0,
            )
        )
    return facts


@dataclass(frozen=True)
class Input:
    """How coordinates are read: x_j = −radius + (X_j + middle)/(scale·2^c) up to an error.

    `scale` = κ, a dyadic number with 2·radius·κ ≤ 1. `grid_bits` = g: every x'_j = κ(x_j + radius)
    is a multiple of 2^{−g} (None: any real).
    """

    dim: int
    radius: float
    scale: float
    grid_bits: int | None = None

    @property
    def unit_bits(self) -> int:
        """U: every x'_j read is a multiple of 2^{−U}, if x_j is a multiple of 2^{e−53}, A ≤ 2^e.

        So are all floats of at least half the radius in size, and all that are drawn uniformly.
        """
        if self.grid_bits is not None:
            return self.grid_bits
        return 53 - math.frexp(self.radius)[1] - Dyadic.of(self.scale).terms[0][1]

    def error(self, c: int) -> float:
        """Half the width of a cell: largest abs(x_j − x̂_j) on good inputs with c bits."""
        grid = 0.0 if self.grid_bits is None else 2.0**-self.grid_bits
        return (2.0**-c - grid) / (2 * self.scale) * (1 + 1e-15)


@dataclass(frozen=True)
class Bits:
    """c bits per coordinate; p_l, q_l fraction bits of hidden pre-activations and states."""

    c: int
    p: tuple[int, ...]
    q: tuple[int, ...]


@dataclass(frozen=True)
class Sizing:
    """What a choice of bits achieves."""

    bits: Bits
    error: float
    """Certified, before the final rounding to float64."""
    s: tuple[int, ...]
    """Field widths of the hidden layers."""
    states: tuple[float, ...]
    """Bounds of ‖ẑ_l‖₂ for the hidden layers."""


class Bounds:
    """Magnitudes once, errors for any choice of bits."""

    def __init__(self, facts: Sequence[LayerFacts], inputs: Input) -> None:
        self.facts, self.inputs = list(facts), inputs
        self.slack = 1 + 8 * 2.0**-53 * sum(f.fan_in + f.fan_out + 32 for f in facts)
        self.z_max: list[np.ndarray] = [np.array([inputs.radius])]
        self.z_norm = [inputs.radius * math.sqrt(inputs.dim)]
        self.v_max: list[np.ndarray] = []
        with np.errstate(over="ignore", invalid="ignore"):  # `packed_sizing` refuses infinities
            self._measure()

    def _measure(self) -> None:
        """Layer by layer."""
        for level, fact in enumerate(self.facts):
            high, low = self._range(fact, self.z_max[-1], self.z_norm[-1], signed=level == 0)
            self.v_max.append(np.maximum(high, low))
            top = np.maximum(high, 0.0)
            norm = fact.spectral * self.z_norm[-1] + fact.bias_norm
            self.z_max.append(top)
            self.z_norm.append(min(norm, _norm(top, fact.fan_out)) * self.slack)

    def _range(
        self, fact: LayerFacts, z_max: np.ndarray, z_norm: float, signed: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Bounds of v and of −v; the previous state is ≥ 0 unless `signed`."""
        above = fact.row_norm if signed else fact.positive_norm
        below = fact.row_norm if signed else fact.negative_norm
        if fact.matrix is None:
            up = down = fact.row_sum * z_max.max()
            bias_up = bias_down = np.abs(fact.bias)
        else:
            z = np.broadcast_to(z_max, fact.fan_in)
            if signed:
                up = down = np.abs(fact.matrix) @ z
            else:
                up, down = np.maximum(fact.matrix, 0) @ z, np.maximum(-fact.matrix, 0) @ z
            bias_up, bias_down = fact.bias, -fact.bias
        tiny = np.abs(fact.bias) * 2.0**-50
        return (
            np.minimum(up, above * z_norm) * self.slack + bias_up + tiny,
            np.minimum(down, below * z_norm) * self.slack + bias_down + tiny,
        )

    def sizing(self, bits: Bits, weights: bool = True, states: bool = True) -> Sizing:
        """Error and field widths; `weights`, `states` False leave their rounding out."""
        with np.errstate(over="ignore", invalid="ignore"):  # an infinite error is never chosen
            return self._sizing(bits, weights, states)

    def _sizing(self, bits: Bits, weights: bool, states: bool) -> Sizing:
        inputs = self.inputs
        e_max = np.array([inputs.error(bits.c)])
        e_norm = float(e_max[0]) * math.sqrt(inputs.dim)
        s: list[int] = []
        norms: list[float] = []
        last = len(self.facts) - 1
        for level, fact in enumerate(self.facts):
            if fact.matrix is None:
                carried = np.minimum(fact.row_sum * e_max.max(), fact.row_norm * e_norm)
            else:
                by_interval = np.abs(fact.matrix) @ np.broadcast_to(e_max, fact.fan_in)
                carried = np.minimum(by_interval, fact.row_norm * e_norm)
            if level == last:
                break
            p, q = bits.p[level], bits.q[level]
            if level == 0:
                cell = 2.0**-bits.c / inputs.scale
                if cell == 0:  # more bits than floats can speak of
                    return Sizing(bits, math.inf, (), ())
                reach = inputs.dim * (inputs.radius + float(e_max[0])) / cell
                # float products before rounding: half a unit and a little
                unit = math.ldexp(0.5, -p) + 2.0**-51 * fact.weight_max * cell
            else:
                root = math.sqrt(fact.fan_in)
                z_one = min(_total(self.z_max[level], fact.fan_in), root * self.z_norm[level])
                reach = z_one + min(_total(e_max, fact.fan_in), root * e_norm)
                unit = 2.0 ** -(p - bits.q[level - 1] + 1)
            rounding = (unit * reach + 2.0 ** -(p + 1)) * weights
            v_error = carried + rounding
            v_norm = fact.spectral * e_norm + math.sqrt(fact.fan_out) * rounding
            v_error = np.minimum(v_error, v_norm) * self.slack
            # half a unit of z is added to round, and the top of the field is left free
            size = float((self.v_max[level] + v_error).max()) * self.slack
            total = size + math.ldexp(0.5, -q) + math.ldexp(2.0, -p)
            needed = math.frexp(total)[1] + p + 1
            longest = math.frexp(fact.weight_max)[1] + (
                p - bits.q[level - 1] if level else math.ceil(math.log2(cell)) + p
            )
            s.append(max(needed, longest + 2, p - q + 2))
            cut = 2.0 ** -(q + 1) * states
            e_max = v_error + cut
            e_norm = min(v_norm + math.sqrt(fact.fan_out) * cut, _norm(e_max, fact.fan_out))
            e_norm *= self.slack
            norms.append((self.z_norm[level + 1] + e_norm) * self.slack)
        error = float(carried.max()) * self.slack
        return Sizing(bits, error, tuple(s), tuple(norms))

    def terms(self, bits: Bits) -> dict[str, float]:
        """The error, source by source; the sum is at least `sizing(bits).error`."""
        first = self.sizing(bits, weights=False, states=False).error
        second = self.sizing(bits, states=False).error
        third = self.sizing(bits).error
        return {
            "input quantisation": first,
            "weight rounding": math.nextafter(second - first, math.inf),
            "truncation": math.nextafter(third - second, math.inf),
        }


def _norm(values: np.ndarray, count: int) -> float:
    """‖·‖₂ of a vector given whole or by its maximum."""
    if len(values) == count:
        return math.hypot(*values.tolist())
    return float(values.max()) * math.sqrt(count)


def _total(values: np.ndarray, count: int) -> float:
    return float(values.sum()) if len(values) == count else float(values.max()) * count
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

def check_range(rounding: float) -> None:
    """Refuse a target whose values, so the rounding of them, have no finite bound."""
    if not math.isfinite(rounding):
        raise Refusal(
            "the target's values may exceed 1.8e308, the largest float64; "
            "give smaller weights or a smaller radius"
        )

