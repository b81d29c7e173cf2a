"""What a lane of triton.py does with its limbs: terms, the clamp, floats in and out."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def word(pointer):  # type: ignore[no-untyped-def]
    return tl.load(pointer).to(tl.uint64, bitcast=True)


@triton.jit
def put(pointer, value):  # type: ignore[no-untyped-def]
    tl.store(pointer, value.to(tl.int64, bitcast=True))


@triton.jit
def some(values):  # type: ignore[no-untyped-def]
    """1 if any lane is not zero, else 0."""
    return tl.max((values != 0).to(tl.int32), axis=0)


@triton.jit
def added(to, x, carry, sign):  # type: ignore[no-untyped-def]
    """to ± x ± carry, and the new carry or borrow."""
    if sign > 0:
        a = to + x
        b = a + carry
        out = (a < x).to(tl.uint64) | (b < a).to(tl.uint64)
    else:
        a = to - x
        b = a - carry
        out = (to < x).to(tl.uint64) | (a < carry).to(tl.uint64)
    return b, out


@triton.jit
def settle(dst, at, end, sign, carry, lanes: tl.constexpr):  # type: ignore[no-untyped-def]
    """Carry on from limb `at` while any lane has something to carry."""
    alive = some(carry)
    while (at < end) & (alive != 0):
        value, carry = added(word(dst + at * lanes), carry, carry * 0, sign)
        put(dst + at * lanes, value)
        alive = some(carry)
        at += 1


@triton.jit
def shift_term(dst, end, src, first, last, move, shift, sign, zero, lanes: tl.constexpr):  # type: ignore[no-untyped-def]
    """dst ± (source << (64·move + shift))."""
    carry = zero
    up = shift.to(tl.uint64)
    back = (63 - shift).to(tl.uint64)
    stop = tl.minimum(last + move + (shift > 0).to(tl.int64), end)
    begin = tl.maximum(first + move, 0)
    for at in range(begin, stop):
        i = at - move
        high = word(src + tl.minimum(i, last - 1) * lanes)
        low = word(src + tl.maximum(i - 1, first) * lanes)
        high = tl.where(i < last, high, zero)
        low = tl.where(i > first, low, zero)
        x = (high << up) | ((low >> 1) >> back)
        value, carry = added(word(dst + at * lanes), x, carry, sign)
        put(dst + at * lanes, value)
    settle(dst, tl.maximum(tl.maximum(begin, stop), 0), end, sign, carry, lanes)


@triton.jit
def product_term(dst, end, src, first, last, move, words, count, sign, zero, lanes: tl.constexpr):  # type: ignore[no-untyped-def]
    """dst ± source·(words << 64·move), without products of words below limb 0."""
    for j in range(0, count):
        factor = word(words + j)
        carry = zero
        begin = j + move + first
        stop = tl.minimum(begin + last - first, end)
        for at in range(tl.maximum(begin, 0), stop):
            source = word(src + (at - j - move) * lanes)
            low = source * factor
            high = tl.umulhi(source, factor + zero)
            a = low + carry
            high += (a < low).to(tl.uint64)
            value, out = added(word(dst + at * lanes), a, zero, sign)
            carry = high + out
            put(dst + at * lanes, value)
        settle(dst, tl.maximum(tl.maximum(begin, stop), 0), end, sign, carry, lanes)


@triton.jit
def constant_term(dst, end, words, count, move, sign, zero, lanes: tl.constexpr):  # type: ignore[no-untyped-def]
    """dst ± words << 64·move."""
    carry = zero
    stop = tl.minimum(move + count, end)
    for at in range(move, stop):
        x = zero + word(words + at - move)
        value, carry = added(word(dst + at * lanes), x, carry, sign)
        put(dst + at * lanes, value)
    settle(dst, tl.maximum(move, stop), end, sign, carry, lanes)


@triton.jit
def clamp(dst, begin, end, words, count, move, zero, lanes: tl.constexpr):  # type: ignore[no-untyped-def]
    """min(σ(dst), words << 64·move) in place."""
    top = word(dst + (end - 1) * lanes)
    positive = (top >> 63) ^ 1
    undecided = positive
    inside = zero
    at = end - 1
    alive = some(undecided)
    while (at >= begin) & (alive != 0):
        row = word(dst + at * lanes)
        x = zero
        if (at >= move) & (at < move + count):
            x = zero + word(words + at - move)
        inside |= undecided & (row < x).to(tl.uint64)
        undecided &= (row == x).to(tl.uint64)
        alive = some(undecided)
        at -= 1
    kept = zero - inside
    full = zero - (positive & (inside ^ 1))
    for limb in range(begin, end):
        x = zero
        if (limb >= move) & (limb < move + count):
            x = zero + word(words + limb - move)
        put(dst + limb * lanes, (word(dst + limb * lanes) & kept) | (full & x))


@triton.jit
def fold(dst, begin, end, period, zero, lanes: tl.constexpr):  # type: ignore[no-untyped-def]
    """The triangle wave of σ(dst) in place, and its new end; see kernel.fold."""
    kept = (word(dst + (end - 1) * lanes) >> 63) - 1
    last = (period - 1) >> 6
    inside = ((period - 1) & 63).to(tl.uint64)
    full = (((zero + 1) << inside) << 1) - 1
    flip = zero
    if (last >= begin) & (last < end):
        flip = (zero - ((word(dst + last * lanes) >> inside) & 1)) & kept
    stop = tl.minimum(end, last + 1)
    carry = flip & 1
    for at in range(begin, stop):
        mask = tl.where(at == last, full, zero - 1)
        value = ((word(dst + at * lanes) & kept) ^ flip) + carry
        carry = carry & (value == 0).to(tl.uint64)
        put(dst + at * lanes, value & mask)
    return tl.maximum(stop, begin)


@triton.jit
def read_input(  # type: ignore[no-untyped-def]
    column, place, start, limbs, bits, sign, grid, firsts, lasts, zero, lanes: tl.constexpr
):
    """The float64 of these bits, where it has this sign, in limbs."""
    biased = (bits >> 52) & 2047
    mantissa = bits & ((1 << 52) - 1)
    mantissa = tl.where(biased > 0, mantissa | (1 << 52), mantissa)
    mantissa = tl.where((bits < 0) == (sign < 0), mantissa, 0)
    shift = tl.maximum(biased, 1) - 1075 - grid
    down = tl.minimum(tl.maximum(0 - shift, 0), 63)  # bits that are zero by the choice of grid
    whole = (mantissa >> down).to(tl.uint64)
    shift = tl.maximum(shift, 0)
    at = shift >> 6
    inside = (shift & 63).to(tl.uint64)
    for limb in range(0, limbs):
        low = tl.where(at == limb, whole << inside, zero)
        high = tl.where(at + 1 == limb, (whole >> 1) >> (63 - inside), zero)
        put(column + (start + limb) * lanes, low | high)
    used = some(whole).to(tl.int64)
    tl.store(firsts + place, 0)
    tl.store(lasts + place, limbs * used)


@triton.jit
def moved_up(high, low, power, width: tl.constexpr):  # type: ignore[no-untyped-def]
    """high:low, shifted up by `width` bits where as many on top are zero."""
    short = (high >> (64 - width)) == 0
    high = tl.where(short, (high << width) | (low >> (64 - width)), high)
    return high, tl.where(short, low << width, low), tl.where(short, power - width, power)


@triton.jit
def round_output(dst, first, last, grid, zero, lanes: tl.constexpr):  # type: ignore[no-untyped-def]
    """Bits of the float64 nearest to the number in limbs [first, last), ties to even."""
    negative = zero
    if last > first:
        negative = word(dst + (last - 1) * lanes) >> 63
    flip = zero - negative
    carry = negative
    high, low, sticky, before, previous = zero, zero, zero, zero, zero
    place = zero.to(tl.int64)
    for at in range(first, last):
        value = (word(dst + at * lanes) ^ flip) + carry
        carry = carry & (value == 0).to(tl.uint64)
        found = value != 0
        high = tl.where(found, value, high)
        low = tl.where(found, previous, low)
        sticky = tl.where(found, before, sticky)
        place = tl.where(found, at, place)
        before |= previous
        previous = value
    power = grid + 64 * place
    high, low, power = moved_up(high, low, power, 32)
    high, low, power = moved_up(high, low, power, 16)
    high, low, power = moved_up(high, low, power, 8)
    high, low, power = moved_up(high, low, power, 4)
    high, low, power = moved_up(high, low, power, 2)
    high, low, power = moved_up(high, low, power, 1)
    dropped = tl.maximum(-1074 - power, 11)
    cut = tl.minimum(dropped, 64)
    kept = tl.where(cut < 64, high >> tl.minimum(cut, 63).to(tl.uint64), zero)
    rest = high << (64 - cut).to(tl.uint64)
    half = (zero + 1) << 63
    odd = (kept & 1) | (low != 0).to(tl.uint64) | (sticky != 0).to(tl.uint64)
    up = (rest > half) | ((rest == half) & (odd != 0))
    kept = tl.where(dropped > 64, zero, kept + up.to(tl.uint64))
    biased = tl.minimum(power + dropped + 1075, 4000)
    kept_bits = kept.to(tl.int64)
    normal = (tl.maximum(biased, 0) << 52) + kept_bits - (1 << 52)
    bits = tl.where(kept_bits >= (1 << 52), normal, kept_bits)
    infinite = tl.full(bits.shape, 2047, tl.int64) << 52
    bits = tl.where((biased >= 2047) & (kept_bits > 0), infinite, tl.minimum(bits, infinite))
    bits = tl.where(high == 0, 0, bits)
    return bits | (negative << 63).to(tl.int64, bitcast=True)
