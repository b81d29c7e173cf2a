"""The whole numbers of NarrowPacked: rounded weights, and fields of digits side by side.

A packed number is y = 0.F_1 0 F_2 0 … F_n 0 …, F_i = V_i + offset_i the i-th pre-activation as a
whole number of s_i bits, one 0 behind each. While it is added up it is kept as
A = ½ + 2^{−lead}·Σ_i V_i·(unit of field i), so that no partial sum leaves (¼, ¾).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from depthwright.constructions.bits.cells import Reading, power
from depthwright.constructions.packed.bounds import Sizing
from depthwright.constructions.packed.scales import Scaled, to_float
from depthwright.networks.exact.calculus import Linear
from depthwright.networks.exact.dyadic import HALF, Dyadic


@dataclass(frozen=True)
class Fields:
    """The positions of the fields in a packed number."""

    s: tuple[int, ...]
    gap: int = 0
    """Zeros after each field, beside the one that is always there."""

    @property
    def length(self) -> int:
        """Number of digits, the last gap included."""
        return sum(self.s) + len(self.s) * (1 + self.gap)

    def packed(self, values: Sequence[int] | np.ndarray) -> Dyadic:
        """Σ_i values_i times the unit of field i."""
        sizes = tuple(s + 1 + self.gap for s in self.s)
        return Dyadic(pack(values, sizes), 1 + self.gap - self.length)


def pack(values: Sequence[int] | np.ndarray, sizes: tuple[int, ...]) -> int:
    """Σ_i values_i·2^{sizes_{i+1} + … + sizes_n}."""
    array = np.asarray(values)
    if array.dtype != object and max(sizes, default=0) <= 62:
        halves = np.left_shift(1, np.array(sizes) - 1)
        if (np.abs(array) < halves).all():
            octets = (array.astype(np.int64) + halves).astype(">i8").view(np.uint8)
            bits = np.unpackbits(octets.reshape(-1, 8), axis=1)[_kept(sizes)]
            flat = np.concatenate([np.zeros(-bits.size % 8, np.uint8), bits])
            return int.from_bytes(np.packbits(flat).tobytes(), "big") - _halves(sizes)
    parts = [(int(v), size) for v, size in zip(array.tolist(), sizes, strict=True)]
    while len(parts) > 1:  # pairs of neighbours: n log n digits in all
        tail = [parts.pop()] if len(parts) % 2 else []
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [((a << q) + b, p + q) for (a, p), (b, q) in pairs] + tail
    return parts[0][0] if parts else 0


@lru_cache(maxsize=16)
def _kept(sizes: tuple[int, ...]) -> np.ndarray:
    """Masks of 64 bits, one per field: the bits that belong to it."""
    return np.arange(64) >= 64 - np.array(sizes)[:, None]


@lru_cache(maxsize=16)
def _halves(sizes: tuple[int, ...]) -> int:
    """Σ_i 2^{sizes_i − 1} packed."""
    return pack(np.array([1 << size - 1 for size in sizes], dtype=object), sizes)


@dataclass(frozen=True)
class Numbers:
    """The sum A of one packed map, and how its fields are read."""

    fields: Fields
    lead: int
    weights: np.ndarray
    """(fan_out, inputs), whole; an input is a bit, a whole number X_j or a neuron's value."""
    biases: list[int]
    offsets: list[int]
    """The offset subtracted from a field after it was read; from its upper bits where it is
    truncated."""
    lifts: list[int]
    """What is added to each V_i so that its field F_i is not negative: F_i − V_i."""

    @classmethod
    def of(cls, scaled: Scaled, reading: Reading, sizing: Sizing, level: int, gap: int) -> Numbers:
        """For map number `level`, counted from 0."""
        direct = sizing.layout.ways[0] == "direct"
        s = sizing.s[level - direct]
        weights, biases = (
            _first(scaled, reading, sizing) if level == 0 else _later(scaled, sizing, level)
        )
        p = sizing.bits.p[level]
        ways = (*sizing.layout.ways, "exact")
        q = sizing.bits.q[level] if level < len(sizing.layout.ways) else p
        lows = [_ceil(low, q) + 1 for low in sizing.low[level].tolist()]
        if ways[level] == "tent":
            lifts = [1 << width - 1 for width in s.tolist()]
        elif ways[level] == "read":
            lifts = [(2 * low + 1) << p - q - 1 for low in lows]
        else:
            lifts = lows
        lead = leads(scaled, reading, sizing, level)
        return cls(Fields(tuple(s.tolist()), gap), lead, weights, biases, lows, lifts)

    @property
    def start(self) -> Dyadic:
        """A before anything is added."""
        return HALF + (self.fields.packed(np.array(self.biases, object)) >> self.lead)

    def column(self, j: int) -> Dyadic:
        """The amount by which a unit of input j increases A."""
        return self.fields.packed(self.weights[:, j]) >> self.lead

    def unwrapped(self, total: Linear) -> Linear:
        """The packed number y, as an affine function of the sum A."""
        return ((total - HALF) << self.lead) + self.fields.packed(np.array(self.lifts, object))


