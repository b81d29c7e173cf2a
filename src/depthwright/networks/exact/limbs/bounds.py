"""Intervals that hold every value of an exact network, for all inputs of a box.

A bound is a dyadic number m·2^e, a pair (m, e) with m odd or 0 and at most `KEPT` bits: longer ones
are rounded outwards, so an interval is never too small, and numbers like 2^20000 cost no more
than 1.

Plain interval arithmetic doubles with every bit a network reads: what is left of r after its first
bit, 2r − t1 + t2 with t1 = σ(M(r − ½) + 1), t2 = σ(M(r − ½)), lies in [0, 1], but taken term by
term in [−M, M + 2]. All three terms are functions of *one* number y, so their sum is piecewise
linear in y and its extremes over an interval of y lie at the ends or where a term bends. A `Form`
is such a y: a linear form in the values of the layer below, known by its coefficients up to scale,
with an interval of its own. Terms that share a form are bounded together, exactly (`joint`); what
different forms give is added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

Bound = tuple[int, int]
"""(m, e): the number m·2^e."""
Part = tuple[Bound, Bound, Bound, Bound | None]
"""(c, a, b, δ): c·σ(a·y + b), or c·min(σ(a·y + b), δ) where δ is given."""

KEPT = 64
"""Bits of a bound; longer ones are rounded outwards."""
ZERO: Bound = (0, 0)


class Interval(NamedTuple):
    """All numbers from low to high."""

    low: Bound
    high: Bound


class Form:
    """A linear form in the values of one layer, the interval of its values, and its error bound
    where digits have been left out.
    """

    __slots__ = ("error", "interval")

    def __init__(self, interval: Interval, error: Bound = ZERO) -> None:
        self.interval, self.error = interval, error


def below(m: int, e: int) -> Bound:
    """The number, or one of at most `KEPT` bits just below it."""
    return _short(m, e, up=False)


def above(m: int, e: int) -> Bound:
    """The number, or one of at most `KEPT` bits just above it."""
    return _short(m, e, up=True)


def _short(m: int, e: int, up: bool) -> Bound:
    if not m:
        return ZERO
    excess = m.bit_length() - KEPT
    if excess > 0:
        m, e = (-(-m >> excess) if up else m >> excess), e + excess
    zeros = (m & -m).bit_length() - 1
    return m >> zeros, e + zeros


def total(numbers: Iterable[Bound]) -> Bound:
    kept = [number for number in numbers if number[0]]
    if not kept:
        return ZERO
    if len(kept) == 1:
        return kept[0]
    e = min(power for _, power in kept)
    return sum(m << (power - e) for m, power in kept), e


def scaled(factor: Bound, interval: Interval) -> Interval:
    """factor·[low, high], exactly."""
    m, e = factor
    ends = [(m * number[0], e + number[1]) for number in interval]
    return Interval(ends[0], ends[1]) if m > 0 else Interval(ends[1], ends[0])


def added(intervals: Sequence[Interval], constant: Bound = ZERO) -> Interval:
    """The sum of the intervals, and a constant."""
    low = below(*total([constant, *(interval.low for interval in intervals)]))
    return Interval(low, above(*total([constant, *(interval.high for interval in intervals)])))


def widened(interval: Interval, by: Bound) -> Interval:
    """The interval, longer at both ends by a bound."""
    return added([interval, Interval((-by[0], by[1]), by)]) if by[0] else interval


def is_negative(number: Bound) -> bool:
    return number[0] < 0


def least(a: Bound, b: Bound) -> Bound:
    e = min(a[1], b[1])
    return a if a[0] << (a[1] - e) <= b[0] << (b[1] - e) else b


def rectified(interval: Interval, ceiling: Bound | None) -> Interval:
    """min(σ(·), ceiling) of an interval."""
    low, high = (ZERO if is_negative(number) else number for number in interval)
    if ceiling is not None:
        low, high = least(low, ceiling), least(high, ceiling)
    return Interval(low, high)


def joint(parts: Sequence[Part], y: Interval) -> Interval:
    """The range over y of Σ over the parts, exact up to outward rounding.

    At a bend y = −b/a a part's value is a fraction; all is multiplied by abs(a), summed in
    integers, and divided again with rounding outwards.
    """
    ec = min(c[1] for c, _, _, _ in parts)
    ea = min(a[1] for _, a, _, _ in parts)
    ey = min(y.low[1], y.high[1])
    for _, _, b, ceiling in parts:
        ey = min(ey, b[1] - ea if b[0] else ey, ceiling[1] - ea if ceiling is not None else ey)
    terms = []
    for c, a, b, ceiling in parts:
        terms.append(
            (
                c[0] << (c[1] - ec),
                a[0] << (a[1] - ea),
                b[0] << (b[1] - ea - ey) if b[0] else 0,
                None if ceiling is None else ceiling[0] << (ceiling[1] - ea - ey),
            )
        )
    low, high = (number[0] << (number[1] - ey) for number in y)
    points = [(low, 1), (high, 1)]
    for _, slope, shift, top in terms:
        for height in (0,) if top is None else (0, top):
            over, under = (height - shift, slope) if slope > 0 else (shift - height, -slope)
            if low * under < over < high * under:
                points.append((over, under))
    lowest = highest = None
    for over, under in points:
        value = 0
        for factor, slope, shift, top in terms:
            z = slope * over + shift * under
            if z > 0:
                value += factor * (z if top is None else min(z, top * under))
        value <<= KEPT
        floor, ceil = value // under, -(-value // under)
        lowest = floor if lowest is None else min(lowest, floor)
        highest = ceil if highest is None else max(highest, ceil)
    e = ec + ea + ey - KEPT
    assert lowest is not None
    assert highest is not None
    return Interval(below(lowest, e), above(highest, e))


def steepest(parts: Sequence[Part]) -> Bound:
    """The largest size of a slope of Σ over the parts, as a function of y over all of R."""
    slope, bends = [], []
    for c, a, b, ceiling in parts:
        rise = (c[0] * a[0], c[1] + a[1])
        if a[0] < 0 and ceiling is None:
            slope.append(rise)
        for height, change in ((ZERO, rise), (ceiling, (-rise[0], rise[1]))):
            if height is not None:
                over = total([height, (-b[0], b[1])])
                way = change if a[0] > 0 else (-change[0], change[1])
                bends.append((Fraction(over[0], a[0]), over[1] - a[1], way))
    lowest = min((e for _, e, _ in bends), default=0)
    steps: dict[Fraction, list[Bound]] = {}
    for at, e, change in bends:
        steps.setdefault(at * (1 << e - lowest), []).append(change)
    now = total(slope)
    largest = abs(now[0]), now[1]
    for at in sorted(steps):
        now = total([now, *steps[at]])
        size = abs(now[0]), now[1]
        largest = size if is_negative(total([largest, (-size[0], size[1])])) else largest
    return largest


def bits(interval: Interval) -> int:
    """The smallest k such that every number of the interval is below 2^k in size and above
    −2^k; very negative for {0}.
    """
    sizes = [m.bit_length() + e for m, e in interval if m]
    return max(sizes, default=-(1 << 62))
