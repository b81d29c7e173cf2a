import dataclasses
import math
from fractions import Fraction
from itertools import pairwise

import gmpy2
import numpy as np
import pytest
import torch

from depthwright.constructions import NarrowBits, NarrowExact, NarrowMinimal, NarrowPacked
from depthwright.networks.exact.dyadic import Dyadic
from depthwright.networks.exact.layer import BIAS, Patterns
from depthwright.networks.exact.mantissa import (
    distance,
    evaluate_rounded,
    exact_rationals,
    operation_bits,
)
from depthwright.networks.exact.network import ExactNetwork, from_arrays
from depthwright.refusal import Refusal
from depthwright.targets import Network, RandomNetwork


def points(dim, count=20, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, dim))


def random_network(seed=0, depth=3, width=6):
    target = RandomNetwork(3, width, depth, seed=seed, output_dim=2)
    return target.as_network()


def plain_loop(network, row, number):
    """Sums of products in the order of the columns, then the bias, in `number`'s arithmetic."""
    values = [number(v) for v in row]
    for i, layer in enumerate(network.layers):
        sums, biases = [number(0.0)] * layer.fan_out, {}
        for at, column, value in layer.entries():
            weight = number(float(value))
            if column == BIAS:
                biases[at] = weight
            else:
                sums[at] = sums[at] + weight * values[column]
        for at, bias in biases.items():
            sums[at] = sums[at] + bias
        last = i == len(network.layers) - 1
        values = sums if last else [max(v, number(0.0)) for v in sums]
    return [float(v) for v in values]


@pytest.mark.parametrize(("bits", "number"), [(53, float), (24, np.float32)])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_a_plain_loop_bit_for_bit(bits, number, seed):
    network, x = random_network(seed), points(3)
    with np.errstate(all="raise"):
        wanted = [plain_loop(network, row, number) for row in x.tolist()]
    got = evaluate_rounded(network, x, bits)
    assert [[float(v) for v in row] for row in got] == wanted
    other = evaluate_rounded(network, x, bits - 1)
    assert [[float(v) for v in row] for row in other] != wanted


def test_it_is_a_plain_loop_in_a_construction():
    network = NarrowExact(RandomNetwork(2, 4, 3, seed=0)).build().network
    x = points(2)
    wanted = [plain_loop(network, row, float) for row in x.tolist()]
    assert [[float(v) for v in row] for row in evaluate_rounded(network, x, 53)] == wanted


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_torch_differs_by_the_order_of_summation_alone(dtype):
    target = RandomNetwork(3, 6, 3, seed=0, output_dim=2)
    network, x = target.as_network(), points(3)
    bits = {torch.float64: 53, torch.float32: 24}[dtype]
    values = network.to_torch(dtype, rounding=True)(torch.from_numpy(x).to(dtype)).detach().double()
    # each of three sums of at most 7 products errs by 7·2^{−bits} of its size, in either order
    size = math.prod(np.abs(w).sum(axis=1).max() + 1 for w in target.weights)
    allowed = 2 * 3 * 8 * 2.0**-bits * size
    assert distance(evaluate_rounded(network, x, bits), values.numpy()).max() <= allowed


def test_bfloat16_inputs_and_weights_are_rounded():
    network = from_arrays([np.array([[1.01]])], [np.array([0.0])])
    (value,) = evaluate_rounded(network, np.array([[3.03]]), 8)[0]
    one, two = (float(torch.tensor(v, dtype=torch.bfloat16)) for v in (1.01, 3.03))
    assert float(value) == float(torch.tensor(one * two, dtype=torch.bfloat16))
    assert float(value) != 1.01 * 3.03


def test_long_weights_are_rounded_once():
    value = Dyadic((1 << 200) + 1) + Dyadic(1, -3000)  # two terms, far apart
    network = ExactNetwork((Patterns().layer(1, [{0: value}]),))
    (got,) = evaluate_rounded(network, np.array([[1.0]]), 53)[0]
    assert gmpy2.mpq(got) == 2**200
    (got,) = evaluate_rounded(network, np.array([[1.0]]), 201)[0]
    assert gmpy2.mpq(got) == 2**200 + 1
    (got,) = evaluate_rounded(network, np.array([[1.0]]), 3201)[0]
    assert gmpy2.mpq(got) == gmpy2.mpq(value.fraction)


