"""What NarrowPacked's numbers can be and how far off they are: narrow_packed.md, section 6.

`Facts` says what is known of one affine map: its matrix, or norms alone, so that sizes reach widths
at which no matrix fits into memory. Every bound is the smaller of an interval bound and a Euclidean
one. Rounded weights enter by the *residual*, the known matrix ŵ − w, and its norm.

Rounding of the bounds themselves: sums of products of non-negative floats times 1 + SLACK per
summand, and ATOM for what underflows; the maps are scaled (scales.py), so that an
error of 1 is about ε and ATOM is nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, cached_property

import numpy as np

from depthwright.constructions.bits.cells import Cells, Reading
from depthwright.constructions.packed.scales import Scaled, to_float
from depthwright.targets.spectral import spectral_bound

SLACK = 2.0**-49
ATOM = 2.0**-500
"""More than the total underflow of a sum or norm of fewer than 2^40 terms."""
TINY = Fraction(1, 2**1075)


@dataclass(frozen=True)
class Residual:
    """Size of ŵ − w, times the unit of its inputs."""

    row_norm: np.ndarray
    spectral: float
    sums: np.ndarray | None = field(default=None, repr=False)
    """Σ_j abs(r_ij)·reach_j."""

    @classmethod
    def of(cls, matrix: np.ndarray, reach: np.ndarray) -> Residual:
        """From a given residual; the matrix itself is not kept, since many are evaluated."""
        sums = np.abs(matrix) @ reach * (1 + SLACK * matrix.shape[1]) + ATOM
        return cls(row_norms(matrix), spectral(matrix), sums)


@dataclass(frozen=True)
class Facts:
    """One affine map, scaled. Row quantities are arrays (fan_out,), or (1,) for the largest."""

    fan_in: int
    fan_out: int
    spectral: float
    """An upper bound of the spectral norm ‖W‖₂."""
    row_norm: np.ndarray
    positive_norm: np.ndarray
    """‖max(w_i, 0)‖₂."""
    negative_norm: np.ndarray
    row_sum: np.ndarray
    """Σ_j abs(w_ij)."""
    bias: np.ndarray
    residual: Callable[[int, np.ndarray], Residual]
    """Of weights rounded to this many bits after the point, for inputs of this size."""
    matrix: np.ndarray | None = field(default=None, repr=False)

    @classmethod
    def of(cls, matrix: np.ndarray, bias: np.ndarray) -> Facts:
        above, below = np.maximum(matrix, 0), np.maximum(-matrix, 0)
        return cls(
            matrix.shape[1],
            len(matrix),
            spectral(matrix),
            row_norms(matrix),
            row_norms(above),
            row_norms(below),
            (above + below).sum(axis=1) * (1 + SLACK * matrix.shape[1]) + ATOM,
            bias,
            lambda bits, reach: Residual.of(rounding(matrix, bits), reach),
            matrix,
        )


@dataclass(frozen=True)
class First:
    """The map that reads the box: v = middle + U ξ, abs(ξ_j) ≤ 1, and the integers X_j."""

    facts: Facts
    """Of U; the bias is v at the middle of the box."""
    cell: Callable[[int], float]
    """Half a cell over half the box, of c bits a coordinate; 0 on a grid."""
    residual: Callable[[int, int, bool], Residual]
    """(c, p, by bit): of the weights of X_j, or of its bits, in units of the largest deviation."""
    mixed: np.ndarray | None = None
    """Σ_j abs((W_2 U)_ij) for the neurons of layer 2."""

    @classmethod
    def of(cls, scaled: Scaled, reading: Callable[[int], Reading]) -> First:
        """From the weights; `reading` gives the cells of c bits, or the grid."""
        axes = reading(1).axes
        reads_cells = isinstance(axes[0], Cells)
        if reads_cells:
            ends = [(Fraction(axis.lower), Fraction(axis.upper)) for axis in axes]
        else:
            ends = [(axis.centre, axis.centre + axis.step * max(axis.top, 1)) for axis in axes]
        half = [max((high - low) / 2, TINY) for low, high in ends]
        middle = scaled.first_at([(high + low) / 2 for low, high in ends])
        u = scaled.first(half)
        facts = Facts.of(u, np.array([to_float(v) for v in middle]))
        mixed = None
        if scaled.matrices:
            w = scaled.matrices[0]
            mixed = np.abs(w @ u).sum(axis=1) + SLACK * w.shape[1] * (np.abs(w) @ facts.row_sum)

        @cache
        def cell(bits: int) -> float:
            if not reads_cells:
                return 0.0
            errors = [a.error / h for a, h in zip(reading(bits).axes, half, strict=True)]
            return to_float(max(errors)) * (1 + SLACK)

        @cache
        def residual(bits: int, places: int, by_bit: bool) -> Residual:
            axes = reading(bits).axes
            weights = scaled.first([axis.step for axis in axes])
            if by_bit:
                weights = np.concatenate([np.ldexp(weights, k) for k in range(bits)], axis=1)
                found = rounding(weights, places) / 2
                return Residual.of(found, np.ones(found.shape[1]))
            reach = np.array([to_float(Fraction(axis.top, 2)) for axis in axes])
            return Residual.of(rounding(weights, places) * reach, np.ones(len(axes)))

        return cls(facts, cell, residual, mixed)


@dataclass(frozen=True)
class Layout:
    """How each hidden layer is decoded, and what becomes of the last one."""

    ways: tuple[str, ...]
    """"direct" (first layer only), "tent" (before the last: with long gaps), "exact", "read"."""
    sums: bool
    """Whether outputs are summed as real numbers; otherwise they are packed and unpacked."""
    cells: bool = True
    """Whether inputs are read bit by bit."""

    @property
    def exact_first(self) -> bool:
        """Whether no weight of the first layer is rounded."""
        return self.ways == ("direct",) and self.sums


@dataclass(frozen=True)
class Bits:
    """c bits a coordinate; p_l bits after the point of v_l, l = 1..L, q_l ≤ p_l of z_l, l < L."""

    c: int
    p: tuple[int, ...]
    q: tuple[int, ...]


@dataclass(frozen=True)
class Sizing:
    """The error and the field widths of a choice of bits."""

    layout: Layout
    bits: Bits
    error: float
    """Certified, scaled, before the final rounding to float64."""
    s: tuple[np.ndarray, ...]
    """Field widths, map by map; none of a first layer that is direct, none of outputs summed."""
    high: tuple[np.ndarray, ...]
    """v̂ ≤ high, hidden layers and outputs, scaled."""
    low: tuple[np.ndarray, ...]
    """Upper bounds of −v̂."""


class Bounds:
    """Magnitudes computed once, errors for any choice of bits."""

    def __init__(self, first: First, maps: Sequence[Facts]) -> None:
        self.first, self.maps = first, [first.facts, *maps]
        self._residuals: dict[tuple[int, int], Residual] = {}  # by level and bits
        with np.errstate(over="ignore", invalid="ignore"):  # infinities are refused
            self._measure()

    @cached_property
    def slack(self) -> float:
        """The relative rounding error of a chain of sums."""
        return 1 + SLACK * sum(fact.fan_in + fact.fan_out + 32 for fact in self.maps)

    def _measure(self) -> None:
        """high, low: bounds of v and −v; top, norm: of z and ‖z‖₂; layer by layer."""
        facts = self.first.facts
        root = math.sqrt(facts.fan_in)
        spread = facts.row_sum * self.slack
        tiny = np.abs(facts.bias) * SLACK + ATOM
        self.high, self.low = [facts.bias + spread + tiny], [spread - facts.bias + tiny]
        self.top = [np.maximum(self.high[0], 0.0)]
        span = facts.spectral * root
        # σ(v) = (v + abs(v))/2, and ‖v‖₂ is known as well as ‖σ(v)‖₂
        v_norm = (_norm(facts.bias, facts.fan_out) + span) * self.slack
        at_middle = _norm(np.maximum(facts.bias, 0), facts.fan_out)
        norm = min((at_middle + span) * self.slack, _norm(self.top[0], facts.fan_out) * self.slack)
        self.norm = [norm + ATOM]
        for level, fact in enumerate(self.maps[1:], 1):
            up, down = self._sums(fact, level, v_norm)
            tiny = np.abs(fact.bias) * SLACK + ATOM
            self.high.append(up * self.slack + fact.bias + tiny)
            self.low.append(down * self.slack - fact.bias + tiny)
            self.top.append(np.maximum(self.high[-1], 0.0))
            lifted = _norm(np.maximum(fact.bias, 0), fact.fan_out)
            norm = min(fact.spectral * self.norm[-1] + lifted, _norm(self.top[-1], fact.fan_out))
            self.norm.append(norm * self.slack + ATOM)

    def _sums(self, fact: Facts, level: int, v_norm: float) -> tuple[np.ndarray, np.ndarray]:
        """Bounds of Σ_j w_ij z_j and of its negative."""
        top, norm = self.top[-1], self.norm[-1]
        if fact.matrix is None:
            up = down = fact.row_sum * top.max()
        else:
            up, down = np.maximum(fact.matrix, 0) @ top, np.maximum(-fact.matrix, 0) @ top
        up, down = (
            np.minimum(up, fact.positive_norm * norm),
            np.minimum(down, fact.negative_norm * norm),
        )
        if level == 1 and self.first.mixed is not None:
            middle = self.first.facts.bias
            if fact.matrix is None:
                along, wide = np.zeros(1), fact.row_sum * np.abs(middle).max()
            else:
                along, wide = fact.matrix @ middle, np.abs(fact.matrix) @ np.abs(middle)
            linear = self.first.mixed + SLACK * fact.fan_in * wide
            up = np.minimum(up, (linear + along + fact.positive_norm * v_norm) / 2)
            down = np.minimum(down, (linear - along + fact.negative_norm * v_norm) / 2)
        return np.maximum(up, 0), np.maximum(down, 0)

    def sizing(
        self, layout: Layout, bits: Bits, weights: bool = True, states: bool = True
    ) -> Sizing:
        """Error and field widths; with `weights` or `states` False, without that rounding."""
        with np.errstate(over="ignore", invalid="ignore"):  # an infinite error is never chosen
            return self._sizing(layout, bits, weights, states)

    def _sizing(self, layout: Layout, bits: Bits, weights: bool, states: bool) -> Sizing:
        s: list[np.ndarray] = []
        high: list[np.ndarray] = []
        low: list[np.ndarray] = []
        each, whole = np.zeros(1), 0.0
        state: tuple[np.ndarray, float] = np.zeros(1), 0.0
        for level, fact in enumerate(self.maps):
            last = level == len(self.maps) - 1
            each, whole = self._carried(level, fact, layout, bits, each, whole)
            if weights and not (layout.sums if last else level == 0 and layout.exact_first):
                rows, norm = self._rounded(level, layout, bits, state)
                each, whole = each + rows, whole + norm
            each = np.minimum(each, whole) * self.slack + ATOM
            whole = min(whole, _norm(each, fact.fan_out)) * self.slack + ATOM
            high.append(self.high[level] + each)
            low.append(self.low[level] + each)
            if last:
                break
            way, p, q = layout.ways[level], bits.p[level], bits.q[level]
            if way != "direct":
                s.append(widths(way, high[-1], low[-1], p, q))
            cut = cut_off(way, p, q) * states
            each, whole = each + cut, whole + math.sqrt(fact.fan_out) * cut
            state = each, whole
        if not layout.sums:
            s.append(widths("exact", high[-1], low[-1], bits.p[-1], bits.p[-1]))
        return Sizing(layout, bits, float(each.max()), tuple(s), tuple(high), tuple(low))

    def _carried(
        self, level: int, fact: Facts, layout: Layout, bits: Bits, each: np.ndarray, whole: float
    ) -> tuple[np.ndarray, float]:
        """The error of a map's inputs after the map, per row and in norm."""
        if level == 0:
            cell = self.first.cell(bits.c) if layout.cells else 0.0
            return fact.row_sum * cell, fact.spectral * math.sqrt(fact.fan_in) * cell
        matrix = fact.matrix
        rows = fact.row_sum * each.max() if matrix is None else np.abs(matrix) @ each
        return np.minimum(rows, fact.row_norm * whole) * self.slack, fact.spectral * whole

    def _rounded(
        self, level: int, layout: Layout, bits: Bits, state: tuple[np.ndarray, float]
    ) -> tuple[np.ndarray, float]:
        """The error added by rounding weights and biases, per row and in norm."""
        fact, p = self.maps[level], bits.p[level]
        half = math.ldexp(0.5, -p)
        if level == 0:
            by_bit = layout.ways[0] != "direct" and layout.cells
            found = self.first.residual(bits.c, p, by_bit)
            norm = math.sqrt(fact.fan_in * (bits.c if by_bit else 1))
            extra, doubt = 0.0, 2.0**-51 * fact.row_sum  # X_j's weights are known as floats
        else:
            key = level, p - bits.q[level - 1]
            if key not in self._residuals:  # its reach belongs to the level, not to the bits
                self._residuals[key] = fact.residual(key[1], self.top[level - 1])
            found = self._residuals[key]
            each, whole = state
            extra = min(_norm(each, fact.fan_in), whole)
            norm, doubt = self.norm[level - 1] + whole, np.zeros(1)
        rows = found.row_norm * norm
        if found.sums is not None:
            rows = np.minimum(rows, found.sums + found.row_norm * extra)
        rows = rows * self.slack + doubt + half
        return rows, found.spectral * norm + math.sqrt(fact.fan_out) * (half + float(doubt.max()))


