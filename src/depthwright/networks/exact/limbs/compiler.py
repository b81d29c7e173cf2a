"""From the layers of an exact network to a limb program, one layer after the other.

Per layer: `bounded` gives every row its interval, `pairs` finds rows read only as differences, and
`append` decides which rows are no instruction at all, which are written over their main term's
buffer, in which order, and where the others go.

Two neurons read only as a triangle, σ(u) − σ(2u − β), u ≤ β = 2^q, are one slot, and a triangle of
it alone (u' = 2^k·slot, β' = 2^{k−1}·β) is no instruction: m triangles in a row are the triangle
wave of u with period 2^{q−m+1}, which keeps the digits of u below the period and takes them from
it where they are more than half of it (kernel.fold).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from depthwright.networks.exact.layer import Layer
from depthwright.networks.exact.limbs import bounds, floors
from depthwright.networks.exact.limbs.bounds import ZERO, Bound, Form, Interval
from depthwright.networks.exact.limbs.facts import Facts, times
from depthwright.networks.exact.limbs.program import (
    CLAMP,
    CONSTANT,
    LIMB,
    NOTHING,
    PRODUCT,
    RELU,
    ROW_FIELDS,
    SHIFT,
    SUM,
    TENTS,
    TERM_FIELDS,
    Arena,
    LimbProgram,
    Slot,
)
from depthwright.networks.exact.limbs.rows import (
    Row,
    log2,
    negated,
    pairs,
    rows_of,
    split,
    triangles,
    written_over,
)


@dataclass
class Compiler(Facts):
    """Layer after layer; `slots` are the values of the newest."""

    arena: Arena = field(kw_only=True)
    rows: list[list[int]] = field(default_factory=list)
    terms: list[list[int]] = field(default_factory=list)
    constants: list[int] = field(default_factory=list)
    _known: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)

    def limbs_of(self, integer: int) -> tuple[int, int]:
        """Place and number of the limbs of a positive integer among the constants."""
        count = -(-integer.bit_length() // LIMB)
        known = self._known.get((integer, count))
        if known is None:
            known = self._known[integer, count] = len(self.constants), count
            data = integer.to_bytes(count * 8, "little")
            self.constants.extend(np.frombuffer(data, dtype="<u8").tolist())
        return known

    def place(self, row: Row, main: int, over: int | None) -> Slot:
        """Append the row's instruction; `main` is the index of its main term or −1, `over` the
        buffer that it may be written over.
        """
        powers = [self.slots[column].lowest + power for column, _, power in row.terms]
        powers += [power for _, power in row.constant]
        if row.ceiling is not None:
            powers.append(row.ceiling[1])
        lowest = min(powers)
        products = any(abs(size) & abs(size) - 1 for _, size, _ in row.terms)
        kept = row.floor - (LIMB + 16 if products else 8)  # 2^floor is more than is left out
        cut = row.kind != CLAMP and lowest < kept
        floor = (
            math.floor(kept)
            if cut
            else min(  # a product moves its source by whole limbs upwards only
                [
                    lowest,
                    *(
                        self.slots[c].grid + power
                        for c, size, power in row.terms
                        if size & size - 1
                    ),
                ]
            )
        )
        grid = floor
        if main >= 0:
            column, _, power = row.terms[main]
            grid = self.slots[column].grid + power
            grid += LIMB * ((floor - grid) // LIMB)
        left_out = self.left_out(row, grid) if cut else ZERO
        if left_out[0]:
            lowest, self.inexact = grid, True
        error = self.error(row.form, row.scale, left_out)
        size = bounds.bits(bounds.widened(row.sum, error))
        limbs = max(1, -(-(size - grid + 1) // LIMB))
        ceiling = (max(row.period - grid, 0) if row.kind == TENTS else 0, 0, 0)
        if row.ceiling is not None:
            m, e = row.ceiling
            at = (e - grid) // LIMB
            start, count = self.limbs_of(m << (e - grid - LIMB * at))
            ceiling = (start, count, at)
            limbs = max(limbs, at + count)
        source = self.slots[row.terms[main][0]] if main >= 0 else NOTHING
        move = (source.grid + row.terms[main][2] - grid) // LIMB if main >= 0 else 0
        in_place = False
        if over is not None:
            start = source.start - move
            first = self.arena.starts[source.place]
            in_place = start >= first and start + limbs <= first + self.arena.sizes[source.place]
        if in_place:
            place = source.place
        else:
            place = self.arena.take(limbs)
            start = self.arena.starts[place]
        begin = len(self.terms)
        for integer, power in row.constant:
            self.constant(integer, power - grid)
        for index, (column, integer, power) in enumerate(row.terms):
            if index != main:
                self.term(self.slots[column], integer, power, grid)
        self.rows.append(
            [
                *(row.kind, place, start, limbs, source.place, source.start, move, int(in_place)),
                *(begin, len(self.terms), *ceiling),
            ]
        )
        if row.kind == TENTS:
            value = Interval(ZERO, (1, row.period - 1))
            last = len(self.rows) - 1
            return Slot(
                place, start, limbs, grid, lowest, value, cut=error, tent=(last, row.period)
            )
        value = row.sum
        if row.kind != SUM:
            value = bounds.rectified(row.sum, row.ceiling)
        return Slot(
            place, start, limbs, grid, lowest, value, row.form, row.scale, row.bias, row.ceiling,
            left_out,
        )  # fmt: skip

    def constant(self, integer: int, shift: int) -> None:
        """A term of the bias; what lies below limb 0 is left out."""
        if shift < 0:
            integer, shift = (abs(integer) >> -shift) * (1 if integer > 0 else -1), 0
            if not integer:
                return
        move, inside = divmod(shift, LIMB)
        start, count = self.limbs_of(abs(integer) << inside)
        self.terms.append([CONSTANT, 1 if integer > 0 else -1, -1, 0, move, 0, start, count])

    def term(self, source: Slot, integer: int, power: int, grid: int) -> None:
        """± source << shift, or ± source × coefficient."""
        sign, size = (1, integer) if integer > 0 else (-1, -integer)
        zeros = (size & -size).bit_length() - 1
        size >>= zeros
        move, inside = divmod(source.grid + power + zeros - grid, LIMB)
        if size == 1:
            self.terms.append([SHIFT, sign, source.place, source.start, move, inside, 0, 0])
            return
        start, count = self.limbs_of(size << inside)
        self.terms.append([PRODUCT, sign, source.place, source.start, move, 0, start, count])

    def is_alias(self, row: Row) -> bool:
        """Whether the row is a non-negative slot times a power of two, between two layers.

        Never an output: that one is read with its sign, which hidden slots are stored without.
        """
        if len(row.terms) != 1 or row.constant or row.kind != RELU:
            return False
        integer = row.terms[0][1]
        slot = self.slots[row.terms[0][0]]
        return (
            integer > 0
            and integer & (integer - 1) == 0
            and not bounds.is_negative(slot.interval.low)
        )

    def alias(self, row: Row) -> Slot:
        """The slot itself on another grid."""
        column, integer, power = row.terms[0]
        power += integer.bit_length() - 1
        old = self.slots[column]
        value = bounds.scaled((1, power), old.interval)
        return Slot(
            old.place, old.start, old.limbs, old.grid + power, old.lowest + power, value,
            row.form, row.scale, row.bias,
        )  # fmt: skip

    def continued(self, row: Row) -> Slot | None:
        """The slot of a triangle of a triangle that no other row reads: one more in its row."""
        column, integer, power = row.terms[0]
        slot = self.slots[column]
        if row.kind != TENTS or len(row.terms) > 1 or integer != 1 or slot.tent is None:
            return None
        number, period = slot.tent
        period += power - 1
        if row.period != period:
            return None
        self.rows[number][10] = max(self.rows[number][10] - 1, 0)
        value = Interval(ZERO, (1, period - 1))
        return replace(
            slot, grid=slot.grid + power, lowest=slot.lowest + power, interval=value,
            cut=times((1, power), slot.cut), tent=(number, period),
        )  # fmt: skip

    def main_of(self, row: Row) -> int:
        """The term with the lowest bits among those that are shifts with a plus sign."""
        best, key = -1, (0, 0)
        for index, (column, integer, power) in enumerate(row.terms):
            if integer == 1:
                slot = self.slots[column]
                wanted = (slot.lowest + power, -slot.limbs)
                if best < 0 or wanted < key:
                    best, key = index, wanted
        return best

    def append(self, rows: Sequence[Row | None]) -> None:
        """The instructions of one layer; a row of None is never read."""
        new: list[Slot] = [NOTHING] * len(rows)
        fresh: list[tuple[int, Row, int]] = []
        aliased: set[int] = set()
        readers = Counter(
            column for row in rows if row is not None for column in {term[0] for term in row.terms}
        )
        for index, row in enumerate(rows):
            if row is None or not (row.terms or row.constant):
                continue
            if row.kind != SUM and row.sum.high[0] <= 0:
                continue
            if self.is_alias(row):
                new[index] = self.alias(row)
                aliased.add(new[index].place)
                continue
            if row.kind == TENTS and readers[row.terms[0][0]] == 1:
                slot = self.continued(row)
                if slot is not None:
                    new[index] = slot
                    aliased.add(slot.place)
                    continue
            fresh.append((index, row, self.main_of(row)))
        order = written_over(fresh, self.slots, aliased)
        inside = {candidate[0] for candidate in order}
        for index, row, main in fresh:
            if index not in inside:
                new[index] = self.place(row, main, None)
        for index, row, main, place in order:
            new[index] = self.place(row, main, place)
        alive = {slot.place for slot in new}
        for place in {slot.place for slot in self.slots if slot.place >= 0} - alive:
            self.arena.release(place)
        self.slots = new


def compiled(
    layers: Sequence[Layer],
    value_bits: int | None,
    grid: int,
    reach: Bound,
    step: Callable[[float], None] = lambda _: None,
) -> LimbProgram:
    """For inputs that are multiples of 2^grid and at most `reach` in size; `step` is told the part
    that is done.
    """
    if floors.worthwhile(layers, value_bits):
        program = _compiled(layers, grid, reach, step, floors.floors(layers))
        if program is not None:
            return program
    program = _compiled(layers, grid, reach, step, [[]] * len(layers))
    assert program is not None
    return program


def _compiled(
    layers: Sequence[Layer],
    grid: int,
    reach: Bound,
    step: Callable[[float], None],
    lowest: Sequence[Sequence[float]],
) -> LimbProgram | None:
    """With digits below these floors left out; None where outputs would be too inaccurate."""
    arena = Arena()
    magnitude = reach[0].bit_length() + reach[1]
    limbs = max(1, -(-(magnitude - grid + 1) // LIMB))
    slots, inputs = [], []
    box = Interval(ZERO, reach)
    dimension = layers[0].fan_in
    for _ in range(2 * dimension):
        place = arena.take(limbs)
        slots.append(Slot(place, arena.starts[place], limbs, grid, grid, box))
        inputs.append([place, arena.starts[place], limbs])
    compiler = Compiler(slots, arena=arena)
    patterns: dict[tuple[int, int, int], list[list[int]]] = {}
    terms = split(rows_of(layers[0], patterns))
    for number in range(len(layers)):
        last = number == len(layers) - 1
        if number % 64 == 0:
            step(number / len(layers))
        forms: dict[tuple[object, ...], Form] = {}
        dropped: set[int] = set()
        rows = [compiler.bounded(row, forms, not last) for row in terms]
        if not last:
            terms = rows_of(layers[number + 1], patterns)
            for row, floor in zip(rows, lowest[number], strict=False):
                row.floor = floor
            for i, j in pairs(rows, terms):
                rows[i].ceiling = bounds.total([rows[i].bias, negated(rows[j].bias)])
                rows[i].kind = CLAMP
                dropped.add(j)
            for i, j in triangles(rows, terms, set(dropped)):
                rows[i].period = log2(negated(rows[j].bias))
                rows[i].kind = TENTS
                dropped.add(j)
            if dropped:
                terms = [[term for term in row if term[0] not in dropped] for row in terms]
        if last and compiler.inexact:
            ends = [compiler.ends(row) for row in rows]
            if None in ends:
                return None
            rows = [pair[side] for side in (0, 1) for pair in ends if pair is not None]
        compiler.append([None if j in dropped else row for j, row in enumerate(rows)])
    outputs = [[slot.place, slot.start, slot.grid] for slot in compiler.slots]
    return LimbProgram(
        np.array(compiler.rows, dtype=np.int64).reshape(-1, ROW_FIELDS),
        np.array(compiler.terms, dtype=np.int64).reshape(-1, TERM_FIELDS),
        np.array(compiler.constants, dtype=np.uint64),
        np.array(inputs, dtype=np.int64),
        grid,
        np.array(outputs, dtype=np.int64),
        len(arena.starts),
        arena.size,
        compiler.inexact,
    )