@pytest.mark.parametrize("seed", range(3))
def test_enough_bits_are_exact_and_fewer_are_not(seed):
    network, x = random_network(seed), points(3, 5)
    bits = operation_bits(network, x)
    exact = exact_rationals(network, x)
    assert (evaluate_rounded(network, x, bits) == exact).all()
    assert (evaluate_rounded(network, x, bits - 8) != exact).any()
    assert exact[0, 0] == network_value(network, x[0])[0]


def network_value(network, row):
    values = [Fraction(v) for v in row.tolist()]
    for i, layer in enumerate(network.layers):
        sums = [Fraction(0)] * layer.fan_out
        for at, column, value in layer.entries():
            sums[at] += value.fraction * (1 if column == BIAS else values[column])
        values = sums if i == len(network.layers) - 1 else [max(v, Fraction(0)) for v in sums]
    return values


def test_the_error_halves_with_every_bit_down_to_none():
    network, x = random_network(), points(3, 50)
    exact = exact_rationals(network, x)
    worst = [distance(evaluate_rounded(network, x, p), exact).max() for p in range(8, 200, 16)]
    falls = [a / b for a, b in pairwise(worst) if b]
    assert all(2**12 < fall < 2**20 for fall in falls)  # 16 bits: 2^16 in the mean
    assert distance(evaluate_rounded(network, x, 400), exact).max() == 0


