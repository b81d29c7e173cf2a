"""Upper bounds that neither underflow nor overflow: floats with separate exponents.

A bound on a network is a sum of products of non-negative numbers. In float64 a product may become 0
or inf although a later factor would bring it back into range. Here a number is mantissa·2^exponent,
element by element, and every operation rounds up. Only `floats`, at the end, is limited to the
range of float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context

import numpy as np

from depthwright.networks.arithmetic import EPS

SAFE = 400
"""Products of two numbers between 2^−SAFE and 2^SAFE stay far inside the range of float64."""
FAR = 4000
"""Distance in bits that float64 does not span."""
LEAST = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Upper:
    """Non-negative numbers, of any shape."""

    mantissa: np.ndarray
    """In [1/2, 1), or 0."""
    exponent: np.ndarray
    """Integers, same shape; without meaning where the mantissa is 0."""

    @classmethod
    def of(cls, values: np.ndarray | float) -> Upper:
        """Exactly these finite non-negative floats."""
        mantissa, exponent = np.frexp(np.asarray(values, dtype=np.float64))
        return cls(mantissa, exponent.astype(np.int64))

    @classmethod
    def power(cls, exponent: int) -> Upper:
        """The number 2^exponent, exactly."""
        return cls.of(1.0) << exponent

    def __lshift__(self, power: int | np.ndarray) -> Upper:
        """Times 2^power, exactly."""
        return Upper(self.mantissa, self.exponent + power)

    def __getitem__(self, index: int) -> Upper:
        return Upper(self.mantissa[index], self.exponent[index])

    def __len__(self) -> int:
        return len(self.mantissa)

    def __add__(self, other: Upper) -> Upper:
        top = self._common(other)
        return _rounded_up(self._at(top) + other._at(top)) << top

    def __sub__(self, other: Upper) -> Upper:
        """The difference where it is positive, otherwise 0; `other` is taken as an exact number."""
        top = self._common(other)
        # Terms far below the larger one are rounded to 0 or not at all, hence the tiny summand.
        left = self._at(top) * (1 + EPS) - other._at(top) * (1 - EPS)
        return _rounded_up(np.maximum(left, 0.0)) << top

    def __mul__(self, other: Upper) -> Upper:
        return _rounded_up(self.mantissa * other.mantissa) << self.exponent + other.exponent

    def __truediv__(self, other: Upper) -> Upper:
        """`other` is taken as an exact number, not 0."""
        return _rounded_up(self.mantissa / other.mantissa) << self.exponent - other.exponent

    def max(self) -> Upper:
        return self[self.argmax()]

    def argmax(self) -> int:
        order = np.where(self.mantissa > 0, self.exponent, LEAST)
        return int(np.lexsort((self.mantissa, order))[-1])

    def sum(self) -> Upper:
        return product(np.ones((1, len(self))), self)[0]

    def floats(self) -> np.ndarray:
        """Rounded up to float64: inf beyond its range, and never 0 unless the number is."""
        with np.errstate(over="ignore"):
            value = np.ldexp(self.mantissa, self.exponent.clip(-FAR, FAR))
        mantissa, exponent = np.frexp(value)
        back = np.ldexp(mantissa, (exponent - self.exponent).clip(-FAR, FAR))
        return np.where(back < self.mantissa, np.nextafter(value, np.inf), value)

    def __float__(self) -> float:
        return float(self.floats())

    def _common(self, other: Upper) -> np.ndarray:
        """The larger exponent of the two, of numbers that are not 0."""
        mine = np.where(self.mantissa > 0, self.exponent, other.exponent)
        return np.maximum(mine, np.where(other.mantissa > 0, other.exponent, mine))

    def _at(self, top: np.ndarray | int) -> np.ndarray:
        """As floats in units of 2^top; far smaller numbers become 0."""
        return np.ldexp(self.mantissa, (self.exponent - top).clip(-FAR, FAR))


def _rounded_up(values: np.ndarray, operations: int = 1) -> Upper:
    return Upper.of(values * (1 + (operations + 3) * EPS))


def product(matrix: np.ndarray, vector: Upper) -> Upper:
    """matrix @ vector, (m, n) finite non-negative floats by (n,)."""
    used = vector.mantissa > 0
    if not used.any() or not matrix.any():
        return Upper.of(np.zeros(len(matrix)))
    top = int(vector.exponent[used].max())
    spread = top - int(vector.exponent[used].min())
    smallest = float(matrix.min(where=matrix > 0, initial=1.0))
    if spread <= SAFE and smallest >= 2.0**-SAFE and float(matrix.max()) <= 2.0**SAFE:
        return _rounded_up(matrix @ vector._at(top), matrix.shape[1]) << top
    mantissa, exponent = np.frexp(matrix)
    terms = mantissa * vector.mantissa
    exponent = exponent + vector.exponent
    tops = exponent.max(axis=1, keepdims=True, where=terms > 0, initial=LEAST)
    tops = np.where(tops == LEAST, 0, tops)
    terms = np.ldexp(terms, (exponent - tops).clip(-FAR, FAR))
    return _rounded_up(terms.sum(axis=1), matrix.shape[1]) << tops[:, 0]


def at_most(bound: float, digits: int = 4) -> str:
    """An upper bound in few digits: never less than it is."""
    return _in_digits(bound, digits, ROUND_CEILING)


def at_least(bound: float, digits: int = 4) -> str:
    """A lower bound in few digits: never more than it is."""
    return _in_digits(bound, digits, ROUND_FLOOR)


def _in_digits(bound: float, digits: int, rounding: str) -> str:
    number = Context(prec=digits, rounding=rounding).create_decimal_from_float(bound)
    plain = -5 < number.adjusted() < 15 and number.is_finite()
    return f"{number.normalize():,f}" if plain else str(number.normalize()).lower()
