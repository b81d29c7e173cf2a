"""Cells with borders between floats, so that a network of steep ramps misreads no float at all.

Statement. Let a coordinate live in [lower, upper] and let floats have p significant bits (53 in
float64, 24 in float32). Cells of width s = m·2^{−g} (m odd), not wider than they must be for 2^c of
them to cover the interval, have the borders b_k = (k + ½)s + t, t = 2^{−h}, k whole. With
h = max(p + 2 − ⌊log2 s⌋, g + 2) no float lies in [b_k − t, b_k], but perhaps b_k − t itself.

Proof. b_k is an odd multiple of t, since (k + ½)s is a multiple of 2^{−g−1}, an even one. All of
[b_k − t, b_k] is at least s/2 − t ≥ s/4 in size, so at least 2^e, e = ⌊log2 s⌋ − 2. Floats of that
size are multiples of 2^{e−p+1}, or of 2^{−1074} (float32: 2^{−149}) where that is more; either way
of 2t, as 2^{−h} ≤ 2^{e−p}. Between b_k − t and b_k there is no multiple of t, and b_k is no
multiple of 2t. 0, −0 and subnormals are floats like any other. ∎

So the ramps σ(2^h(r − T) + 1) − σ(2^h(r − T)), T a border less the first one, give the right bit
for every float. A real number is misread only inside an open interval (b_k − t, b_k): the *bad
set*. There are at most 2^c − 1 of them in the interval.

`Steps` stands for a grid: lower + k·step, exactly. Nothing is read there bit by bit.

Source. Ours. VYS22 (arXiv 2202.03841) leaves out a set of small probability instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np

from depthwright.networks.arithmetic import EXPONENTS, SIGNIFICANT_BITS

Floats: TypeAlias = Literal["float64", "float32"]
WIDTH_BITS = 8
"""Significant bits of a cell's width: less than a hundredth wider than the least."""
HALF = Fraction(1, 2)


def power(exponent: int) -> Fraction:
    """2^exponent, exactly."""
    return Fraction(1 << exponent) if exponent >= 0 else Fraction(1, 1 << -exponent)


def floor_log2(value: Fraction) -> int:
    """⌊log2 value⌋ of a positive number."""
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    return exponent if power(exponent) <= value else exponent - 1


def rounded_up(value: Fraction, bits: int) -> Fraction:
    """The least m·2^e ≥ value > 0 with m < 2^bits, or 2^bits·2^e."""
    unit = power(floor_log2(value) - bits + 1)
    return math.ceil(value / unit) * unit


@dataclass(frozen=True)
class Axis:
    """One coordinate as whole numbers X = 0..top: x = centre + step·X up to `error`."""

    lower: float
    upper: float
    step: Fraction
    centre: Fraction
    """Middle x̂ of cell number 0."""
    top: int
    """Number X of the cell that holds `upper`."""
    error: Fraction
    """abs(x − x̂) is at most this."""


