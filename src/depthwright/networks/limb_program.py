"""An exact network compiled to fixed-point arithmetic on limbs (64-bit words).

*Number format.* A slot (one neuron of one layer) holds, for every point of a tile, a non-negative
integer in limbs, least first; its value is integer × 2^grid. The grid, the number of limbs and
the slot's place in the arena are fixed here, once for all points of the box. A row of a layer is

    dst = bias + Σ ± (source << shift) + Σ ± (source × coefficient)      then σ, or a clamp,

computed modulo 2^(64·limbs) in two's complement, so partial sums may wrap; the row's interval
(limb_bounds.py) says that the result itself fits, and it alone sizes the slot. Negative values
live only between the sum and σ, in the outputs, and in the inputs, which are split: x = x₊ − x₋.

*What makes it fast.* (1) The longest term of a row is its *main* term: the row's grid is chosen so
that this term needs no shift inside a limb, only a move of whole limbs; where nobody else reads
the source, the row is written over it, and 2r − bit touches the few limbs that the bit has.
(2) A row that only carries or scales a slot by a power of two is no instruction at all.
(3) Two neurons σ(a + β), σ(a + β') that the next layer reads only as a difference are one slot,
min(σ(a + β), β − β'): a bit test. (4) At run time each slot remembers the range of limbs in which
any point of the tile is not zero, and nothing outside it is touched: bits are short where they are
bits, and have the long fractions that the interval allows only at points inside a ramp.

*Why no overflow is possible.* A slot is stored in limbs [first, last) ⊆ [0, limbs). The sum of fewer
than 2^62 terms, each below 2^(64·h), lies in ±2^(64·h + 62), so h + 1 limbs hold it with its sign;
the row uses min(h + 1, limbs) limbs, and `limbs` suffice by the interval. Low limbs that are left
out are zero: no term has bits below the row's `lowest` ≥ grid.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from depthwright.networks import limb_bounds
from depthwright.networks.exact import BIAS, ExactNetwork, Layer
from depthwright.networks.limb_bounds import ZERO, Bound, Form, Interval, Part

LIMB = 64
SUM, RELU, CLAMP = 0, 1, 2
"""What follows a row's sum."""
ROW_FIELDS = 13
"""kind, destination slot, its first limb, limbs, main slot (−1: none), its first limb, move of the
main term in limbs, in place, first term, end of terms; of the ceiling: place among the constants,
limbs, move."""
TERM_FIELDS = 8
"""0 shift, 1 product, 2 constant; sign; source slot; its first limb; move in limbs; bits; first
limb of the constant; its length."""
SHIFT, PRODUCT, CONSTANT = 0, 1, 2

Term = tuple[int, int, int]
"""Column, integer, power."""


@dataclass(slots=True)
class Slot:
    """A value of the newest layer."""

    place: int
    """Buffer, and index of the run-time range; −1 for a slot that is always 0."""
    start: int
    """Its first limb in the arena."""
    limbs: int
    grid: int
    lowest: int
    """No bit below 2^lowest is set; lowest ≥ grid."""
    interval: Interval
    form: Form | None = None
    scale: Bound = ZERO
    bias: Bound = ZERO
    ceiling: Bound | None = None
    """value = min(σ(scale·form + bias), ceiling) where a form is known."""


NOTHING = Slot(-1, 0, 0, 0, 0, Interval(ZERO, ZERO))


@dataclass(frozen=True)
class LimbProgram:
    """Tables for the executors. All integers; limbs of constants are uint64."""

    rows: np.ndarray
    """(rows, ROW_FIELDS) int64."""
    terms: np.ndarray
    """(terms, TERM_FIELDS) int64."""
    constants: np.ndarray
    """(limbs of all constants,) uint64."""
    inputs: np.ndarray
    """(2·input_dim, 3) int64: slot, first limb, limbs of x₊ and x₋ of every coordinate."""
    input_grid: int
    outputs: np.ndarray
    """(output_dim, 3) int64: slot (−1: always 0), first limb, grid."""
    places: int
    arena: int
    """Limbs that a tile of points needs."""
    work: float
    """Limbs that the rows move in a tile where every slot is full: an upper end of the cost."""


