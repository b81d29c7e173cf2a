"""Each lemma on its own, against integers; values are Python fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest

from depthwright.constructions.bits.extraction import (
    after_ramps,
    encode_in_turn,
    encode_together,
    folded,
    in_turn_blocks,
    layer,
    layer_blocks,
    neurons,
    neurons_blocks,
    ramps,
    together_blocks,
    triangles,
    truncate,
    truncate_blocks,
)
from depthwright.networks import Architecture, Builder, Dyadic
from depthwright.networks.exact.layer import BIAS


def build(inputs, program):
    """The network of program(list of input expressions)."""
    builder = Builder(inputs)
    result = builder.run(program(builder.values))
    return builder.output(result if isinstance(result, list) else [result])


def values(network, x):
    """Its outputs at x, in fractions."""
    x = [Fraction(v) for v in x]
    for i, part in enumerate(network.layers):
        sums = [Fraction(0)] * part.fan_out
        for row, column, integer, power in part.terms:
            factor = 1 if column == BIAS else x[column]
            sums[row] += integer * Fraction(2) ** power * factor
        x = sums if i == len(network.layers) - 1 else [max(v, Fraction(0)) for v in sums]
    return x


def packed(fields, c):
    return sum(z << c * (len(fields) - 1 - i) for i, z in enumerate(fields))


def top_bits(u, count):
    return math.floor(u * 2**count)


# --- triangles


def test_iterated_triangles_descend_where_the_bit_is_one():
    for number in range(32):
        u, step = Fraction(number, 32), Fraction(1, 64)
        first, second = u, u + step
        for i in range(1, 6):
            first, second = (
                values(build(1, lambda v: _fold(v[0])), [z])[0] for z in (first, second)
            )
            bit = number >> 5 - i & 1
            assert second - first == (-1) ** bit * step * 2**i


def _fold(z):
    got = yield triangles((z, z))
    return folded(got)[0]


# --- Lemmas 8 and 9


@pytest.mark.parametrize(("d", "count", "gap", "c"), [(1, 1, 3, 2), (2, 5, 9, 7), (3, 4, 6, 9)])
def test_encode_together(d, count, gap, c):
    network = build(d, lambda u: encode_together(u, count, gap, c))
    assert network.architecture == Architecture(d, together_blocks(d, count))
    assert network.architecture.width == 5 * d
    rng = np.random.default_rng(0)
    for row in rng.integers(0, 2**20, (40, d)).tolist():
        u = [Fraction(v, 2**20) for v in row]
        if any(u_j * 2**count % 1 > 1 - Fraction(2) ** (count + 1 - gap) for u_j in u):
            continue
        assert values(network, u) == [packed([top_bits(v, count) for v in u], c)]


def test_encode_together_fails_just_below_dyadic_points():
    count, gap = 3, 8
    network = build(1, lambda u: encode_together(u, count, gap, 3))
    tau = Fraction(1, 2**gap)
    for k in range(1, 2**count):
        point = Fraction(k, 2**count)
        assert values(network, [point]) == [k]
        assert values(network, [point - 2 * tau]) == [k - 1]
        for inside in (tau / 4, tau, tau * Fraction(149, 100)):
            assert values(network, [point - inside]) != [k - 1]
        # at a peak of the last triangle alone, σ saves the farther quarter
        saved = k % 2 == 1
        assert (values(network, [point - tau * Fraction(151, 100)]) == [k - 1]) == saved
    assert values(network, [Fraction(0)]) == [0]
    assert values(network, [1 - 2 * tau]) == [2**count - 1]
    assert values(network, [Fraction(1)]) == [2 ** (count - 1)]  # bad, with no neighbour above


# --- Lemma 10


@pytest.mark.parametrize(("fields", "c", "outputs"), [(1, 1, 1), (1, 5, 2), (3, 4, 1), (4, 3, 3)])
def test_neurons(fields, c, outputs):
    rng = np.random.default_rng(1)
    for _ in range(6):
        rows = rng.integers(-9, 10, (outputs, fields)).tolist()
        biases = rng.integers(-50, 50, outputs).tolist()
        network = build(2, lambda v: _sums(v, fields, c, rows, biases))  # noqa: B023
        z = rng.integers(0, 2**c, fields).tolist()
        wanted = [sum(a * b for a, b in zip(row, z, strict=True)) for row in rows]
        wanted = [w + b for w, b in zip(wanted, biases, strict=True)]
        assert values(network, [packed(z, c), 77]) == [*wanted, 77]
        full = values(network, [2 ** (fields * c) - 1, 0])
        assert full == [(2**c - 1) * sum(r) + b for r, b in zip(rows, biases, strict=True)] + [0]


def _sums(v, fields, c, rows, biases):
    totals, carried = yield from neurons(v[0], fields, c, rows, biases, [v[1]])
    return [*totals, *carried]


def test_neurons_size():
    network = build(1, lambda v: _alone(v[0], 3, 4, [[1, -2, 3]], [5]))
    assert network.architecture == Architecture(1, neurons_blocks(3, 4, 1))
    assert network.architecture.width == 8
    assert network.architecture.depth == 3 * 4 + 2


def _alone(x, fields, c, rows, biases):
    totals, _ = yield from neurons(x, fields, c, rows, biases)
    return totals


# --- Lemmas 11 and 12


@pytest.mark.parametrize(("fields", "outputs"), [(1, 1), (3, 2), (2, 4)])
def test_layer(fields, outputs):
    rng, c = np.random.default_rng(2), 9
    for _ in range(5):
        matrix = rng.integers(-3, 4, (outputs, fields)).tolist()
        biases = rng.integers(-20, 20, outputs).tolist()
        z = rng.integers(0, 32, fields).tolist()
        network = build(1, lambda v: layer(v[0], fields, c, matrix, biases))  # noqa: B023
        sums = [sum(a * b for a, b in zip(row, z, strict=True)) for row in matrix]
        wanted = [max(0, s + b) for s, b in zip(sums, biases, strict=True)]
        assert values(network, [packed(z, c)]) == [packed(wanted, c)]
        assert network.architecture == Architecture(1, layer_blocks(fields, c, outputs))
        assert network.architecture.width == 10


@pytest.mark.parametrize(("fields", "c", "drop"), [(1, 4, 0), (1, 5, 4), (3, 6, 2), (4, 3, 1)])
def test_truncate(fields, c, drop):
    network = build(1, lambda v: truncate(v[0], fields, c, drop))
    assert network.architecture == Architecture(1, truncate_blocks(fields, c))
    rng = np.random.default_rng(3)
    rows = [*rng.integers(0, 2**c, (12, fields)).tolist(), [2**c - 1] * fields, [0] * fields]
    for z in rows:
        assert values(network, [packed(z, c)]) == [packed([v >> drop for v in z], c)]


def test_half_the_slope_of_one_bit_is_caught():
    """Bit 3 of the field counts half: the sums are wrong."""
    network = build(1, lambda v: _alone(v[0], 1, 6, [[1]], [0]))
    assert values(network, [0b101101]) == [0b101101]
    part = network.layers[4]  # where the bit tested in layer 3 enters the field so far
    rows = part.expressions()
    rows[5][4] = rows[5][4] >> 1
    assert _with(network, 4, rows)([0b101101]) != [0b101101]


def _with(network, at, rows):
    from depthwright.networks.exact.layer import Patterns
    from depthwright.networks.exact.network import ExactNetwork

    layers = list(network.layers)
    layers[at] = Patterns().layer(layers[at].fan_in, rows)
    return lambda x: values(ExactNetwork(tuple(layers)), x)


# --- Lemmas 14 and 15


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("d", "count", "c"), [(2, 1, 1), (2, 4, 9), (3, 5, 7), (4, 3, 3)])
def test_encode_in_turn(d, count, c, shared):
    slope = 512
    network = build(d, lambda u: encode_in_turn(u, [slope] * count, c, shared))
    assert network.architecture == Architecture(d, in_turn_blocks(d, count, shared))
    assert network.architecture.width == (d + 2 if shared else d + 3)
    assert network.architecture.depth == (d + shared) * count + 1
    rng = np.random.default_rng(4)
    rows = [*rng.integers(0, 2**20, (30, d)).tolist(), [0] * d, [2**20 - 1] * d, [2**19] * d]
    tried = 0
    for row in rows:
        u = [Fraction(v, 2**20) for v in row]
        rests = [v * 2**k % 1 for v in u for k in range(count)]
        if any(Fraction(1, 2) - Fraction(1, slope) < r < Fraction(1, 2) for r in rests):
            continue
        tried += 1
        assert values(network, u) == [packed([top_bits(v, count) for v in u], c)]
    assert tried > 20
    # u = 1 reads as all ones, and every value of the integer part survives in the shared neuron
    assert values(network, [Fraction(1)] * d) == [packed([2**count - 1] * d, c)]


def test_all_integers_survive_in_the_shared_neuron():
    count = 4
    network = build(2, lambda u: encode_in_turn(u, [64] * count, count, True))
    for first in range(2**count):
        for second in (Fraction(0), Fraction(2**count - 1, 2**count), Fraction(1)):
            wanted = packed([first, min(top_bits(second, count), 2**count - 1)], count)
            assert values(network, [Fraction(first, 2**count), second]) == [wanted]


def test_the_bit_test_fails_only_on_its_ramp():
    slope = 8
    network = build(1, lambda v: _bit(v[0], slope))
    for r in (Fraction(0), Fraction(3, 8), Fraction(1, 2), Fraction(1)):
        assert values(network, [r]) == [int(r >= Fraction(1, 2))]
    assert values(network, [Fraction(7, 16)]) == [Fraction(1, 2)]


def _bit(r, slope):
    got = yield ramps(r, slope)
    return after_ramps(got)[1]


def test_the_printed_bit_test_gives_one_half_at_one_half():
    """h_δ(z) = (σ(z − ½ + δ/2) − σ(z − ½ − δ/2))/δ, literally: why it is moved by δ/2."""
    half, delta = Dyadic(1, -1), Dyadic(1, -3)

    def printed(v):
        a, b = yield [v[0] - half + (delta >> 1), v[0] - half - (delta >> 1)]
        return (a - b) << 3

    assert values(build(1, printed), [Fraction(1, 2)]) == [Fraction(1, 2)]