def widths(way: str, high: np.ndarray, low: np.ndarray, p: int, q: int) -> np.ndarray:
    """Bits that hold every v̂ of a layer in units of 2^{−p}, and the offset that makes it F ≥ 0."""
    unit = math.ldexp(1.0, -p)
    if way == "tent":
        return np.frexp(np.maximum(high, low) * (1 + SLACK) + 2 * unit)[1] + p + 1
    unit = math.ldexp(1.0, -q)
    return np.frexp((high + low) * (1 + SLACK) + 4 * unit)[1] + p


def cut_off(way: str, p: int, q: int) -> float:
    """Bound on abs(value passed on − σ(v̂)): half a unit, or the noise of half a unit."""
    if way == "read":
        return math.ldexp(0.5, -q)
    return math.ldexp(0.25 * (1 + 2.0**-40), -p) if way == "tent" else 0.0


def rounding(matrix: np.ndarray, places: int) -> np.ndarray:
    """round(w·2^places)·2^{−places} − w, exactly."""
    long = np.frexp(matrix)[1] + places > 53  # already integers
    moved = np.ldexp(np.where(long, 0.0, matrix), places)
    return np.ldexp(np.rint(moved) - moved, -places)


def row_norms(matrix: np.ndarray) -> np.ndarray:
    """‖row‖₂, rounded up."""
    squares = (matrix * matrix).sum(axis=1)
    return np.sqrt(squares) * (1 + SLACK * matrix.shape[1]) + ATOM


def spectral(matrix: np.ndarray) -> float:
    """‖W‖₂, rounded up."""
    if not matrix.any() or not np.isfinite(matrix).all():
        return ATOM if not matrix.any() else math.inf
    return spectral_bound(matrix) + ATOM


def _norm(values: np.ndarray, count: int) -> float:
    """‖·‖₂ of a vector given whole or by its maximum."""
    if len(values) == count:
        return math.hypot(*values.tolist())
    return float(np.abs(values).max()) * math.sqrt(count)