class Arena:
    """Buffers of limbs, used again when they are free; limb 0 is always zero."""

    def __init__(self) -> None:
        self.size = 1
        self.starts: list[int] = []
        self.sizes: list[int] = []
        self._free: list[tuple[int, int]] = []

    def take(self, limbs: int) -> int:
        """The smallest free buffer that is large enough, if it is not far too large."""
        at = bisect.bisect_left(self._free, (limbs, 0))
        if at < len(self._free) and self._free[at][0] <= 2 * limbs + 8:
            return self._free.pop(at)[1]
        self.starts.append(self.size)
        self.sizes.append(limbs + limbs // 8 + 2)
        self.size += self.sizes[-1]
        return len(self.starts) - 1

    def release(self, place: int) -> None:
        """Nobody reads it any more."""
        bisect.insort(self._free, (self.sizes[place], place))


@dataclass(slots=True)
class Row:
    """A row of a layer, bounded, not yet placed."""

    terms: list[Term]
    """On slots that may be nonzero; the bias apart."""
    constant: list[tuple[int, int]]
    """(integer, power) of the bias."""
    form: Form | None
    scale: Bound
    bias: Bound
    sum: Interval
    ceiling: Bound | None = None
    kind: int = RELU


@dataclass
class Compiler:
    """Layer after layer; `slots` are the values of the newest."""

    slots: list[Slot]
    arena: Arena
    rows: list[list[int]] = field(default_factory=list)
    terms: list[list[int]] = field(default_factory=list)
    constants: list[int] = field(default_factory=list)
    work: float = 0.0
    _known: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    _joint: dict[tuple[tuple[Part, ...], Interval], Interval] = field(default_factory=dict)

    # --- bounds

    def bound(self, terms: Sequence[Term]) -> Interval:
        """Of Σ integer·2^power·slot: terms of one form together, forms added."""
        groups: dict[int, list[Term]] = {}
        parts: list[Interval] = []
        for term in terms:
            form = self.slots[term[0]].form
            if form is None:
                parts.append(limb_bounds.scaled(term[1:], self.slots[term[0]].interval))
            else:
                groups.setdefault(id(form), []).append(term)
        for group in groups.values():
            if len(group) == 1:
                parts.append(limb_bounds.scaled(group[0][1:], self.slots[group[0][0]].interval))
                continue
            slots = [self.slots[column] for column, _, _ in group]
            form = slots[0].form
            assert form is not None
            wanted = tuple(
                ((integer, power), slot.scale, slot.bias, slot.ceiling)
                for (_, integer, power), slot in zip(group, slots, strict=True)
            )
            key = (wanted, form.interval)
            if key not in self._joint:
                self._joint[key] = limb_bounds.joint(wanted, form.interval)
            parts.append(self._joint[key])
        return limb_bounds.added(parts)

    def bounded(self, terms: list[Term], forms: dict[tuple[object, ...], Form], relu: bool) -> Row:
        """A row with its form and interval; terms of slots that are 0 are dropped."""
        constant = [term[1:] for term in terms if term[0] == BIAS]
        bias = limb_bounds.total(constant)
        kind = RELU if relu else SUM
        kept = [term for term in terms if term[0] != BIAS and self.slots[term[0]].place >= 0]
        if not kept:
            exact = Interval(limb_bounds.below(*bias), limb_bounds.above(*bias))
            return Row(kept, constant, None, ZERO, bias, exact, kind=kind)
        first, power = kept[0][1:]
        if len(kept) == 1:  # most rows only carry a value: nothing to share, nothing to add
            column = kept[0][0]
            form = forms.get((column,))
            if form is None:
                form = forms[(column,)] = Form(self.slots[column].interval)
            scale = (first, power)
            interval = limb_bounds.scaled(scale, form.interval)
            if constant or abs(first) != 1:
                interval = limb_bounds.added([interval], bias)
            return Row(kept, constant, form, scale, bias, interval, kind=kind)
        unit = 0
        for _, integer, _ in kept:
            if unit == 1 or integer.bit_length() > LIMB:
                unit = 1
                break
            unit = math.gcd(unit, integer)
        unit = unit if first > 0 else -unit
        normal = [(column, integer // unit, at - power) for column, integer, at in kept]
        key = tuple(normal)
        form = forms.get(key)
        if form is None:
            form = forms[key] = Form(self.bound(normal))
        scale = (unit, power)
        interval = limb_bounds.added([limb_bounds.scaled(scale, form.interval)], bias)
        return Row(kept, constant, form, scale, bias, interval, kind=kind)

    # --- code

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
        floor = min(  # a product moves its source by whole limbs upwards only
            [lowest, *(self.slots[c].grid + power for c, size, power in row.terms if size & size - 1)]
        )
        grid = floor
        if main >= 0:
            column, _, power = row.terms[main]
            grid = self.slots[column].grid + power
            grid += LIMB * ((floor - grid) // LIMB)
        size = limb_bounds.bits(row.sum)
        limbs = max(1, -(-(size - grid + 1) // LIMB))
        ceiling = (0, 0, 0)
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
            [row.kind, place, start, limbs, source.place, source.start, move, int(in_place)]
            + [begin, len(self.terms), *ceiling]
        )
        self.work += limbs * (1 + len(self.terms) - begin)
        value = row.sum
        if row.kind != SUM:
            value = limb_bounds.rectified(row.sum, row.ceiling)
        return Slot(
            place, start, limbs, grid, lowest, value, row.form, row.scale, row.bias, row.ceiling
        )

    def constant(self, integer: int, shift: int) -> None:
        """A term of the bias."""
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
        """Whether the row is a non-negative slot times a power of two."""
        if len(row.terms) != 1 or row.constant or row.ceiling is not None:
            return False
        integer = row.terms[0][1]
        slot = self.slots[row.terms[0][0]]
        return integer > 0 and integer & (integer - 1) == 0 and not limb_bounds.is_negative(
            slot.interval.low
        )

    def alias(self, row: Row) -> Slot:
        """The slot itself on another grid."""
        column, integer, power = row.terms[0]
        power += integer.bit_length() - 1
        old = self.slots[column]
        value = limb_bounds.scaled((1, power), old.interval)
        return Slot(
            old.place, old.start, old.limbs, old.grid + power, old.lowest + power, value,
            row.form, row.scale, row.bias,
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
        """The instructions of one layer (None: a row that nobody reads)."""
        new: list[Slot] = [NOTHING] * len(rows)
        fresh, over, aliased = [], [], set()
        readers: dict[int, int] = {}
        for index, row in enumerate(rows):
            if row is None or not (row.terms or row.constant):
                continue
            if row.kind != SUM and row.sum.high[0] <= 0:
                continue
            if self.is_alias(row):
                new[index] = self.alias(row)
                aliased.add(new[index].place)
                continue
            fresh.append((index, row, self.main_of(row)))
            for place in {self.slots[column].place for column, _, _ in row.terms}:
                readers[place] = readers.get(place, 0) + 1
        taken: set[int] = set()
        for index, row, main in fresh[:]:
            if main < 0 or row.kind == CLAMP:
                continue
            place = self.slots[row.terms[main][0]].place
            others = sum(self.slots[column].place == place for column, _, _ in row.terms)
            if place not in aliased and place not in taken and others == 1:
                taken.add(place)
                over.append((index, row, main, place))
        # a row written over a buffer runs after all that read the buffer
        order: list[tuple[int, Row, int, int]] = []
        waiting = over
        while waiting:
            runs = [
                candidate
                for candidate in waiting
                if not any(
                    candidate[3] == self.slots[column].place
                    for other in waiting
                    if other is not candidate
                    for column, _, _ in other[1].terms
                )
            ]
            if not runs:
                waiting = waiting[1:]  # written elsewhere, before the others
                continue
            order.append(runs[0])
            waiting = [candidate for candidate in waiting if candidate is not runs[0]]
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


def rows_of(layer: Layer, patterns: dict[tuple[int, int], list[list[int]]]) -> list[list[Term]]:
    """The terms of every row; which terms those are is looked up once per pattern."""
    key = (id(layer.rows), id(layer.columns))
    if key not in patterns:
        found: list[list[int]] = [[] for _ in range(layer.fan_out)]
        for term, row in enumerate(layer.rows):
            found[row].append(term)
        patterns[key] = found
    columns, integers, powers = layer.columns, layer.integers, layer.powers
    return [
        [(columns[t], integers[t], powers[t]) for t in terms] for terms in patterns[key]
    ]


def pairs(
    rows: Sequence[Row], readers: Sequence[Sequence[Term]]
) -> Iterator[tuple[int, int]]:
    """(i, j) with row i = row j + δ, δ > 0, that all `readers` read only as i − j."""
    seen: dict[tuple[int, Bound], list[int]] = {}
    for index, row in enumerate(rows):
        if row.form is not None:
            seen.setdefault((id(row.form), row.scale), []).append(index)
    groups = [group for group in seen.values() if len(group) > 1]
    if not groups:
        return
    uses: dict[int, list[tuple[int, int, int]]] = {}
    for number, reader in enumerate(readers):
        for column, integer, power in reader:
            uses.setdefault(column, []).append((number, integer, power))
    for group in groups:
        free = set(group)
        for i in group:
            for j in group:
                if i == j or i not in free or j not in free:
                    continue
                minus = [(number, -integer, power) for number, integer, power in uses.get(j, [])]
                if uses.get(i, []) != minus:
                    continue
                if limb_bounds.total([rows[i].bias, negated(rows[j].bias)])[0] > 0:
                    free -= {i, j}
                    yield i, j


def negated(number: Bound) -> Bound:
    """Its negative."""
    return -number[0], number[1]


def compiled(
    network: ExactNetwork, grid: int, reach: Bound, step: Callable[[float], None] = lambda _: None
) -> LimbProgram:
    """For inputs that are multiples of 2^grid and at most `reach` in size; `step` is told the part
    that is done.
    """
    arena = Arena()
    magnitude = reach[0].bit_length() + reach[1]
    limbs = max(1, -(-(magnitude - grid + 1) // LIMB))
    slots, inputs = [], []
    box = Interval(ZERO, reach)
    dimension = network.layers[0].fan_in
    for _ in range(2 * dimension):
        place = arena.take(limbs)
        slots.append(Slot(place, arena.starts[place], limbs, grid, grid, box))
        inputs.append([place, arena.starts[place], limbs])
    compiler = Compiler(slots, arena)
    patterns: dict[tuple[int, int], list[list[int]]] = {}
    layers = network.layers
    terms = split(rows_of(layers[0], patterns), dimension)
    for number in range(len(layers)):
        last = number == len(layers) - 1
        if number % 64 == 0:
            step(number / len(layers))
        forms: dict[tuple[object, ...], Form] = {}
        dropped: set[int] = set()
        rows = [compiler.bounded(row, forms, not last) for row in terms]
        if not last:
            terms = rows_of(layers[number + 1], patterns)
            for i, j in pairs(rows, terms):
                rows[i].ceiling = limb_bounds.total([rows[i].bias, negated(rows[j].bias)])
                rows[i].kind = CLAMP
                dropped.add(j)
            if dropped:
                terms = [[term for term in row if term[0] not in dropped] for row in terms]
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
        compiler.work,
    )


def split(rows: Sequence[Sequence[Term]], dimension: int) -> list[list[Term]]:
    """x = x₊ − x₋: column j becomes 2j and 2j + 1."""
    return [
        [
            part
            for column, integer, power in row
            for part in (
                [(BIAS, integer, power)]
                if column == BIAS
                else [(2 * column, integer, power), (2 * column + 1, -integer, power)]
            )
        ]
        for row in rows
    ]
