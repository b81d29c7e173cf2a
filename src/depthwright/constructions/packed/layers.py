"""The layers of NarrowPacked, in the order of narrow_packed.md.

A packed number is y = 0.F_1 0 F_2 0 … F_n 0 …, F_i = V_i + offset_i the i-th pre-activation as a
whole number of s_i bits, one 0 behind each. What a layer adds up for the next one is kept as
A = ½ + 2^{−lead}·Σ (digits of V_i), so that no partial sum leaves (¼, ¾). While a layer is decoded,
A stands in the digits behind its own last field.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from depthwright.constructions.bits.cells import Cells, Reading
from depthwright.constructions.packed.bounds import Sizing
from depthwright.constructions.packed.measured_builder import MeasuredBuilder, top_of
from depthwright.constructions.packed.numbers import Fields, Numbers, first_rows
from depthwright.constructions.packed.scales import Scaled
from depthwright.constructions.packed.widths import architecture, groups
from depthwright.networks.exact.calculus import Linear
from depthwright.networks.exact.dyadic import HALF, Dyadic
from depthwright.networks.exact.network import ExactNetwork
from depthwright.networks.inputs import Inputs
from depthwright.progress import Bar
from depthwright.refusal import Refusal

MARGIN = 60
"""Bits by which the noise behind long gaps stays below what is added up."""
LENGTH_LIMIT = 2_000_000
"""Binary digits of a packed number with long gaps; beyond it only sizes are computed."""


# --- the network


@dataclass(frozen=True)
class Sink:
    """Where a hidden layer's values are added: A, and sums in neurons of their own."""

    starts: list[Dyadic]
    columns: list[list[Dyadic]]
    """Neuron → the amount that a unit of its integer adds to each."""


@dataclass
class Reader:
    """A number whose first c bits are read: bit k is 1 from threshold unit·2^{c−1−k} on."""

    r: Linear
    unit: Dyadic
    slope: int
    """The ramps' slope is 2^slope."""
    columns: Sequence[Dyadic]
    """Bit → the amount that it adds to the sum."""
    top: int
    """r < 2^top."""

    def test(self, place: int) -> list[Linear]:
        """r and two ramps whose difference is the bit of this place."""
        ramp = (self.r - (self.unit << place)) << self.slope
        return [self.r, ramp + 1, ramp]

    def tops(self) -> list[int]:
        """Bounds of the three neurons."""
        return [self.top, self.top + self.slope + 1, self.top + self.slope + 1]


