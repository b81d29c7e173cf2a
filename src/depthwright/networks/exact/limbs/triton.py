"""The loops that run a limb program on a GPU; program.py holds the number format.

The instructions are those of kernel.py, tile by tile: a tile is one warp of 32 points, a lane
a point. A lane alone reads and writes its column of the arena, so limbs need no barriers; the
ranges of limbs that are not zero belong to the tile, lie in memory, and have barriers around them.
A fixed number of programs takes the tiles in turn, each with one arena. Inputs are taken apart,
and results rounded to float64 (ties to even), by their bits, in the same kernel.

Imported only where a CUDA tensor asks for it, or with TRITON_INTERPRET=1, which runs it on a CPU.
"""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl

from depthwright.networks.exact.limbs.lanes import (
    clamp,
    constant_term,
    fold,
    product_term,
    put,
    read_input,
    round_output,
    shift_term,
    some,
    word,
)
from depthwright.networks.exact.limbs.program import ROW_FIELDS, TERM_FIELDS, LimbProgram

LANES = 32
"""Points a tile: one lane of one warp each."""
TILES_PER_MULTIPROCESSOR = 16


@triton.jit
def instruction(  # type: ignore[no-untyped-def]
    row,
    terms,
    constants,
    column,
    firsts,
    lasts,
    zero,
    lanes: tl.constexpr,
    term_fields: tl.constexpr,
):
    """One row of the program on one tile; see kernel.run_rows."""
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
            first, last = tl.load(firsts + slot), tl.load(lasts + slot)
            used = last > first
            low = at + first
            extra = tl.where(what == 1, tl.load(term + 7), (tl.load(term + 5) > 0).to(tl.int64))
            high = at + last + extra
        if used:
            begin = tl.minimum(begin, low)
            end = tl.maximum(end, high)
    begin = tl.maximum(begin, 0)
    if kind == 2:
        begin = tl.minimum(begin, cmove)
        end = tl.maximum(end, cmove + cn)
    m0, m1 = begin, begin
    if main >= 0:
        first, last = tl.load(firsts + main), tl.load(lasts + main)
        if last > first:
            m0 = tl.maximum(first + move, 0)
            m1 = last + move
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
                first, last = tl.load(firsts + slot), tl.load(lasts + slot)
                if last > first:
                    if what == 0:
                        shift = tl.load(term + 5)
                        shift_term(dst, end, src, first, last, at, shift, sign, zero, lanes)
                    else:
                        count = tl.load(term + 7)
                        product_term(
                            dst, end, src, first, last, at, words, count, sign, zero, lanes
                        )
        if kind == 2:
            clamp(dst, begin, end, constants + c0, cn, cmove, zero, lanes)
        if kind == 3:
            end = fold(dst, begin, end, c0, zero, lanes)
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
        # all terms may lie above the slot: then begin ≥ end, and nothing outside may be read
        alive = some(word(dst + tl.minimum(begin, end - 1) * lanes))
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
def run_tiles(  # type: ignore[no-untyped-def]
    x, out, points, rows, row_count, terms, constants, inputs, input_count, outputs, output_count,
    grid, arenas, arena_limbs, ranges, places, lanes: tl.constexpr,
    row_fields: tl.constexpr, term_fields: tl.constexpr,
):  # fmt: skip
    """Every tile of this program's share."""
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
            first, last = (
                tl.load(firsts + tl.maximum(place, 0)),
                tl.load(lasts + tl.maximum(place, 0)),
            )
            last = tl.where(place < 0, first, last)
            dst = column + tl.load(slot + 1) * lanes
            bits = round_output(dst, first, last, tl.load(slot + 2), zero, lanes)
            tl.store(out + point * output_count + j, bits, mask=valid)
        tl.debug_barrier()


def run(program: LimbProgram, x: torch.Tensor) -> torch.Tensor:
    """Values (points, output_dim) of `x` (points, input_dim), float64, rounded once, where `x` is.

    Rows with nan are not settled: see LimbProgram.values.
    """
    x = x.contiguous()
    out = torch.empty((len(x), len(program.outputs)), dtype=torch.int64, device=x.device)
    rows, terms, constants, inputs, outputs = _tables(program, x.device)
    count = 1
    if x.is_cuda:
        chip = torch.cuda.get_device_properties(x.device)
        free, _ = torch.cuda.mem_get_info(x.device)
        count = chip.multi_processor_count * TILES_PER_MULTIPROCESSOR
        count = max(1, min(count, free // 2 // (8 * LANES * program.arena)))
    count = min(count, -(-len(x) // LANES)) or 1
    # a limb is written before it is read
    arenas = torch.empty((count, program.arena, LANES), dtype=torch.int64, device=x.device)
    ranges = torch.zeros((count, 2, program.places), dtype=torch.int64, device=x.device)
    run_tiles[(count,)](
        x.view(torch.int64), out, len(x), rows, len(rows), terms, constants, inputs, len(inputs),
        outputs, len(outputs), program.input_grid, arenas, program.arena, ranges, program.places,
        lanes=LANES, row_fields=ROW_FIELDS, term_fields=TERM_FIELDS, num_warps=1, num_stages=1,
    )  # fmt: skip
    if not program.ends:
        return out.view(torch.float64)
    low, high = out.chunk(2, dim=1)
    return torch.where(low == high, low.contiguous().view(torch.float64), torch.nan)


def _tables(program: LimbProgram, device: torch.device) -> tuple[torch.Tensor, ...]:
    """The program's, copied to the device once."""
    if device not in program.loaded:
        parts = (program.rows, program.terms, program.constants.view(np.int64))
        program.loaded[device] = tuple(
            torch.from_numpy(table).to(device)
            for table in (*parts, program.inputs, program.outputs)
        )
    found: tuple[torch.Tensor, ...] = program.loaded[device]
    return found
