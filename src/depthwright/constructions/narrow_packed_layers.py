"""The layers of NarrowPacked, in the order of narrow_packed.md: inputs, then field by field."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from depthwright.constructions.narrow_packed_bits import Input, Sizing
from depthwright.networks.calculus import Builder, Linear
from depthwright.networks.dyadic import Dyadic, Number
from depthwright.networks.exact import ExactNetwork
from depthwright.targets.network import ReLUNetwork

HALF = Dyadic(1, -1)


def rides(widths: Sequence[int]) -> bool:
    """Whether coordinate 1 rides on coordinate 2, as no neuron is left for its sum."""
    return widths[0] + 3 > 4 + widths[-1]


def pack(fields: np.ndarray, size: int) -> int:
    """Σ_i fields[i]·2^{size·(n−1−i)} for abs(fields[i]) < 2^{size−1}, in one pass."""
    n = len(fields)
    offset = 1 << (size - 1)
    if size <= 62:
        octets = (fields.astype(np.int64) + offset).astype(">i8").view(np.uint8).reshape(n, 8)
        bits = np.unpackbits(octets, axis=1)[:, 64 - size :].ravel()
        flat = np.concatenate([np.zeros(-bits.size % 8, np.uint8), bits])
        total = int.from_bytes(np.packbits(flat).tobytes(), "big")
    else:
        total = int("".join(format(int(v) + offset, f"0{size}b") for v in fields), 2)
    return total - _offsets(n, size)


@lru_cache(maxsize=8)
def _offsets(n: int, size: int) -> int:
    """Σ_i 2^{size−1}·2^{size·i}, i < n."""
    return ((1 << (size * n)) - 1) // ((1 << size) - 1) << (size - 1)


class Packer:
    """Builds the network; method names follow narrow_packed.md."""

    def __init__(
        self, target: ReLUNetwork, inputs: Input, slopes: Sequence[Dyadic], sizing: Sizing
    ) -> None:
        self.target, self.inputs, self.slopes, self.sizing = target, inputs, slopes, sizing
        self.bits, self.s = self.sizing.bits, self.sizing.s
        self.widths = self.target.widths
        self.depth = len(self.widths) - 1
        self.builder = Builder(self.target.input_dim)
        self.state_max = np.zeros(0)

    def network(self) -> ExactNetwork:
        """All of it."""
        sums = [self.encode()]
        for level in range(1, self.depth):
            sums = self.decode(level, sums[0])
        outputs = [
            ((total - self.offset) >> self.bits.q[-1]) + float(bias)
            for total, bias in zip(sums, self.target.biases[-1], strict=True)
        ]
        return self.builder.output(outputs, "exact", self.target.domain.inputs, self.value_bits())

    def value_bits(self) -> int:
        """So many mantissa bits that no product and no sum of a float evaluation is rounded.

        Each is a multiple of some 2^a below some 2^b and needs b − a bits, whatever the order. D_l
        has n(s + 1) bits; 2r − t1 + t2 has as many after the point as r, and t1 ≤ 2^s + 1. While
        inputs are read, ramps of slope M over multiples of 2^{−U} meet columns of n(s + 1) bits in
        D_1 + t1·Ŵ − t2·Ŵ: bits of M and of U more, which D_1 itself does not need; and M again
        in the next ramp, M(2r − t1 + t2 − ½). Riding, the c bits of x_1 stand above x'_2/2.
        """
        counts = zip(self.widths[1:-1], self.s, strict=True)
        fields = [n * (s + 1) for n, s in counts]
        unit, c = self.inputs.unit_bits, self.bits.c
        slope = max(m.top for m in self.slopes)
        return max(
            *(field + s + 1 for field, s in zip(fields, self.s, strict=True)),
            fields[0] + slope + max(0, unit + 2 - c),
            fields[0] + unit + 3,
            slope + max(c, max(m.bits for m in self.slopes)) + unit + 3,
            self.output_bits(),
        )

    def output_bits(self) -> int:
        """Bits from the largest sum of the last map to the lowest bit of its own weights."""
        matrix, bias = self.target.weights[-1], self.target.biases[-1]
        q = self.bits.q[-1]
        sums = (np.abs(matrix) @ self.state_max).max()
        numbers = [Dyadic.of(w) for w in matrix.ravel().tolist() if w]
        numbers += [Dyadic.of(b) << q for b in bias.tolist() if b]
        high = max([math.frexp(sums)[1], self.offset.top, *(v.top for v in numbers)])
        low = min([0, self.offset.top - 1, *(v.terms[0][1] for v in numbers)])
        return high + 2 - low

    # --- the two stages

    def test(self, r: Linear, slope: Number) -> list[Linear]:
        """r and the two ramps whose difference is its first bit."""
        ramp = (r - HALF) * slope
        return [r, ramp + 1, ramp]

    def encode(self) -> Linear:
        """Read c bits of every coordinate into D_1."""
        integers = self.first_map()
        columns = [Dyadic(self.packed(1, column)) for column in integers.weights.T]
        x = [(value + self.target.radius) * self.inputs.scale for value in self.builder.values]
        slopes = self.slopes
        total = self.start(1, integers)
        if not rides(self.widths):
            return self.read(x, columns, slopes, total)
        c = self.bits.c
        r, riding, rest = x[0], x[1] >> 1, x[2:]
        for k in range(c):
            values = self.builder.relu([*self.test(r, slopes[k]), riding, *rest])
            r, bit = after_test(values)
            riding, rest = values[3] + (bit << c - 1 - k), values[4:]
        r = riding >> c
        for k in range(c):
            values = self.builder.relu([*self.test(r, Dyadic(1, c - k + 1)), total, *rest])
            r, bit = after_test(values)
            total, rest = values[3] + bit * (columns[0] << c - 1 - k), values[4:]
        return self.read([r << 1, *rest], columns[1:], slopes, total)

    def read(
        self, x: list[Linear], columns: list[Dyadic], slopes: Sequence[Dyadic], total: Linear
    ) -> Linear:
        """Coordinate after coordinate, straight into the packed sum."""
        while x:
            r, rest, column = x[0], x[1:], columns[0]
            for k, slope in enumerate(slopes):
                values = self.builder.relu([*self.test(r, slope), total, *rest])
                r, bit = after_test(values)
                total = values[3] + bit * (column << len(slopes) - 1 - k)
                rest = values[4:]
            x, columns = rest, columns[1:]
        return total

    def decode(self, level: int, packed: Linear) -> list[Linear]:
        """Read D_l field by field; every neuron's value goes into the next sums at once."""
        n, s = self.widths[level], self.s[level - 1]
        dropped = self.bits.p[level - 1] - self.bits.q[level - 1]
        taken = s - dropped
        if level + 1 < self.depth:
            integers = self.map(level + 1)
            sums = [self.start(level + 1, integers)]
            columns = ([Dyadic(self.packed(level + 1, c))] for c in integers.weights.T)
        else:
            matrix = self.target.weights[-1]
            self.offset = self.output_offset(matrix)
            sums = [Linear.of(self.offset)] * len(matrix)
            columns = ([Dyadic.of(float(w)) for w in c] for c in matrix.T)
        r = packed >> n * (s + 1) - 1
        for i, column in enumerate(columns):
            u = Linear({})
            for k in range(taken):
                wanted = [*self.test(r, Dyadic(1, s - k + 1)), *sums]
                values = self.builder.relu([*wanted, u] if k else wanted)
                r, bit = after_test(values)
                sums = values[3 : 3 + len(sums)]
                u = (values[-1] if k else u) + (bit << taken - 1 - k)
            z = u - Dyadic(1, taken - 1)
            for k in range(dropped + 1 if i < n - 1 else 1):
                folds = [r << 1, (r << 2) - 2] if i < n - 1 else []
                values = self.builder.relu([*folds, *sums, *([] if k else [z])])
                sums = values[len(folds) : len(folds) + len(sums)]
                if k == 0:
                    sums = [
                        total + values[-1] * weight if weight else total
                        for total, weight in zip(sums, column, strict=True)
                    ]
                if folds:
                    r = values[0] - values[1]
        return sums

    # --- integers

    def packed(self, level: int, fields: np.ndarray) -> int:
        """Σ_i fields_i 2^{(s+1)(n−1−i)}."""
        return pack(fields, self.s[level - 1] + 1)

    def start(self, level: int, integers: Integers) -> Linear:
        """D_l before anything is added: b̃ + 2^{s−1}, and half a unit of z to round by."""
        bits, s = self.bits, self.s[level - 1]
        half = 1 << (bits.p[level - 1] - bits.q[level - 1] - 1)
        return Linear.of(self.packed(level, integers.biases + (half + (1 << s - 1))))

    def first_map(self) -> Integers:
        """Layer 1 reads the integers X_j; its biases take the shift of the cube."""
        inputs, c, p = self.inputs, self.bits.c, self.bits.p[0]
        cell = 1 / (Fraction(inputs.scale) * 2**c)
        weights = rint(self.target.weights[0] * float(cell), p)
        middle = Fraction(1, 2)
        if inputs.grid_bits is not None:
            middle -= Fraction(1, 2 ** (inputs.grid_bits - c + 1))
        centre = Fraction(inputs.radius) / cell - middle
        biases = [
            round(scaled(b, p) - centre * sum(int(w) for w in row))
            for b, row in zip(self.target.biases[0], weights, strict=True)
        ]
        reach = float((Fraction(inputs.radius) + Fraction(inputs.error(c))) / cell)
        integers = Integers(weights, np.array(biases, dtype=object))
        shift = np.array([float(scaled(b, p)) for b in self.target.biases[0]])
        d = inputs.dim
        self.check(1, weights, shift, np.full(d, reach), reach * math.sqrt(d), signed=True)
        return integers

    def map(self, level: int) -> Integers:
        """Layer l > 1 reads the states z̃ of the layer below."""
        p, q = self.bits.p[level - 1], self.bits.q[level - 2]
        weights = rint(self.target.weights[level - 1], p - q)
        biases = [round(scaled(b, p)) for b in self.target.biases[level - 1]]
        norm = math.ldexp(self.sizing.states[level - 2], q)
        self.check(level, weights, np.array(biases, float), self.state_max, norm, signed=False)
        return Integers(weights, np.array(biases, dtype=object))

    def check(
        self,
        level: int,
        weights: np.ndarray,
        biases: np.ndarray,
        state_max: np.ndarray,
        state_norm: float,
        signed: bool,
    ) -> None:
        """Prove of the rounded integers themselves that no field overflows."""
        w = weights.astype(np.float64)
        up, down = np.maximum(w, 0), np.maximum(-w, 0)
        if signed:
            up = down = np.abs(w)
        slack = 1 + 1e-12 * (len(state_max) + 8)
        rounding = 2.0**-50 * np.abs(biases)
        high = np.minimum(up @ state_max, row_norms(up) * state_norm) * slack + biases + rounding
        low = np.minimum(down @ state_max, row_norms(down) * state_norm) * slack - biases + rounding
        drop = self.bits.p[level - 1] - self.bits.q[level - 1]
        half = math.ldexp(1.0, drop - 1)
        room = math.ldexp(1.0, self.s[level - 1] - 1) - half - 1
        if not max(float(high.max()), float(low.max())) * slack <= room:
            raise AssertionError(f"the fields of layer {level} are too short; this is a bug")
        # A state is ⌊(v + half)/2^drop⌋, a whole number.
        self.state_max = np.floor(np.ldexp(np.maximum(high + half, 0), -drop) * slack)

    def output_offset(self, matrix: np.ndarray) -> Dyadic:
        """A power of two C with Σ_j w_kj z̃_j + C ≥ 0, partial sums included."""
        below = np.maximum(-matrix, 0)
        norm = math.ldexp(self.sizing.states[-1], self.bits.q[-1])
        least = float(np.minimum(below @ self.state_max, row_norms(below) * norm).max())
        return Dyadic(1, math.frexp(least * (1 + 1e-9))[1]) if least else Dyadic()


@dataclass(frozen=True)
class Integers:
    """Rounded weights (fan_out, fan_in) and biases (fan_out,) of one layer."""

    weights: np.ndarray
    biases: np.ndarray


def after_test(values: list[Linear]) -> tuple[Linear, Linear]:
    """What is left of r, and the bit."""
    bit = values[1] - values[2]
    return (values[0] << 1) - bit, bit


def rint(values: np.ndarray, power: int) -> np.ndarray:
    """values × 2^power rounded to integers, int64 or, where they are longer, Python's."""
    scaled_values = np.rint(np.ldexp(values, power))
    if float(np.abs(scaled_values).max()) < 2.0**62:
        return scaled_values.astype(np.int64)
    return np.vectorize(int, otypes=[object])(scaled_values)


def scaled(value: float, power: int) -> Fraction:
    """value × 2^power, exactly."""
    return Fraction(float(value)) * Fraction(2) ** power


def row_norms(matrix: np.ndarray) -> np.ndarray:
    """‖row‖₂."""
    return np.sqrt((matrix * matrix).sum(axis=1))