def leads(scaled: Scaled, reading: Reading, sizing: Sizing, level: int) -> int:
    """Number of bits in front of a packed number for which its partial sums stay below ⅛."""
    s = sizing.s[level - (sizing.layout.ways[0] == "direct")]
    reach = partial_sums(scaled, reading, sizing, level)
    return int((np.frexp(reach)[1] + sizing.bits.p[level] - s).max(initial=0)) + 4


def partial_sums(scaled: Scaled, reading: Reading, sizing: Sizing, level: int) -> np.ndarray:
    """Bounds of abs(v̂_i), scaled, whichever inputs have been added so far."""
    bits = sizing.bits
    unit = math.ldexp(1.0, -bits.p[level])
    if level:
        high = np.maximum(sizing.high[level - 1], 0) + math.ldexp(1.0, -bits.q[level - 1])
        rounding = math.ldexp(1.0, bits.q[level - 1] - bits.p[level])
        found = (np.abs(scaled.matrices[level - 1]) + rounding) @ high
        return 2 * (found + np.abs(scaled.shifts[level - 1])) + unit
    tops = _tops(reading, sizing)
    factors = np.abs(scaled.first([axis.step for axis in reading.axes]))
    reach = factors @ np.array(tops, float) + unit * (1 + bits.c * len(tops)) * (max(tops) + 1)
    middle = np.abs([to_float(value) for value in _middle(scaled, reading, tops)])
    return 4 * reach + 2 * middle


def _tops(reading: Reading, sizing: Sizing) -> list[int]:
    """The largest X_j: all bits 1, where they are read and added bit by bit."""
    if sizing.layout.cells and sizing.layout.ways[0] != "direct":
        return [2**sizing.bits.c - 1] * len(reading.axes)
    return [axis.top for axis in reading.axes]


def _middle(scaled: Scaled, reading: Reading, tops: list[int]) -> list[Fraction]:
    """v in the middle of all X_j, scaled."""
    pairs = zip(reading.axes, tops, strict=True)
    return scaled.first_at([a.centre + a.step * Fraction(top, 2) for a, top in pairs])


def _later(scaled: Scaled, sizing: Sizing, level: int) -> tuple[np.ndarray, list[int]]:
    """Weights and biases of a map after the first."""
    below, p = sizing.bits.q[level - 1], sizing.bits.p[level]
    weights = whole(scaled.matrices[level - 1], p - below)
    pairs = zip(scaled.biases[level].tolist(), scaled.exponents[level].tolist(), strict=True)
    return weights, [round(Fraction(bias) * power(a + p)) for bias, a in pairs]


def _first(scaled: Scaled, reading: Reading, sizing: Sizing) -> tuple[np.ndarray, list[int]]:
    """The same of the map that reads integers X_j, or their c bits each."""
    bits, tops = sizing.bits, _tops(reading, sizing)
    factors = scaled.first([axis.step for axis in reading.axes])
    ends = np.array(tops, object)
    if sizing.layout.cells and sizing.layout.ways[0] != "direct":
        places = [np.ldexp(factors, bits.c - 1 - k) for k in range(bits.c)]
        factors = np.stack(places, axis=2).reshape(len(factors), -1)
        ends = np.ones(factors.shape[1], object)
    weights = whole(factors, bits.p[0])
    sums = weights.astype(object) @ ends
    middle = _middle(scaled, reading, tops)
    pairs = zip(middle, sums.tolist(), strict=True)
    return weights, [round(v * power(bits.p[0]) - Fraction(int(w), 2)) for v, w in pairs]


def first_rows(
    scaled: Scaled, reading: Reading, sizing: Sizing
) -> Iterator[tuple[list[Dyadic], Dyadic]]:
    """A direct first layer: per neuron the weights of X_1..X_d and the bias, in units of 2^{−p}."""
    axes, p = reading.axes, sizing.bits.p[0]
    if sizing.layout.exact_first:
        rows = zip(
            scaled.weights[0].tolist(),
            scaled.first_at([axis.centre for axis in axes]),
            scaled.exponents[0].tolist(),
            strict=True,
        )
        steps = [Dyadic.of(axis.step) for axis in axes]
        for row, value, a in rows:
            weights = [(Dyadic.of(w) * step) << a + p for w, step in zip(row, steps, strict=True)]
            yield weights, Dyadic.of(value) << p
        return
    found, biases = _first(scaled, reading, sizing)
    for row, bias in zip(found.tolist(), biases, strict=True):
        yield [Dyadic(int(w)) for w in row], Dyadic(bias)


def whole(values: np.ndarray, places: int) -> np.ndarray:
    """values × 2^places rounded to integers: int64, or Python's where they are longer."""
    if (np.frexp(values)[1] + places).max(initial=0) < 62:
        return np.rint(np.ldexp(values, places)).astype(np.int64)
    exact = np.vectorize(lambda v: round(Fraction(v) * power(places)), otypes=[object])
    found: np.ndarray = exact(values)
    return found


def _ceil(value: float, places: int) -> int:
    """⌈value·2^places⌉."""
    return math.ceil(Fraction(value) * power(places))
