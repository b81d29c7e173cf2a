import math
from dataclasses import FrozenInstanceError
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from depthwright.networks import Builder, Dyadic, ExactNetwork, Linear
from depthwright.networks.exact.dyadic import round_to_float
from depthwright.networks.exact.network import from_arrays
from depthwright.networks.reading import exact_network
from depthwright.refusal import Refusal

integers = st.integers(-(2**200), 2**200)
powers = st.integers(-1500, 1500)


def fraction(integer, power):
    return integer * Fraction(2) ** power


def nearest(value):
    """Python's own correctly rounded conversion."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


@given(integers, powers, integers, powers)
def test_dyadic_arithmetic_is_that_of_fractions(a, p, b, q):
    x, y = Dyadic(a, p), Dyadic(b, q)
    fx, fy = fraction(a, p), fraction(b, q)
    assert (x + y).fraction == fx + fy
    assert (x - y).fraction == fx - fy
    assert (x * y).fraction == fx * fy
    assert (x << 7).fraction == fx * 128
    assert bool(x - y) == (fx != fy)
    assert (x == y) == (fx == fy)


@given(st.lists(st.tuples(integers, powers), max_size=6))
def test_sums_cancel_exactly(terms):
    total = Dyadic()
    for a, p in terms:
        total = total + Dyadic(a, p)
    assert total.fraction == sum((fraction(a, p) for a, p in terms), Fraction(0))
    for a, p in terms:
        total = total - Dyadic(a, p)
    assert not total
    assert total.terms == ()


@given(integers, powers, integers, powers)
@settings(max_examples=300)
def test_rounding_to_float_is_pythons(a, p, b, q):
    assert round_to_float(a, p) == nearest(fraction(a, p))
    assert float(Dyadic(a, p) + Dyadic(b, q)) == nearest(fraction(a, p) + fraction(b, q))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_far_away_term_decides_a_tie(sign):
    tie = Dyadic(2**53 + 1)  # halfway between two floats; even is 2^53
    assert float(tie) == 2.0**53
    assert float(tie + Dyadic(sign, -9000)) == (2.0**53 + 2 if sign > 0 else 2.0**53)
    assert float(-tie - Dyadic(sign, -9000)) == -(2.0**53 + 2 if sign > 0 else 2.0**53)


def test_long_integers_round_without_overflow():
    assert round_to_float(-(3**3000), -4755) == nearest(fraction(-(3**3000), -4755))


def test_a_long_sparse_number_is_stored_in_two_words():
    number = Dyadic(1) - Dyadic(1, 9999)
    assert number.terms == ((1, 0), (-1, 9999))
    assert number.fraction == 1 - 2**9999


@pytest.mark.parametrize("value", [math.nan, math.inf, Fraction(1, 3)])
def test_what_is_not_dyadic_is_refused(value):
    with pytest.raises(Refusal, match="not"):
        Dyadic.of(value)


def triangle(x):
    a, b = yield [2 * x, 4 * x - 2]
    return a - b


def folded(x, times):
    for _ in range(times):
        x = yield from triangle(x)
    return x


def sawtooth(u, times):
    """Closed form: distance of 2^(times−1)·u to the nearest integer, doubled."""
    v = Fraction(u) * 2 ** (times - 1)
    return 2 * abs(v - math.floor(v + Fraction(1, 2)))


def test_programs_compose():
    builder = Builder(1)
    (x,) = builder.values
    network = builder.output([builder.run(folded(x, 9))])
    points = np.random.default_rng(0).uniform(0, 1, (50, 1))
    got = network.evaluate(torch.from_numpy(points)).numpy()
    assert got[:, 0].tolist() == [float(sawtooth(u, 9)) for u in points[:, 0]]
    assert network.architecture.depth == 10
    assert network.architecture.width == 2
    # first layer: 2x, 4x − 2; then 2(a − b) and 4(a − b) − 2
    assert network.architecture.nonzeros == 3 + 8 * (2 + 3) + 2


def test_values_of_older_layers_are_an_error():
    builder = Builder(2)
    x, _ = builder.values
    (y,) = builder.relu([x])
    with pytest.raises(ValueError, match="carry them through"):
        builder.relu([x])
    with pytest.raises(ValueError, match="carry them through"):
        _ = x + y
    assert not (y - y).coefficients
    builder.relu([Linear.of(3)])  # constants need no carrying


def random_network(widths, seed):
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((b, a)) for a, b in pairwise(widths)]
    return from_arrays(weights, [rng.standard_normal(n) for n in widths[1:]])


def test_networks_are_immutable_and_their_shapes_fit():
    network = random_network([2, 3, 1], 0)
    with pytest.raises(FrozenInstanceError):
        network.layers = ()
    with pytest.raises(FrozenInstanceError):
        network.layers[0].integers = ()
    with pytest.raises(Refusal, match="layer 2 reads 2 values but layer 1 gives 1"):
        ExactNetwork((network.layers[1], network.layers[0]))
    with pytest.raises(Refusal, match="without layers"):
        ExactNetwork(())


def test_modules_are_read_in_the_order_of_evaluation():
    torch.manual_seed(0)
    shared, relu = torch.nn.Linear(3, 3).double(), torch.nn.ReLU()
    last = torch.nn.Linear(3, 1, bias=False).double()
    module = torch.nn.Sequential(shared, relu, shared, relu, last)
    network = exact_network(module)
    assert len(network.layers) == 3
    x = torch.rand(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    # three sums of four terms below 2
    gap = (network.evaluate(x, "exact") - module(x).detach()).abs().max()
    assert gap <= 64 * torch.finfo(torch.float64).eps


def test_modules_whose_layers_are_no_floats_are_refused():
    linear = torch.nn.Linear(2, 2)
    with torch.no_grad():
        linear.weight.fill_(1 + 2**-23)
    chain = torch.nn.Sequential(*[linear] * 3)  # entries of 72 bits
    with pytest.raises(Refusal, match="whose entries are no floats"):
        exact_network(chain)
    with pytest.raises(Refusal, match="Tanh"):
        exact_network(torch.nn.Sequential(linear, torch.nn.Tanh(), linear))
