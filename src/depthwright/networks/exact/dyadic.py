"""Dyadic rationals, integer × 2^k: what the entries of exact networks are.

A number is held as a short sum of terms (odd integer, power) whose bits do not touch. Most have
one term; 1 − 2^9999, the bias of a bit test on 10,000 bits, has two, and so takes two words
rather than 10,000 bits. Without this a network that reads b bits would take b² bits to store.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import TypeAlias, Union

from depthwright.refusal import Refusal

Term: TypeAlias = tuple[int, int]
Number: TypeAlias = Union["Dyadic", int, float, Fraction]

GAP = 64
"""Terms closer than this many bits are held as one integer."""


def _odd(integer: int, power: int) -> Term:
    """The same number with an odd integer (not for 0)."""
    if integer & 1:
        return integer, power
    zeros = (integer & -integer).bit_length() - 1
    return integer >> zeros, power + zeros


def _merge(terms: list[Term]) -> tuple[Term, ...]:
    """Add terms whose bits touch; the number is 0 exactly if no term is left."""
    out: list[Term] = []
    for integer, power in sorted(terms, key=lambda term: term[1]):
        if out:
            low, at = out[-1]
            gap = power - at
            if gap - low.bit_length() <= GAP:
                out.pop()
                integer, power = low + (integer << gap), at
                if integer:
                    out.append((integer, power))
                continue
        out.append((integer, power))
    return tuple(_odd(*term) for term in out)  # not before: a term may follow at the same power


class Dyadic:
    """An exact number Σ integer × 2^power, immutable."""

    __slots__ = ("terms",)
    terms: tuple[Term, ...]
    """(odd integer, power), lowest first, more than GAP bits apart; empty for 0."""

    def __init__(self, integer: int = 0, power: int = 0) -> None:
        self.terms = (_odd(integer, power),) if integer else ()

    @classmethod
    def of(cls, value: Number) -> Dyadic:
        """From an int, a finite float, or a fraction whose denominator is a power of two."""
        if isinstance(value, Dyadic):
            return value
        if isinstance(value, int):
            return cls(value)
        if isinstance(value, float) and not math.isfinite(value):
            raise Refusal(f"{value} is not a finite number, so it cannot be a weight")
        top, bottom = value.as_integer_ratio()
        if bottom & (bottom - 1):
            raise Refusal(f"{value} is not an integer times a power of two; round it first")
        return cls(int(top), 1 - int(bottom).bit_length())

    @classmethod
    def total(cls, terms: Iterable[Term]) -> Dyadic:
        """Σ integer × 2^power, no integer 0."""
        return cls._of_terms(_merge(list(terms)))

    @classmethod
    def _of_terms(cls, terms: tuple[Term, ...]) -> Dyadic:
        self = cls.__new__(cls)
        self.terms = terms
        return self

    def __add__(self, other: Number) -> Dyadic:
        other = Dyadic.of(other)
        if not self.terms:
            return other
        if not other.terms:
            return self
        return Dyadic._of_terms(_merge([*self.terms, *other.terms]))

    def __neg__(self) -> Dyadic:
        return Dyadic._of_terms(tuple((-integer, power) for integer, power in self.terms))

    def __sub__(self, other: Number) -> Dyadic:
        return self + -Dyadic.of(other)

    def __mul__(self, other: Number) -> Dyadic:
        other = Dyadic.of(other)
        if len(self.terms) == 1 and len(other.terms) == 1:
            (a, p), (b, q) = self.terms[0], other.terms[0]
            return Dyadic._of_terms(((a * b, p + q),))
        return Dyadic._of_terms(
            _merge([(a * b, p + q) for a, p in self.terms for b, q in other.terms])
        )

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: Number) -> Dyadic:
        return Dyadic.of(other) - self

    def __lshift__(self, power: int) -> Dyadic:
        """Times 2^power (a negative power divides)."""
        return Dyadic._of_terms(tuple((integer, p + power) for integer, p in self.terms))

    def __rshift__(self, power: int) -> Dyadic:
        return self << -power

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (int, float, Fraction)):
            other = Dyadic.of(other)
        return isinstance(other, Dyadic) and not (self - other).terms

    def __hash__(self) -> int:
        return hash(self.fraction)

    @property
    def fraction(self) -> Fraction:
        """The same number as a `fractions.Fraction`."""
        return sum(
            (Fraction(i << p) if p >= 0 else Fraction(i, 1 << -p) for i, p in self.terms),
            Fraction(0),
        )

    @property
    def bits(self) -> int:
        """Significant bits: from the highest to the lowest that is set."""
        return self.top - self.terms[0][1] if self.terms else 0

    @property
    def top(self) -> int:
        """The number is below 2^top in size."""
        return self.terms[-1][0].bit_length() + self.terms[-1][1] if self.terms else 0

    def __float__(self) -> float:
        return rounded(self.terms)

    def __repr__(self) -> str:
        return " + ".join(f"{integer}·2^{power}" for integer, power in self.terms) or "0"


HALF = Dyadic(1, -1)


def rounded(terms: tuple[Term, ...]) -> float:
    """Σ integer × 2^power as a float64, rounded once, ties to even; ±inf beyond the range."""
    if not terms:
        return 0.0
    if len(terms) > 1:
        # the lowest terms only decide on which side of a tie the sum lies
        (low, at), (high, power) = terms[0], terms[-1]
        if len(terms) == 2 and power - at < 4096:
            return round_to_float(low + (high << (power - at)), at)
        return round_to_float((high << 128) + (1 if terms[-2][0] > 0 else -1), power - 128)
    return round_to_float(*terms[0])


def round_to_float(integer: int, power: int) -> float:
    """integer × 2^power as a float64, rounded once, ties to even; ±inf beyond the range."""
    size = abs(integer)
    excess = max(size.bit_length() + power - 53, -1074) - power
    if excess > 0:
        kept = size >> excess
        rest, half = size - (kept << excess), 1 << (excess - 1)
        kept += rest > half or (rest == half and kept & 1)
        size, power = kept, power + excess
    try:
        value = math.ldexp(size, power)
    except OverflowError:
        value = math.inf
    return -value if integer < 0 else value