@dataclass(frozen=True)
class Steps(Axis):
    """The points lower + k·h up to `upper`: X = (x − lower)/step, a multiple of h/step."""

    @classmethod
    def of(cls, lower: float, upper: float, grid: float) -> Steps:
        """`step` is the largest power of two in the grid's step: no other division is dyadic."""
        top, bottom = grid.as_integer_ratio()
        odd = top // (top & -top)
        step = Fraction(top // odd, bottom)
        count = (Fraction(upper) - Fraction(lower)) // Fraction(grid)
        return cls(lower, upper, step, Fraction(lower), int(count) * odd, Fraction(0))


@dataclass(frozen=True)
class Cells(Axis):
    """One coordinate in at most 2^bits cells, borders between the floats."""

    bits: int
    """c: cell numbers X are below 2^c."""
    slope_bits: int
    """h: ramps of slope 2^h, intervals of the bad set of length 2^{−h}."""

    @classmethod
    def of(
        cls,
        lower: float,
        upper: float,
        bits: int,
        floats: Floats,
        extra: int = 0,
        width_bits: int = WIDTH_BITS,
    ) -> Cells:
        """The narrowest cells; `extra` bits more of slope make the bad set that much smaller.

        `width_bits`: significant bits of the width; with 1 it is a power of two.
        """
        low, high = Fraction(lower), Fraction(upper)
        # k(upper) − k(lower) ≤ ⌈(upper − lower)/step⌉ ≤ 2^c − 1, wherever the borders lie
        least = (high - low) / (2**bits - 1) if high > low else power(EXPONENTS[floats][0])
        step = rounded_up(least, width_bits)
        finest = step.denominator.bit_length() - 1
        slope = max(SIGNIFICANT_BITS[floats] + 2 - floor_log2(step), finest + 2) + extra
        tick = power(-slope)
        at = math.floor((low - tick) / step - HALF)
        first = (at + HALF) * step + tick
        top = math.floor((high - first) / step)
        if not (first <= low and 0 <= top < 2**bits):
            raise AssertionError(f"cells from {first} do not cover [{lower}, {upper}]; a bug")
        return cls(lower, upper, step, first + step / 2, top, step / 2, bits, slope)

    @property
    def first(self) -> Fraction:
        """The border at or below `lower`."""
        return self.centre - self.step / 2

    @property
    def tick(self) -> Fraction:
        """t: length of the bad interval below each border."""
        return power(-self.slope_bits)

    def border(self, number: int) -> Fraction:
        """Between the cells number − 1 and `number`."""
        return self.first + number * self.step

    def index(self, x: float) -> int:
        return math.floor((Fraction(x) - self.first) / self.step)

    @property
    def share(self) -> Fraction:
        """The part of [lower, upper] that is bad, at most: its probability under a uniform law."""
        length = Fraction(self.upper) - Fraction(self.lower)
        return self.top * self.tick / length if length else Fraction(0)


@dataclass(frozen=True)
class Reading:
    """How all coordinates are read."""

    axes: tuple[Axis, ...]

    @classmethod
    def cells(
        cls,
        lower: Sequence[float],
        upper: Sequence[float],
        bits: int,
        floats: Floats = "float64",
        failure: Fraction | None = None,
    ) -> Reading:
        """2^bits cells a coordinate; a bad set of at most the share `failure` of the box."""

        def made(extra: int) -> Reading:
            ends = zip(map(float, lower), map(float, upper), strict=True)
            return cls(tuple(Cells.of(low, high, bits, floats, extra) for low, high in ends))

        reading = made(0)
        if failure and reading.share > failure:
            reading = made(floor_log2(reading.share / failure) + 1)
        return reading

    @classmethod
    def steps(cls, lower: Sequence[float], upper: Sequence[float], grid: float) -> Reading:
        """A grid of step `grid` that begins at `lower`."""
        ends = zip(map(float, lower), map(float, upper), strict=True)
        return cls(tuple(Steps.of(low, high, grid) for low, high in ends))

    @cached_property
    def share(self) -> Fraction:
        """Upper bound on the bad share of the box: a union bound over the coordinates."""
        return sum((a.share for a in self.axes if isinstance(a, Cells)), Fraction(0))

    def in_bad_set(self, x: np.ndarray) -> np.ndarray:
        """Which rows of `x` (batch, d) have a coordinate in the bad set, exactly: (batch,)."""
        x = np.asarray(x, float)
        bad = np.zeros(len(x), bool)
        for axis, column in zip(self.axes, x.T, strict=True):
            if isinstance(axis, Cells):
                bad |= _bad(axis, column)
        return bad


def _bad(cells: Cells, column: np.ndarray) -> np.ndarray:
    """By integers: every number here is a multiple of 2^{−scale}."""
    scale = max(-EXPONENTS["float64"][0], cells.slope_bits)
    first, step, tick = (
        int(value * power(scale)) for value in (cells.first, cells.step, cells.tick)
    )

    def inside(value: float) -> bool:
        top, bottom = value.as_integer_ratio()
        above = (top << scale - bottom.bit_length() + 1) - first
        return above > 0 and above % step > step - tick

    return np.fromiter(map(inside, column.tolist()), bool, len(column))
