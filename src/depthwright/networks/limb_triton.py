"""The loops that run a limb program on a GPU; limb_program.py holds the number format.

The instructions are those of limb_kernel.py, tile by tile: a tile is one warp of 32 points, a lane
a point. A lane alone reads and writes its column of the arena, so limbs need no barriers; the
ranges of limbs that are not zero belong to the tile, lie in memory, and have barriers around them.
A fixed number of programs takes the tiles in turn, each with one arena. Inputs are taken apart,
and results rounded to float64 (ties to even), by their bits, in the same kernel.

Imported only where a CUDA tensor asks for it, or with TRITON_INTERPRET=1, which runs it on a CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl

from depthwright.networks.limb_program import ROW_FIELDS, TERM_FIELDS, LimbProgram

LANES = 32
"""Points a tile: one lane of one warp each."""
TILES_PER_MULTIPROCESSOR = 16


@triton.jit
def word(pointer):  # type: ignore[no-untyped-def]
    """An unsigned word."""
    return tl.load(pointer).to(tl.uint64, bitcast=True)


@triton.jit
def put(pointer, value):  # type: ignore[no-untyped-def]
    """Store an unsigned word."""
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
    """dst ± source·(words << 64·move)."""
    for j in range(0, count):
        factor = word(words + j)
        carry = zero
        begin = j + move + first
        stop = tl.minimum(begin + last - first, end)
        for at in range(begin, stop):
            source = word(src + (at - j - move) * lanes)
            low = source * factor
            high = tl.umulhi(source, factor + zero)
            a = low + carry
            high += (a < low).to(tl.uint64)
            value, out = added(word(dst + at * lanes), a, zero, sign)
            carry = high + out
            put(dst + at * lanes, value)
        settle(dst, tl.maximum(begin, stop), end, sign, carry, lanes)


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
def instruction(
    row, terms, constants, column, firsts, lasts, zero, lanes: tl.constexpr, term_fields: tl.constexpr
):  # type: ignore[no-untyped-def]
    """One row of the program on one tile; see limb_kernel.run_rows."""
    kind, place, start, limbs = tl.load(row), tl.load(row + 1), tl.load(row + 2), tl.load(row + 3)
    main, source, move = tl.load(row + 4), tl.load(row + 5), tl.load(row + 6)
    in_place = tl.load(row + 7)
    t0, t1 = tl.load(row + 8), tl.load(row + 9)
    c0, cn, cmove = tl.load(row + 10), tl.load(row + 11), tl.load(row + 12)
    dst = column + start * lanes
    begin = limbs
    end = limbs * 0
    for t in range(t0, t1):
        term = terms + t * term_fields
        what, slot, at = tl.load(term), tl.load(term + 2), tl.load(term + 4)
        low, high = at, at + tl.load(term + 7)
        used = what == 2
        if what != 2:
            f, l = tl.load(firsts + slot), tl.load(lasts + slot)
            used = l > f
            low = at + f
            extra = tl.where(what == 1, tl.load(term + 7), (tl.load(term + 5) > 0).to(tl.int64))
            high = at + l + extra
        if used:
            begin = tl.minimum(begin, low)
            end = tl.maximum(end, high)
    begin = tl.maximum(begin, 0)
    if kind == 2:
        begin = tl.minimum(begin, cmove)
        end = tl.maximum(end, cmove + cn)
    m0, m1 = begin, begin
    if main >= 0:
        f, l = tl.load(firsts + main), tl.load(lasts + main)
        if l > f:
            m0 = tl.maximum(f + move, 0)
            m1 = l + move
            end = tl.maximum(end, m1)
            begin = tl.minimum(begin, m0)
    if end > 0:
        end = tl.minimum(end + 1, limbs)
        m1 = tl.minimum(m1, end)
        for at in range(begin, end):
            if (at < m0) | (at >= m1):
                put(dst + at * lanes, zero)
            else:
                if in_place == 0:
                    put(dst + at * lanes, word(column + (source + at - move) * lanes))
        for t in range(t0, t1):
            term = terms + t * term_fields
            what, sign, slot = tl.load(term), tl.load(term + 1), tl.load(term + 2)
            src = column + tl.load(term + 3) * lanes
            at, words = tl.load(term + 4), constants + tl.load(term + 6)
            if what == 2:
                constant_term(dst, end, words, tl.load(term + 7), at, sign, zero, lanes)
            else:
                f, l = tl.load(firsts + slot), tl.load(lasts + slot)
                if l > f:
                    if what == 0:
                        shift = tl.load(term + 5)
                        shift_term(dst, end, src, f, l, at, shift, sign, zero, lanes)
                    else:
                        count = tl.load(term + 7)
                        product_term(dst, end, src, f, l, at, words, count, sign, zero, lanes)
        if kind == 2:
            clamp(dst, begin, end, constants + c0, cn, cmove, zero, lanes)
        if kind == 1:
            negative = word(dst + (end - 1) * lanes) >> 63
            if some(negative) != 0:
                keep = negative - 1
                for at in range(begin, end):
                    put(dst + at * lanes, word(dst + at * lanes) & keep)
        if kind != 0:
            alive = some(word(dst + (end - 1) * lanes))
            while (end > begin) & (alive == 0):
                end -= 1
                alive = some(word(dst + tl.maximum(end - 1, begin) * lanes))
        alive = some(word(dst + begin * lanes))
        while (begin < end) & (alive == 0):
            begin += 1
            alive = some(word(dst + tl.minimum(begin, end - 1) * lanes))
    else:
        begin = begin * 0
    tl.debug_barrier()
    tl.store(firsts + place, begin)
    tl.store(lasts + place, end)
    tl.debug_barrier()


@triton.jit
def read_input(column, place, start, limbs, bits, sign, grid, firsts, lasts, zero, lanes: tl.constexpr):  # type: ignore[no-untyped-def]
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


@triton.jit
def run_tiles(
    x, out, points, rows, row_count, terms, constants, inputs, input_count, outputs, output_count,
    grid, arenas, arena_limbs, ranges, places, lanes: tl.constexpr,
    row_fields: tl.constexpr, term_fields: tl.constexpr,
):  # fmt: skip  # type: ignore[no-untyped-def]
    """Every tile that is this program's turn."""
    program = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, lanes)
    column = arenas + program * arena_limbs * lanes + lane
    firsts = ranges + program * 2 * places
    lasts = firsts + places
    zero = tl.zeros([lanes], dtype=tl.uint64)
    put(column, zero)
    tiles = (points + lanes - 1) // lanes
    for tile in range(program, tiles, tl.num_programs(0)):
        point = tile * lanes + lane
        valid = point < points
        for j in range(0, input_count):
            slot = inputs + j * 3
            at = x + point * (input_count // 2) + j // 2
            bits = tl.load(at, mask=valid, other=0)
            sign = 1 - 2 * (j % 2)
            read_input(
                column, tl.load(slot), tl.load(slot + 1), tl.load(slot + 2), bits, sign, grid,
                firsts, lasts, zero, lanes,
            )  # fmt: skip
        tl.debug_barrier()
        for number in range(0, row_count):
            instruction(
                rows + number * row_fields, terms, constants, column, firsts, lasts, zero, lanes,
                term_fields,
            )  # fmt: skip
        for j in range(0, output_count):
            slot = outputs + j * 3
            place = tl.load(slot)
            first, last = tl.load(firsts + tl.maximum(place, 0)), tl.load(lasts + tl.maximum(place, 0))
            last = tl.where(place < 0, first, last)
            dst = column + tl.load(slot + 1) * lanes
            bits = round_output(dst, first, last, tl.load(slot + 2), zero, lanes)
            tl.store(out + point * output_count + j, bits, mask=valid)
        tl.debug_barrier()


def run(program: LimbProgram, x: np.ndarray, device: Any) -> np.ndarray:
    """Values (points, output_dim) of x (points, input_dim), rounded once."""
    points = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64)).to(device)
    out = torch.empty((len(x), len(program.outputs)), dtype=torch.int64, device=device)
    tables = [
        torch.from_numpy(table).to(device)
        for table in (program.rows, program.terms, program.constants.view(np.int64),
                      program.inputs, program.outputs)
    ]  # fmt: skip
    rows, terms, constants, inputs, outputs = tables
    count = 1
    if points.is_cuda:
        chip = torch.cuda.get_device_properties(device)
        free, _ = torch.cuda.mem_get_info(device)
        count = chip.multi_processor_count * TILES_PER_MULTIPROCESSOR
        count = max(1, min(count, free // 2 // (8 * LANES * program.arena)))
    count = min(count, -(-len(x) // LANES)) or 1
    arenas = torch.zeros((count, program.arena, LANES), dtype=torch.int64, device=device)
    ranges = torch.zeros((count, 2, program.places), dtype=torch.int64, device=device)
    run_tiles[(count,)](
        points.view(torch.int64), out, len(x), rows, len(rows), terms, constants, inputs,
        len(inputs), outputs, len(outputs), program.input_grid, arenas, program.arena, ranges,
        program.places, lanes=LANES, row_fields=ROW_FIELDS, term_fields=TERM_FIELDS, num_warps=1, num_stages=1,
    )  # fmt: skip
    return out.view(torch.float64).cpu().numpy()
