"""The compiled loops that run a limb program on a CPU; program.py holds the number format.

Points run along the vector lanes: a tile of `TILE` points keeps limb i of a slot in row start + i
of an arena (limbs, size) that stays in the first or second cache. Each instruction is looked up
once per tile. Carries are numbers 0 or 1 per point, found by comparison (s = a + x carries exactly
if s < x), so one addition is a load, an add, a compare and a store for eight points at a time.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from depthwright.machine.numba_cache import digest, stored
from depthwright.networks.exact.limbs import words as _words
from depthwright.networks.exact.limbs.words import (
    ONE,
    TOP,
    ZERO,
    U,
    add_product,
    add_shifted,
    add_word,
    any_bit,
    read_points,
    rounded,
    subtract_product,
    subtract_shifted,
    subtract_word,
)


@numba.njit
def settle(arena, start, at, end, sign, carry):  # type: ignore[no-untyped-def]
    """Carry on from limb `at`; the first step takes a whole word, then a bit."""
    while at < end and any_bit(carry):
        row = arena[start + at]
        if sign > 0:
            for p in range(row.size):
                a = row[p] + carry[p]
                carry[p] = U(a < carry[p])
                row[p] = a
        else:
            for p in range(row.size):
                a = row[p]
                row[p] = a - carry[p]
                carry[p] = U(a < carry[p])
        at += 1


@numba.njit
def shift_term(arena, start, end, source, first, last, move, shift, sign, carry):  # type: ignore[no-untyped-def]
    """dst ± (source << (64·move + shift)); limbs [first, last) of the source are not zero."""
    carry[:] = ZERO
    zero = arena[0]
    stop = min(last + move + (1 if shift else 0), end)
    for at in range(max(first + move, 0), stop):
        i = at - move
        high = arena[source + i] if i < last else zero
        low = arena[source + i - 1] if i > first else zero
        if sign > 0:
            add_shifted(arena[start + at], high, low, U(shift), carry)
        else:
            subtract_shifted(arena[start + at], high, low, U(shift), carry)
    settle(arena, start, max(stop, 0), end, sign, carry)


@numba.njit
def product_term(arena, start, end, source, first, last, move, factors, sign, carry):  # type: ignore[no-untyped-def]
    """dst ± source·(factors << 64·move); the shorter factor runs in the outer loop.

    Products of words that lie wholly below limb 0 are left out.
    """
    count = factors.size
    by_factor = count <= last - first
    for outer in range(count if by_factor else last - first):
        carry[:] = ZERO
        begin = outer + move + first
        length = last - first if by_factor else count
        stop = min(begin + length, end)
        for at in range(max(begin, 0), stop):
            inner = at - begin
            i = first + (inner if by_factor else outer)
            factor = factors[outer if by_factor else inner]
            if sign > 0:
                add_product(arena[start + at], arena[source + i], factor, carry)
            else:
                subtract_product(arena[start + at], arena[source + i], factor, carry)
        settle(arena, start, max(stop, 0), end, sign, carry)


@numba.njit
def constant_term(arena, start, end, words, move, sign, carry):  # type: ignore[no-untyped-def]
    """dst ± words << 64·move."""
    carry[:] = ZERO
    stop = min(move + words.size, end)
    for at in range(max(move, 0), stop):
        if sign > 0:
            add_word(arena[start + at], words[at - move], carry)
        else:
            subtract_word(arena[start + at], words[at - move], carry)
    settle(arena, start, max(stop, 0), end, sign, carry)


@numba.njit
def clamp(arena, start, begin, end, words, move, source, shift, m0, m1, state):  # type: ignore[no-untyped-def]
    """min(σ(dst), words << 64·move) in place; returns the range that is not zero.

    `state` per point: all ones where dst is positive and below the ceiling. The limbs
    [m0, m1) below `begin` still lie in the source, unmoved: below every bit of the ceiling.
    """
    top = arena[start + end - 1]
    undecided = state[0]
    inside = state[1]
    for p in range(top.size):
        negative = ZERO - (top[p] >> TOP)
        undecided[p] = ~negative
        inside[p] = ZERO
    at = end - 1
    while at >= begin and any_bit(undecided):
        row = arena[start + at]
        word = words[at - move] if 0 <= at - move < words.size else ZERO
        for p in range(row.size):
            less = ZERO - U(row[p] < word)
            inside[p] |= undecided[p] & less
            undecided[p] &= ZERO - U(row[p] == word)
        at -= 1
    some = any_bit(inside) != ZERO
    for p in range(top.size):  # all that are neither negative nor inside are at the ceiling
        undecided[p] = ~((ZERO - (top[p] >> TOP)) | inside[p])
    if not some:
        for at in range(move, move + words.size):
            row = arena[start + at]
            word = words[at - move]
            for p in range(row.size):
                row[p] = undecided[p] & word
        return move, move + words.size
    arena[start + min(m0, begin) : start + begin, :] = ZERO
    for at in range(m0, min(m1, begin)):
        row, old = arena[start + at], arena[source + at - shift]
        for p in range(row.size):
            row[p] = old[p] & inside[p]
    for at in range(begin, end):
        row = arena[start + at]
        word = words[at - move] if 0 <= at - move < words.size else ZERO
        for p in range(row.size):
            row[p] = (row[p] & inside[p]) | (undecided[p] & word)
    return min(m0, begin), end


@numba.njit
def fold(arena, start, begin, end, period, state):  # type: ignore[no-untyped-def]
    """The triangle wave of σ(dst) with period 2^period in place; returns the range that may not be
    zero.

    σ(dst) modulo the period, and the period less that where it is more than a half: the digits
    below the period, negated modulo the period where the highest of them is set.
    """
    kept, flip, carry = state[0], state[1], state[2]
    top = arena[start + end - 1]
    for p in range(top.size):
        kept[p] = (top[p] >> TOP) - ONE
        flip[p] = ZERO
    last, inside = (period - 1) >> 6, U((period - 1) & 63)
    if last < begin:
        return 0, 0
    if last < end:
        row = arena[start + last]
        for p in range(row.size):
            flip[p] = (ZERO - ((row[p] >> inside) & ONE)) & kept[p]
        arena[start + last, :] &= (U(2) << inside) - ONE
        end = last + 1
    elif not any_bit(top) >> TOP:
        return begin, end
    for p in range(top.size):
        carry[p] = flip[p] & ONE
    for at in range(begin, end):
        row = arena[start + at]
        for p in range(row.size):
            a = ((row[p] & kept[p]) ^ flip[p]) + carry[p]
            carry[p] &= U(a == ZERO)
            row[p] = a
    if last < end:
        arena[start + last, :] &= (U(2) << inside) - ONE
    return begin, end


@numba.njit
def run_rows(rows, terms, constants, arena, firsts, lasts, scratch, done):  # type: ignore[no-untyped-def]
    """All instructions on one tile; `done` counts limbs added, multiplied and moved."""
    carry = scratch[0]
    for number in range(rows.shape[0]):
        kind, place, start, limbs = (
            rows[number, 0],
            rows[number, 1],
            rows[number, 2],
            rows[number, 3],
        )
        main, source, move = rows[number, 4], rows[number, 5], rows[number, 6]
        in_place = rows[number, 7] == 1
        t0, t1 = rows[number, 8], rows[number, 9]
        begin, end = 1 << 60, 0  # of the other terms
        for t in range(t0, t1):
            slot, at = terms[t, 2], terms[t, 4]
            if terms[t, 0] == 2:
                low, high = at, at + terms[t, 7]
            else:
                if lasts[slot] <= firsts[slot]:
                    continue
                low, high = at + firsts[slot], at + lasts[slot]
                high += terms[t, 7] if terms[t, 0] == 1 else (1 if terms[t, 5] else 0)
            begin, end = min(begin, low), max(end, high)
        begin = max(begin, 0)
        c0, cn, cmove = rows[number, 10], rows[number, 11], rows[number, 12]
        ceiling = constants[c0 : c0 + cn]
        if kind == 2:
            begin, end = min(begin, cmove), max(end, cmove + cn)
        m0 = m1 = 0
        has_main = main >= 0 and lasts[main] > firsts[main]
        if has_main:
            m0, m1 = max(firsts[main] + move, 0), lasts[main] + move
            end = max(end, m1)
        if end == 0:
            firsts[place], lasts[place] = 0, 0
            continue
        end = min(end + 1, limbs)
        m1 = min(m1, end)
        if has_main and kind != 2:
            begin = min(begin, m0)
        elif not has_main:
            m0 = m1 = begin
        done[2] += 0 if in_place else end - begin
        if in_place:
            for at in range(begin, end):
                if at < m0 or at >= m1:
                    arena[start + at, :] = ZERO
        else:
            for at in range(begin, end):
                if m0 <= at < m1:
                    arena[start + at, :] = arena[source + at - move]
                else:
                    arena[start + at, :] = ZERO
        for t in range(t0, t1):
            what, sign, slot, at = terms[t, 0], terms[t, 1], terms[t, 2], terms[t, 4]
            if what == 2:
                words = constants[terms[t, 6] : terms[t, 6] + terms[t, 7]]
                constant_term(arena, start, end, words, at, sign, carry)
                done[0] += words.size
            elif lasts[slot] > firsts[slot]:
                first, last = firsts[slot], lasts[slot]
                if what == 0:
                    done[0] += last - first
                    shift_term(
                        arena, start, end, terms[t, 3], first, last, at, terms[t, 5], sign, carry
                    )
                else:
                    words = constants[terms[t, 6] : terms[t, 6] + terms[t, 7]]
                    product_term(
                        arena, start, end, terms[t, 3], first, last, at, words, sign, carry
                    )
                    done[1] += (last - first) * words.size
        if kind == 2:
            begin, end = clamp(
                arena, start, begin, end, ceiling, cmove, source, move, m0, m1, scratch[1:]
            )
        elif kind == 3:
            done[2] += end - begin
            begin, end = fold(arena, start, begin, end, rows[number, 10], scratch)
        elif kind == 1:
            top = arena[start + end - 1]
            if any_bit(top) >> TOP:
                for p in range(top.size):
                    carry[p] = (top[p] >> TOP) - ONE
                for at in range(begin, end):
                    row = arena[start + at]
                    for p in range(row.size):
                        row[p] &= carry[p]
        if kind != 0:
            while end > begin and not any_bit(arena[start + end - 1]):
                end -= 1
        while begin < end and not any_bit(arena[start + begin]):
            begin += 1
        firsts[place], lasts[place] = begin, end


@numba.njit
def run_tiles(x, tables, grid, places, limbs, size, out, done):  # type: ignore[no-untyped-def]
    """Tiles of `size` points, one after the other."""
    rows, terms, constants, inputs, outputs = tables
    arena = np.zeros((limbs, size), dtype=np.uint64)
    scratch = np.zeros((3, size), dtype=np.uint64)
    firsts = np.zeros(places, dtype=np.int64)
    lasts = np.zeros(places, dtype=np.int64)
    for start in range(0, x.shape[0], size):
        end = min(start + size, x.shape[0])
        read_points(x[start:end], inputs, grid, arena, firsts, lasts)
        run_rows(rows, terms, constants, arena, firsts, lasts, scratch, done)
        for j in range(outputs.shape[0]):
            place = outputs[j, 0]
            if place < 0:
                out[start:end, j] = 0.0
                continue
            for p in range(end - start):
                out[start + p, j] = rounded(
                    arena, outputs[j, 1], firsts[place], lasts[place], outputs[j, 2], p
                )


def _entry(made_of: str) -> Any:
    """`run`; of `made_of`, see numba_cache.py."""

    @stored("exact evaluation", nogil=True)
    def run(x, tables, grid, places, limbs, size, out):  # type: ignore[no-untyped-def]
        """Values (points, output_dim) of x (points, input_dim) into `out`, in the calling thread.

        Returns how many limbs, of all the points of a tile, were added, multiplied and moved.
        """
        _ = made_of
        done = np.zeros(3, dtype=np.int64)
        run_tiles(x, tables, grid, places, limbs, size, out, done)
        return done

    return run


run = _entry(digest(_words))