class Packer:
    """Builds the network; method names follow narrow_packed.md."""

    def __init__(
        self,
        scaled: Scaled,
        reading: Reading,
        sizing: Sizing,
        output_biases: Sequence[float],
        inputs: Inputs,
    ) -> None:
        self.scaled, self.reading, self.sizing = scaled, reading, sizing
        self.layout, self.bits = sizing.layout, sizing.bits
        self.output_biases, self.inputs = output_biases, inputs
        self.hidden = len(scaled.widths) - 2
        self.direct = int(self.layout.ways[0] == "direct")
        self.powers = output_powers(scaled, sizing)
        self.numbers = self.packed_numbers()
        self.builder = MeasuredBuilder(inputs)

    def network(self) -> ExactNetwork:
        depth = architecture(self.scaled.widths, self.sizing).depth
        with Bar(f"{depth:,} layers") as bar:
            sums = self.first_layer()
            for level in range(self.direct, self.hidden):
                sums = self.decode(level, sums[0], lambda: bar(len(self.builder.layers) / depth))
            outputs = self.outputs(sums)
        return self.builder.closed(outputs)

    def packed_numbers(self) -> dict[int, Numbers]:
        """From the last map to the first: a long gap is longer than all that follows it."""
        found: dict[int, Numbers] = {}
        later = 0
        if self.layout.sums:  # noise below 2^−MARGIN of a unit of the sum, and of A
            later = max(self.powers[0] + self.bits.q[-1], 0) + MARGIN
        for level in reversed(range(self.direct, self.hidden + (not self.layout.sums))):
            gap = 0
            if level < self.hidden - 1 and self.layout.ways[level] == "tent":
                gap = later + self.scaled.widths[level + 1].bit_length() + 2
            found[level] = Numbers.of(self.scaled, self.reading, self.sizing, level, gap)
            length = found[level].fields.length
            if gap and length > LENGTH_LIMIT:
                raise Refusal(
                    f"with long_gaps=True a packed number would have {length:,} binary digits, and "
                    f"no more than {LENGTH_LIMIT:,} are built; architecture() gives the size all "
                    "the same, or build with long_gaps=False"
                )
            later += length + found[level].lead
        return found

    # --- inputs

    def first_layer(self) -> list[Linear]:
        """The sums made from the inputs, or from the neurons of a direct first layer."""
        values, axes, c = self.builder.values, self.reading.axes, self.bits.c
        if self.layout.cells and not self.direct:
            numbers = self.numbers[0]
            columns = [[numbers.column(j * c + k) for k in range(c)] for j in range(len(axes))]
            return [self.encode(columns, numbers.start)]
        if self.layout.cells:
            place = Fields((c,) * len(axes))
            units = [place.packed(np.eye(len(axes), dtype=int)[j]) for j in range(len(axes))]
            columns = [[unit << c - 1 - k for k in range(c)] for unit in units]
            whole = self.unpack(self.encode(columns, Dyadic()), place.s)
        else:
            whole = [
                (x - axis.centre) * (1 / axis.step) for x, axis in zip(values, axes, strict=True)
            ]
        if self.direct:
            return self.add_up(whole)
        numbers = self.numbers[0]
        total = Linear.of(numbers.start)
        for j, x in enumerate(whole):
            total = total + x * numbers.column(j)
        return [total]

    def encode(self, columns: Sequence[Sequence[Dyadic]], start: Dyadic) -> Linear:
        """start + Σ bit_jk · columns[j][k], in the widths of `reading_widths`."""
        c = self.bits.c
        readers = []
        for x, axis, column in zip(self.builder.values, self.reading.axes, columns, strict=True):
            assert isinstance(axis, Cells)
            wide = top_of((axis.top + 1) * axis.step)
            r = x - axis.first
            readers.append(Reader(r, Dyadic.of(axis.step), axis.slope_bits, column, wide))
        numbers = [start, *(value for column in columns for value in column)]
        low = min(value.terms[0][1] for value in numbers if value)
        if len(readers) == 1:
            return self.read(readers, Linear.of(start), 0, low, [])[0]
        first, second, *rest = readers
        # both share a neuron: the first coordinate is an integer times `unit`, added to the second
        unit = second.top + 1
        first.columns = [Dyadic(1, unit + c - 1 - k) for k in range(c)]
        both, rest = self.read([first], second.r, unit + c, min(self.builder.lows[1], unit), rest)
        reader = Reader(both, Dyadic(1, unit), 1 - unit, columns[0], unit + c)
        total, rest = self.read([reader], Linear.of(start), 1, low, rest)
        second.r = reader.r
        waiting = [second, *rest]
        for count in groups(len(readers)):
            now, waiting = waiting[:count], waiting[count:]
            total, waiting = self.read(now, total, 1, low, waiting)
        return total

    def read(
        self, now: list[Reader], total: Linear, top: int, low: int, waiting: list[Reader]
    ) -> tuple[Linear, list[Reader]]:
        """c layers: the bits of `now`, side by side, into `total` < 2^top, a multiple of 2^low."""
        for k in range(self.bits.c):
            place = self.bits.c - 1 - k
            wanted = [e for reader in now for e in reader.test(place)]
            tops = [t for reader in now for t in reader.tops()]
            values = self.builder.layer(
                [*wanted, total, *(reader.r for reader in waiting)],
                [*tops, top, *(reader.top for reader in waiting)],
                {3 * len(now): low},
            )
            total = values[3 * len(now)]
            for i, reader in enumerate(now):
                r, *ramps = values[3 * i : 3 * i + 3]
                bit = ramps[0] - ramps[1]
                reader.r = r - bit * (reader.unit << place)
                total = total + bit * reader.columns[k]
            for reader, value in zip(waiting, values[3 * len(now) + 1 :], strict=True):
                reader.r = value
        return total, waiting

    def unpack(self, y: Linear, s: Sequence[int]) -> list[Linear]:
        """The fields of y, affine in the newest layer; copies of the remainder are kept."""
        kept: list[Linear] = []
        r, self.builder.floor = y, -sum(size + 1 for size in s)
        for size in s[:-1]:
            kept = [*kept, r]
            for _ in range(size + 1):
                *kept, a, b = self.builder.layer([*kept, *tent(r)], [1] * len(kept) + [2, 2])
                r = a - b
        left = [*kept, r]
        tails = [
            (one << size) - (after >> 1)
            for one, after, size in zip(left, left[1:], s, strict=False)
        ]
        return [*tails, left[-1] << s[-1]]

    # --- hidden layers

    def add_up(self, x: list[Linear]) -> list[Linear]:
        """A direct first layer: neurons in order, computed from the integers X_j."""
        sink = self.sink(0)
        sums = [Linear.of(start) for start in sink.starts]
        rows = first_rows(self.scaled, self.reading, self.sizing)
        wide = [top_of(Fraction(axis.top + 1)) for axis in self.reading.axes]
        high = top_of(Fraction(float(self.sizing.high[0].max()))) + self.bits.p[0] + 1
        for i, ((weights, bias), column) in enumerate(zip(rows, sink.columns, strict=True)):
            value = Linear.of(bias)
            for one, weight in zip(x, weights, strict=True):
                value = value + one * weight
            carried = x if i < len(sink.columns) - 1 else []
            others = sums if i else []
            values = self.builder.layer(
                [*carried, value, *others],
                [*wide[: len(carried)], high, *[0] * len(others)],
                dict.fromkeys(range(len(carried) + (not self.layout.exact_first)), 0),
            )
            x, z = values[: len(carried)], values[len(carried)]
            if i:
                sums = values[len(carried) + 1 :]
            sums = [total + z * weight for total, weight in zip(sums, column, strict=True)]
        return sums

    def decode(self, level: int, total: Linear, told: Callable[[], None]) -> list[Linear]:
        """Read the fields of a packed layer in order; returns the sums of its neurons."""
        numbers, sink = self.numbers[level], self.sink(level)
        fields, way = numbers.fields, self.layout.ways[level]
        dropped = self.bits.p[level] - self.bits.q[level]
        step = {"tent": self.tents, "exact": self.exact, "read": self.truncated}[way]
        behind = fields.length
        self.builder.floor = min(1 - behind, sink.starts[0].terms[0][1] - behind)
        sums = [
            numbers.unwrapped(total) + (sink.starts[0] >> behind),
            *map(Linear.of, sink.starts[1:]),
        ]
        for s, offset, column in zip(fields.s, numbers.offsets, sink.columns, strict=True):
            behind -= s + 1
            sums = step(sums, s, dropped, offset, column, behind)
            behind -= fields.gap
            sums[0] = sums[0] << fields.gap
            told()
        return sums

    def tents(
        self, sums: list[Linear], s: int, _: int, __: int, column: list[Dyadic], behind: int
    ) -> list[Linear]:
        """σ(4r − 2) is the ReLU of the field, off by less than half a unit."""
        a, b, *others = self.builder.layer(
            [*tent(sums[0]), *sums[1:]], [1, 2] + [0] * len(sums[1:])
        )
        # what is added lies reflected just where b > 0
        sums = [a - b - b * (column[0] >> behind + 2)]
        sums += [
            total + b * (weight << s - 2) for total, weight in zip(others, column[1:], strict=True)
        ]
        return self.drop(sums, s)

    def exact(
        self, sums: list[Linear], s: int, _: int, offset: int, column: list[Dyadic], behind: int
    ) -> list[Linear]:
        """A copy of r is kept while the field is dropped: F = 2^s·copy − r/2."""
        copy, (r, *others) = sums[0], sums
        for _ in range(s + 1):
            copy, a, b, *others = self.builder.layer(
                [copy, *tent(r), *others], [0, 1, 2] + [0] * len(others)
            )
            r = a - b
        z, *sums = self.builder.layer(
            [(copy << s) - (r >> 1) - offset, r, *others], [s] + [0] * (1 + len(others)), {0: 0}
        )
        return added(sums, z, column, behind)

    def truncated(
        self,
        sums: list[Linear],
        s: int,
        dropped: int,
        offset: int,
        column: list[Dyadic],
        behind: int,
    ) -> list[Linear]:
        """Read bit by bit, down to the bits that are dropped."""
        (r, *others), u, taken = sums, Linear({}), s - dropped
        for k in range(taken):
            ramp = (r - HALF) << s - k + 1
            found = [u] if k else []
            r, one, two, *others = self.builder.layer(
                [r, ramp + 1, ramp, *found, *others],
                [0, s - k + 1, s - k + 1] + [taken] * len(found) + [0] * len(others),
                {3: 0} if k else {},
            )
            if k:
                u, *others = others
            bit = one - two
            r, u = (r << 1) - bit, u + (bit << taken - 1 - k)
        z, *sums = self.builder.layer(
            [u - offset, r, *others], [taken] + [0] * (1 + len(others)), {0: 0}
        )
        return self.drop(added(sums, z, column, behind + dropped + 1), dropped + 1)

    def drop(self, sums: list[Linear], bits: int) -> list[Linear]:
        """The first bits of r, of which the last is 0 or all have been reflected once."""
        for _ in range(bits):
            a, b, *others = self.builder.layer(
                [*tent(sums[0]), *sums[1:]], [1, 2] + [0] * len(sums[1:])
            )
            sums = [a - b, *others]
        return sums

    # --- what is added up

    def sink(self, level: int) -> Sink:
        """The sink for the values of a hidden layer."""
        if level < self.hidden - 1 or not self.layout.sums:
            numbers = self.numbers[level + 1]
            count = self.scaled.widths[level + 1]
            return Sink([numbers.start], [[numbers.column(j)] for j in range(count)])
        powers = self.powers
        rows = [
            [weight >> power for weight in row]
            for row, power in zip(self.output_weights, powers, strict=True)
        ]
        return Sink([HALF] * len(rows), [list(column) for column in zip(*rows, strict=True)])

    @property
    def output_weights(self) -> list[list[Dyadic]]:
        """The last map, scaled, per unit of the last layer's integers."""
        scaled = self.scaled
        below = scaled.exponents[-2].tolist()
        return [
            [
                Dyadic.of(w) << scaled.outputs - a - self.bits.q[-1]
                for w, a in zip(row, below, strict=True)
            ]
            for row in scaled.weights[-1].tolist()
        ]

    def outputs(self, sums: list[Linear]) -> list[Linear]:
        power = self.scaled.outputs
        if self.layout.sums:
            lifts = zip(sums, self.powers, strict=True)
            values = [(total - HALF) << lift - power for total, lift in lifts]
            if self.layout.ways[-1] == "tent":  # the noise is between 0 and half a unit
                means = [sum(row, Dyadic()) >> 2 + power for row in self.output_weights]
                values = [value - mean for value, mean in zip(values, means, strict=True)]
            return [value + bias for value, bias in zip(values, self.output_biases, strict=True)]
        numbers = self.numbers[self.hidden]
        found = self.unpack(numbers.unwrapped(sums[0]), numbers.fields.s)
        return [
            (field - offset) >> self.bits.p[-1] + power
            for field, offset in zip(found, numbers.offsets, strict=True)
        ]


def output_powers(scaled: Scaled, sizing: Sizing) -> list[int]:
    """Per output a power: its sum, partial ones and noise included, stays below 2^{power − 2}."""
    high = np.maximum(sizing.high[-2], 0) + math.ldexp(1, -sizing.bits.q[-1])
    reach = np.abs(scaled.matrices[-1]) @ high * (1 + 1e-9) + 2.0**-400
    return [math.frexp(value)[1] + 3 for value in reach.tolist()]


def tent(r: Linear) -> list[Linear]:
    """Two neurons whose difference is 2r or 2 − 2r: the first bit is gone."""
    return [r << 1, (r << 2) - 2]


def added(sums: list[Linear], z: Linear, column: list[Dyadic], behind: int) -> list[Linear]:
    """z times its column, in the digits of r and in the other sums."""
    places = [column[0] >> behind, *column[1:]]
    return [total + z * weight for total, weight in zip(sums, places, strict=True)]
