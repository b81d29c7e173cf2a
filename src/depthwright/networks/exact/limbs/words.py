"""Loops over one limb of all points of a tile, for kernel.py; and floats into limbs and back.

Carries are numbers 0 or 1 per point, found by comparison (s = a + x carries exactly if s < x), so
an addition is two loads, an add, a compare and a store for as many points as a vector holds. A
product of words is made of four products of their halves, which vectors have. None of these is
stored: kernel.py stores its entries, and those contain them.
"""

from __future__ import annotations

import math

import numba
import numpy as np

U = np.uint64
ONE, LOW, HALF, TOP = U(1), U(0xFFFFFFFF), U(32), U(63)
ZERO = U(0)


@numba.njit
def add_shifted(to, high, low, shift, carry):  # type: ignore[no-untyped-def]
    """to += (high:low) << shift, the upper word of it, and the carry."""
    back = TOP - shift
    for p in range(to.size):
        x = (high[p] << shift) | ((low[p] >> ONE) >> back)
        a = to[p] + x
        b = a + carry[p]
        to[p] = b
        carry[p] = U(a < x) | U(b < a)


@numba.njit
def subtract_shifted(to, high, low, shift, carry):  # type: ignore[no-untyped-def]
    """to −= (high:low) << shift, the upper word of it, and the borrow."""
    back = TOP - shift
    for p in range(to.size):
        x = (high[p] << shift) | ((low[p] >> ONE) >> back)
        a = to[p]
        b = a - x
        c = carry[p]
        to[p] = b - c
        carry[p] = U(a < x) | U(b < c)


@numba.njit
def add_word(to, x, carry):  # type: ignore[no-untyped-def]
    """to += x, one word for all points, and the carry."""
    for p in range(to.size):
        a = to[p] + x
        b = a + carry[p]
        to[p] = b
        carry[p] = U(a < x) | U(b < a)


@numba.njit
def subtract_word(to, x, carry):  # type: ignore[no-untyped-def]
    """to −= x, one word for all points, and the borrow."""
    for p in range(to.size):
        a = to[p]
        b = a - x
        c = carry[p]
        to[p] = b - c
        carry[p] = U(a < x) | U(b < c)


@numba.njit
def add_product(to, source, factor, carry):  # type: ignore[no-untyped-def]
    """to += source·factor, and the carry, which is a whole word here."""
    f0, f1 = factor & LOW, factor >> HALF
    for p in range(to.size):
        s0, s1 = source[p] & LOW, source[p] >> HALF
        ll, lh, hl = s0 * f0, s0 * f1, s1 * f0
        middle = (ll >> HALF) + (lh & LOW) + (hl & LOW)
        low = (middle << HALF) | (ll & LOW)
        high = s1 * f1 + (lh >> HALF) + (hl >> HALF) + (middle >> HALF)
        a = low + carry[p]
        b = to[p] + a
        to[p] = b
        carry[p] = high + U(a < low) + U(b < a)


@numba.njit
def subtract_product(to, source, factor, carry):  # type: ignore[no-untyped-def]
    """to −= source·factor, and the borrow, which is a whole word here."""
    f0, f1 = factor & LOW, factor >> HALF
    for p in range(to.size):
        s0, s1 = source[p] & LOW, source[p] >> HALF
        ll, lh, hl = s0 * f0, s0 * f1, s1 * f0
        middle = (ll >> HALF) + (lh & LOW) + (hl & LOW)
        low = (middle << HALF) | (ll & LOW)
        high = s1 * f1 + (lh >> HALF) + (hl >> HALF) + (middle >> HALF)
        a = low + carry[p]
        b = to[p]
        to[p] = b - a
        carry[p] = high + U(a < low) + U(b < a)


@numba.njit
def any_bit(row):  # type: ignore[no-untyped-def]
    """The union of the bits of all points."""
    seen = ZERO
    for p in range(row.size):
        seen |= row[p]
    return seen


@numba.njit
def read_points(x, inputs, grid, arena, firsts, lasts):  # type: ignore[no-untyped-def]
    """The tile's inputs (points, input_dim) as limbs of x₊ and x₋."""
    for slot in range(inputs.shape[0]):
        place, start, limbs = inputs[slot, 0], inputs[slot, 1], inputs[slot, 2]
        arena[start : start + limbs, :] = ZERO
        begin, end = limbs, 0
        for p in range(x.shape[0]):
            value = x[p, slot >> 1]
            if slot & 1:
                value = -value
            if not value > 0:
                continue
            fraction, power = math.frexp(value)
            whole = U(int(math.ldexp(fraction, 53)))
            shift = power - 53 - grid
            if shift < 0:
                whole >>= U(min(-shift, 63))  # these bits are zero by the choice of the grid
                shift = 0
            at, inside = shift >> 6, U(shift & 63)
            arena[start + at, p] = whole << inside
            high = (whole >> ONE) >> (TOP - inside)
            if high:
                arena[start + at + 1, p] = high
            begin, end = min(begin, at), max(end, at + (2 if high else 1))
        firsts[place], lasts[place] = (begin, end) if end else (0, 0)


@numba.njit
def rounded(arena, start, first, last, grid, p):  # type: ignore[no-untyped-def]
    """The integer in two's complement in limbs [first, last), times 2^grid, ties to even."""
    if last <= first:
        return 0.0
    negative = arena[start + last - 1, p] >> TOP
    flip = ZERO - negative
    # the size's limbs are limb ^ flip, plus one from the lowest limb that is not zero on
    lowest = first
    while lowest < last and arena[start + lowest, p] == ZERO:
        lowest += 1
    if lowest == last:
        return 0.0
    at = last - 1
    while at > lowest and (arena[start + at, p] ^ flip) == ZERO:
        at -= 1
    high = (arena[start + at, p] ^ flip) + (negative if at == lowest else ZERO)
    low = ZERO
    if at > lowest:
        low = (arena[start + at - 1, p] ^ flip) + (negative if at - 1 == lowest else ZERO)
    zeros = 0
    while not (high << U(zeros)) >> TOP:
        zeros += 1
    size = high << U(zeros) | (low >> ONE) >> U(63 - zeros)
    sticky = (low << U(zeros)) != ZERO or at - 1 > lowest
    power = grid + 64 * at - zeros
    dropped = max(11, -1074 - power)
    if power + 64 > 1024:
        return -math.inf if negative else math.inf
    if dropped > 64:
        kept = ZERO
    else:
        kept = size >> U(dropped) if dropped < 64 else ZERO
        rest = size << U(64 - dropped)
        half = ONE << TOP
        if rest > half or (rest == half and (sticky or kept & ONE)):
            kept += ONE
    value = math.ldexp(float(kept), power + dropped) if kept else 0.0
    return -value if negative else value
