"""How Theorems 2 and 5 read inputs: coordinates as the first bits of u = κ(x − start) in [0, 1].

VYS22's cells   start = lower, κ = 1/(upper − lower) rounded down to a float, borders at multiples
                of 2^{−bits}; x̂ is a cell's lower end
cells.py's      start = the border at or below lower, borders between the floats, cells as wide as a
                power of two; x̂ is a cell's centre, which makes up for their width
a grid          start = lower, κ a power of two with κ(upper − lower) < 1; x̂ as VYS22's

κ is dyadic, as all weights are. X < 2^bits is the number of the cell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from depthwright.constructions.bits.cells import Axis, Cells, Floats, floor_log2, power
from depthwright.networks.exact.dyadic import Dyadic
from depthwright.networks.inputs import Inputs
from depthwright.networks.upper import Upper


@dataclass(frozen=True)
class Digits(Axis):
    """The binary digits of one coordinate."""

    start: Fraction
    """The x where u = 0."""
    scale: Fraction
    """κ, the factor from x − start to u."""
    slope_bits: int | None = None
    """h of cells.py: u is misread at most within 2^{−h}·κ below a border; None for others."""
    grid_bits: int | None = None
    """g: u is a multiple of 2^{−g}; None for any real."""

    def unit(self, x: float) -> Fraction:
        return (Fraction(x) - self.start) * self.scale

    @property
    def unit_bits(self) -> int:
        """U: u is a multiple of 2^{−U}, if x is one of 2^{e−53} and the box within ±2^e.

        So are all floats of at least half its reach in size, and all that are drawn uniformly.
        """
        if self.grid_bits is not None:
            return self.grid_bits
        finest = 53 - math.frexp(max(abs(self.lower), abs(self.upper)))[1]
        return max(finest, -lowest(self.start)) - lowest(self.scale)

    @property
    def entry(self) -> Fraction:
        """No entry of the map x ↦ u is larger, and none of x ↦ u − ½."""
        return self.scale * max(Fraction(1), 2 * abs(self.start))


@dataclass(frozen=True)
class BitInputs:
    """The digits of all coordinates, for any number of bits."""

    inputs: Inputs
    """Inputs that are read correctly, except for the bad set where they are all reals of a box."""

    @property
    def dim(self) -> int:
        return len(self.inputs.lower)

    def at(self, bits: int) -> tuple[Digits, ...]:
        """With this many bits a coordinate."""
        given = self.inputs
        sides = zip(given.lower, given.upper, strict=True)
        if given.grid is not None:
            return tuple(_grid(*side, bits, given.grid) for side in sides)
        if given.numbers == "real":
            return tuple(_theirs(*side, bits) for side in sides)
        return tuple(_between_floats(*side, bits, given.numbers) for side in sides)

    @property
    def grid_bits(self) -> int | None:
        """The largest g of all coordinates."""
        if self.inputs.grid is None:
            return None
        return max(digits.grid_bits or 1 for digits in self.at(1))


@lru_cache(maxsize=4096)
def _theirs(lower: float, upper: float, bits: int) -> Digits:
    side = Fraction(upper) - Fraction(lower)
    scale = 0.5 / (upper / 2 - lower / 2)
    while Fraction(scale) * side > 1:
        scale = math.nextafter(scale, 0.0)
    return _from_below(lower, upper, bits, Fraction(scale), Fraction(0))


@lru_cache(maxsize=4096)
def _grid(lower: float, upper: float, bits: int, grid: float) -> Digits:
    scale = power(-floor_log2(Fraction(upper) - Fraction(lower)) - 1)
    finest = max(1, -lowest(Fraction(grid) * scale))
    return _from_below(lower, upper, bits, scale, power(-finest) / scale, finest)


def _from_below(
    lower: float, upper: float, bits: int, scale: Fraction, finest: Fraction, g: int | None = None
) -> Digits:
    """x̂ is a cell's lower end, and inputs are multiples of `finest`."""
    step = 1 / (scale * 2**bits)
    start = Fraction(lower)
    top = min(math.floor((Fraction(upper) - start) / step), 2**bits - 1)
    error = max(step - finest, Fraction(0))
    return Digits(lower, upper, step, start, top, error, start, scale, grid_bits=g)


@lru_cache(maxsize=4096)
def _between_floats(lower: float, upper: float, bits: int, floats: Floats) -> Digits:
    cells = Cells.of(lower, upper, bits, floats, width_bits=1)
    scale = 1 / (cells.step * 2**bits)
    return Digits(
        lower,
        upper,
        cells.step,
        cells.centre,
        cells.top,
        cells.error,
        cells.first,
        scale,
        slope_bits=cells.slope_bits,
    )


def lowest(value: Fraction) -> int:
    """The e of m·2^e, m odd, of a dyadic number; 0 of 0."""
    if not value:
        return 0
    top = value.numerator
    return (top & -top).bit_length() - value.denominator.bit_length()


def rounded_up(values: list[Fraction]) -> Upper:
    """Non-negative numbers as upper bounds."""
    exponents = [floor_log2(v) + 1 if v else 0 for v in values]
    floats = [_above(v * power(-e)) for v, e in zip(values, exponents, strict=True)]
    return Upper.of(np.array(floats)) << np.array(exponents, dtype=np.int64)


def dyadic(value: Fraction) -> Dyadic:
    """The same, of a number whose denominator is a power of two."""
    return Dyadic(value.numerator, 1 - value.denominator.bit_length())


def outwards(low: Fraction, high: Fraction) -> tuple[float, float]:
    """The narrowest floats around them."""
    return -_above(-low), _above(high)


def _above(value: Fraction) -> float:
    found = float(value)
    return math.nextafter(found, math.inf) if Fraction(found) < value else found