CASES = [
    (1, 1, 2, 1e-1, 1e-2, 1, 1.0), (1, 2, 2, 1e-2, 1e-12, 1, 1.0), (2, 4, 2, 1e-2, 1e-2, 1, 0.3),
    (5, 4, 2, 1e-2, 1e-3, 1, 3.0), (3, 4, 3, 1e-2, 1e-2, 3, 1.0), (3, 8, 3, 1e-2, 1e-2, 1, 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("d", "n", "depth", "accuracy", "delta", "outputs", "radius"), CASES)
def test_value_bits_of_packed_networks_round_nothing(d, n, depth, accuracy, delta, outputs, radius):
    recipe = NarrowPacked(active(d, n, depth, radius, outputs), accuracy, delta)
    built = recipe.build()
    x = radius * points(d, 12)
    x = np.concatenate([x, np.full((1, d), radius), np.full((1, d), -radius)])
    x = np.concatenate([x, np.full((1, d), TINY)])
    bits, network = built.network.value_bits, built.network
    assert operation_bits(network, x) <= bits <= operation_bits(network, x) + 24
    assert (evaluate_rounded(network, x, bits) == exact_rationals(network, x)).all()


TINY = 5e-324  # every float64 is a multiple of it


def active(d, n, depth, radius, outputs=1):
    """All neurons are positive everywhere, so that each adds all the digits that it may."""
    drawn = RandomNetwork(d, n, depth, seed=3, output_dim=outputs)
    state = {}
    for i, (matrix, bias) in enumerate(zip(drawn.weights, drawn.biases, strict=True)):
        size = np.abs(matrix) if i else matrix
        state |= {
            f"{2 * i}.weight": size,
            f"{2 * i}.bias": np.abs(bias) + (0 if i else 2 * d * radius),
        }
    return Network(state, radius=radius)


def test_value_bits_on_a_grid():
    network = NarrowPacked(active(3, 8, 3, 1.0), 1e-2, grid=0.25).build().network
    x = np.round(points(3, 10) * 4) / 4
    assert operation_bits(network, x) <= network.value_bits <= operation_bits(network, x) + 24


@pytest.mark.parametrize("kind", [NarrowBits, NarrowMinimal])
def test_value_bits_of_theorems_2_and_5_are_enough(kind):
    recipe = kind(RandomNetwork(2, 4, 2, seed=0), 1e-2, 1e-2)
    network = recipe.build().network
    x = points(2, 8)
    x = x[~recipe.in_bad_set(x)]
    exact = exact_rationals(network, x)
    assert (evaluate_rounded(network, x, network.value_bits) == exact).all()
    assert (evaluate_rounded(network, x, network.value_bits - 16) != exact).any()


def test_the_bits_of_the_values_alone_are_too_few():
    """A packed number alone, without what steep ramps need and what stands behind its fields."""
    recipe = NarrowPacked(RandomNetwork(5, 8, 3, seed=0), 1e-2)
    network = recipe.build().network
    x = points(5, 12)
    alone = max(int((s + 1).sum()) for s in recipe.sizing.s) // 2
    gap = distance(evaluate_rounded(network, x, alone), exact_rationals(network, x))
    assert gap.max() > 1e-2


def test_float64_is_never_taken_for_a_packed_network():
    """Few digits, but a slope of 2^60: accepted once, and wrong."""
    recipe = NarrowPacked(RandomNetwork(1, 2, 3, seed=1), 1e-2, 1e-12)
    network = recipe.build().network
    assert max(int((s + 1).sum()) for s in recipe.sizing.s) < 64
    x = torch.from_numpy(points(1, 200))
    with pytest.raises(Refusal, match="float64 holds 53"):
        network.evaluate(x, "float64")
    wrong = evaluate_rounded(network, x.numpy(), 53)
    assert distance(wrong, exact_rationals(network, x.numpy())).max() > 1e-2


@pytest.mark.parametrize("kind", [NarrowBits, NarrowMinimal])
def test_float64_is_never_taken_for_steep_tests_on_few_bits(kind):
    """Packed layers of 36 bits; NarrowMinimal was accepted, above its claim at 2 % of points."""
    recipe = kind(RandomNetwork(1, 2, 2, seed=1), 1e-2, 1e-14)
    built = recipe.build()
    network, x = built.network, points(1, 400)
    x = x[~recipe.in_bad_set(x)]
    assert 2 * recipe.budget.c + 2 <= 36
    assert operation_bits(network, x[:20]) <= network.value_bits
    with pytest.raises(Refusal, match="float64 holds 53"):
        network.evaluate(torch.from_numpy(x), "float64")
    exact = exact_rationals(network, x)
    assert (evaluate_rounded(network, x, network.value_bits) == exact).all()
    assert (evaluate_rounded(network, x, 53) != exact).any()


def test_one_rounded_step_is_noticed():
    network, x = random_network(), points(3, 4)
    bits = operation_bits(network, x)
    layer = network.layers[1]
    integers = (layer.integers[0] + (1 << bits), *layer.integers[1:])
    longer = dataclasses.replace(layer, integers=integers)
    network = dataclasses.replace(network, layers=(network.layers[0], longer, network.layers[2]))
    assert operation_bits(network, x) > bits
    assert (evaluate_rounded(network, x, bits) != exact_rationals(network, x)).any()


def test_what_is_not_finite_is_infinitely_far():
    assert distance(np.array([[np.nan, np.inf, 1.5]]), np.array([[0.0, 0.0, 1.0]])).tolist() == [
        [math.inf, math.inf, 0.5]
    ]


def test_numpys_integers_are_numbers_of_bits():
    network, x = random_network(), points(3)
    wanted = evaluate_rounded(network, x, 53)
    assert (evaluate_rounded(network, x, np.int64(53)) == wanted).all()


@pytest.mark.parametrize("bits", [0, 1, 2.5, 1 << 30])
def test_numbers_of_bits_that_are_none_are_refused(bits):
    with pytest.raises(Refusal, match="mantissa bits from 2 to"):
        evaluate_rounded(random_network(), points(3), bits)


def test_inputs_outside_the_box_are_refused():
    network = random_network()
    with pytest.raises(Refusal, match="not among"):
        evaluate_rounded(network, np.full((1, 3), 2.0), 53)
    assert len(evaluate_rounded(network, np.full((1, 3), 2.0), 53, anywhere=True)) == 1
