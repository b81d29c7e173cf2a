"""VYS22's lemmas on bits, layer by layer: programs shared by Theorems 2 and 5.

Lemma 8, 9    encode_together   bits of d real numbers side by side           width 5d
Lemma 10      neurons           one pass over a packed layer, its weighted sums   width 8
Lemma 11      layer             all neurons of a layer, packed again          width 10
Lemma 12      truncate          the lowest bits of every field dropped        width 6
Lemma 14, 15  encode_in_turn    bits of d real numbers one after the other    width d + 2 or d + 3

A *packed layer* of n integers below 2^c is the integer Σ_i z_i·2^{(n−i)c}: n fields of c bits, the
first on top. φ(z) = σ(2z) − σ(4z − 2) is Telgarsky's triangle on [0, 1]; φ^(k) descends exactly
where bit k of its argument is 1. A layer of m bits is read off r + 2^{−m−2} and r + 2^{−m−1},
r = packed·2^{−m}: both lie on the piece of φ^(k) that r is on, 2^{−m−2} apart.

All widths are the same in every layer of a lemma, idle neurons (rows of zeros) included, as the
paper counts them; its Lemma 12 has one neuron more. Weights are dyadic; each lemma takes one layer
per bit and one more (encode_together: two per bit), since φ's outer σ does nothing on [0, 1] and
the σ of a bit fits into the layer of the next triangle.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from depthwright.networks.architecture import Block
from depthwright.networks.exact.calculus import Linear, Program
from depthwright.networks.exact.dyadic import HALF, Dyadic, Number

ZERO = Linear({})
Pair = tuple[Linear, Linear]


def triangles(pair: Pair) -> list[Linear]:
    """The four neurons of φ on two arguments."""
    return [part for z in pair for part in (z << 1, (z << 2) - 2)]


def folded(values: Sequence[Linear]) -> Pair:
    """φ of both arguments, off those neurons."""
    return values[0] - values[1], values[2] - values[3]


# --- Lemmas 8 and 9


def encode_together(u: Sequence[Linear], count: int, gap: int, c: int) -> Program:
    """The first `count` bits of every u_j in [0, 1), packed in fields of c bits.

    Bit i is 2^{gap−i}·σ(φ^(i)(u + τ) − φ^(i)(u + 2τ)), τ = 2^{−gap}: right unless u lies in
    (k·2^{−count} − 2τ, k·2^{−count}) for an integer k ≥ 1. Two layers per bit: the value so far
    and two triangles (5 neurons per coordinate), then the value, both iterates and the bit (4).
    """
    tau = Dyadic(1, -gap)
    pairs = [(v + tau, v + (tau << 1)) for v in u]
    found: list[Linear] = [ZERO] * len(u)
    for i in range(1, count + 1):
        wanted = ([f, *triangles(pair)] for f, pair in zip(found, pairs, strict=True))
        values = yield list(chain.from_iterable(wanted))
        wanted = (
            [values[at], *(pair := folded(values[at + 1 : at + 5])), pair[0] - pair[1]]
            for at in range(0, len(values), 5)
        )
        values = yield list(chain.from_iterable(wanted))
        starts = range(0, len(values), 4)
        pairs = [(values[at + 1], values[at + 2]) for at in starts]
        found = [values[at] + (values[at + 3] << gap + count - 2 * i) for at in starts]
    return _pack(found, c)


def together_blocks(input_dim: int, count: int) -> list[Block]:
    """Hidden widths of encode_together."""
    return [Block((5 * input_dim, 4 * input_dim), count)]


def _pack(fields: Sequence[Linear], c: int) -> Linear:
    total = ZERO
    for value in fields:
        total = (total << c) + value
    return total


# --- Lemmas 10, 11 and 12


def neurons(
    x: Linear,
    fields: int,
    c: int,
    rows: Sequence[Sequence[int]],
    biases: Sequence[int],
    carried: Sequence[Linear] = (),
) -> Program:
    """Σ_i rows[k][i]·z_i + biases[k] for every k, in one pass over x = packed z.

    Neurons: two triangles (4), a bit, the field so far, per k the sums of positive and of negative
    weights, and what is carried. fields·c + 1 layers of width 6 + 2·len(rows) + len(carried).
    Returns the (signed) sums and what was carried.
    """
    m = fields * c
    pair, bit, current = _shifted(x, m), ZERO, ZERO
    sums: list[Linear] = [ZERO] * (2 * len(rows))
    for read in range(m + 1):  # bits that are complete, in the layer before this one
        folds = triangles(pair) if read < m else [ZERO] * 4
        values = yield [*folds, bit, current, *sums, *carried]
        pair = folded(values)
        sums, carried = values[6 : 6 + len(sums)], values[6 + len(sums) :]
        current = (values[5] << 1) + (values[4] << m + 2 - read) if read else ZERO
        bit = pair[0] - pair[1]
        if read and read % c == 0:
            for k, row in enumerate(rows):
                weight = row[read // c - 1]
                if weight:
                    sums[2 * k + (weight < 0)] += current * abs(weight)
            current = ZERO
    totals = [
        plus - minus + bias for plus, minus, bias in zip(sums[::2], sums[1::2], biases, strict=True)
    ]
    return totals, list(carried)


def _shifted(x: Linear, m: int) -> Pair:
    r = x >> m
    return r + Dyadic(1, -m - 2), r + Dyadic(1, -m - 1)


def neurons_blocks(fields: int, c: int, outputs: int) -> list[Block]:
    """Hidden widths of neurons, nothing carried."""
    return [Block((6 + 2 * outputs,), fields * c + 1)]


def layer(
    x: Linear, fields: int, c: int, matrix: Sequence[Sequence[int]], biases: Sequence[int]
) -> Program:
    """Packed σ(matrix·z + biases) from x = packed z; every result must be below 2^c."""
    y = ZERO
    for row, bias in zip(matrix, biases, strict=True):
        (total,), (x, y) = yield from neurons(x, fields, c, [row], [bias], [x, y])
        value, x, y = (yield [total, x, y, *[ZERO] * 7])[:3]
        y = (y << c) + value
    return y


def layer_blocks(fields: int, c: int, outputs: int) -> list[Block]:
    """Hidden widths of layer."""
    return [Block((10,), outputs * (fields * c + 2))]


def truncate(y: Linear, fields: int, c: int, drop: int) -> Program:
    """Packed ⌊z_i/2^drop⌋ from y = packed z, 0 ≤ drop < c."""
    m = fields * c
    pair, bit, total = _shifted(y, m), ZERO, ZERO
    for read in range(m + 1):
        folds = triangles(pair) if read < m else [ZERO] * 4
        values = yield [*folds, bit, total]
        pair, total = folded(values), values[5]
        bit = pair[0] - pair[1]
        place = (read - 1) % c
        if read and place < c - drop:
            total = (total << (1 if place else drop + 1)) + (values[4] << m + 2 - read)
    return total


def truncate_blocks(fields: int, c: int) -> list[Block]:
    """Hidden widths of truncate."""
    return [Block((6,), fields * c + 1)]


# --- Lemmas 14 and 15


def ramps(r: Linear, slope: Number) -> list[Linear]:
    """r and two neurons whose difference is its first bit: 1 from 1/2 on, 0 up to 1/2 − 1/slope.

    h_δ of the paper with δ = 1/slope, moved by δ/2: h_δ itself gives 1/2 at r = 1/2.
    """
    ramp = (r - HALF) * slope
    return [r, ramp + 1, ramp]


def after_ramps(values: Sequence[Linear]) -> Pair:
    """What is left of r, and its first bit."""
    bit = values[1] - values[2]
    return (values[0] << 1) - bit, bit


def encode_in_turn(u: Sequence[Linear], slopes: Sequence[Number], c: int, shared: bool) -> Program:
    """The first len(slopes) bits of every u_j in [0, 1], packed in fields of c bits.

    Bit k is right if the earlier ones are and frac(2^{k−1}u) is not in (1/2 − 1/slope_k, 1/2). The
    neurons: the remainder, its two ramps, the packed value, the coordinates still to come: at most
    d + 3, one layer per bit. With `shared` (d ≥ 2) u_1 and u_2 share a neuron: the bits of u_1
    become the integer part above u_2/2, and are read there a second time when u_1 is done: at most
    d + 2 neurons, d + 1 runs instead of d.
    """
    count, rest, total = len(slopes), list(u), ZERO
    if shared:
        r, both, rest = rest[0], rest[1] >> 1, rest[2:]
        for k, slope in enumerate(slopes, 1):
            values = yield [*ramps(r, slope), both, *rest]
            r, bit = after_ramps(values)
            both, rest = values[3] + (bit << count - k), values[4:]
        r = both >> count
        for k in range(1, count + 1):
            # below 1/2, r is at most 1/2 − 2^{−(count−k+1)} + 2^{−(count−k+1)}/2
            values = yield [*ramps(r, Dyadic(1, count - k + 2)), total, *rest]
            r, bit = after_ramps(values)
            total, rest = (values[3] << 1) + bit, values[4:]
        rest = [r << 1, *rest]
    while rest:
        r, *rest = rest
        for k, slope in enumerate(slopes):
            values = yield [*ramps(r, slope), total, *rest]
            r, bit = after_ramps(values)
            total = (values[3] << (1 if k else c - count + 1)) + bit
            rest = values[4:]
    return total


def in_turn_blocks(input_dim: int, count: int, shared: bool) -> list[Block]:
    """Hidden widths of encode_in_turn."""
    if shared:
        first = [Block((input_dim + 2,), 2 * count)]
        return first + [Block((4 + later,), count) for later in range(input_dim - 2, -1, -1)]
    return [Block((4 + later,), count) for later in range(input_dim - 1, -1, -1)]
