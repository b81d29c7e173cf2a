import math
import warnings
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import independent
from depthwright.networks import Builder, Dyadic
from depthwright.networks.exact import integers
from depthwright.networks.exact.floats import PrecisionLoss
from depthwright.networks.exact.network import from_arrays
from depthwright.networks.inputs import Inputs, check_inputs
from depthwright.refusal import Refusal

finite = st.floats(-1e6, 1e6)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3), st.integers(0, 2**32), st.data())
@settings(max_examples=60, deadline=None)
def test_exact_evaluation_is_correctly_rounded(d, n, hidden, seed, data):
    rng = np.random.default_rng(seed)
    widths = [d, *[n] * hidden, 2]
    weights = [rng.standard_normal((b, a)) for a, b in pairwise(widths)]
    biases = [rng.standard_normal(b) * 2.0 ** rng.integers(-60, 60) for b in widths[1:]]
    x = data.draw(st.lists(st.lists(finite, min_size=d, max_size=d), min_size=1, max_size=3))
    got = from_arrays(weights, biases).evaluate(torch.tensor(x, dtype=torch.float64), "exact")
    wanted = [[float(v) for v in independent.network_value(weights, biases, row)] for row in x]
    assert got.tolist() == wanted


def bits_reader(bits, length):
    """Reads `bits` bits of x in [0, 1) by ramps; returns x's first bits as a number."""
    builder = Builder(1)
    r, total = builder.values[0], 0
    for k in range(bits):
        ramp = (r - 0.5) * 2**length
        values = builder.relu([r, ramp + 1, ramp, *([total] if k else [])])
        bit = values[1] - values[2]
        r = 2 * values[0] - bit
        total = (values[3] if k else 0) + (bit >> k + 1)
    return builder.output([total], value_bits=2 * length, inputs=Inputs.cube(1, 1.0))


def test_tiny_values_cost_nothing():
    builder = Builder(1)
    value = builder.values[0]
    for k in range(4000):
        (value,) = builder.relu([value >> 1000 if k < 2000 else value << 1000])
    network = builder.output([value])
    x = np.array([[0.1], [0.7]])
    assert network.evaluate(torch.from_numpy(x)).ravel().tolist() == [0.1, 0.7]
    for ((values, _),) in integers.exact_layers(network.layers, x):
        assert max(int(v).bit_length() for v in values) <= 53 + integers.STRIP


def test_zero_bits_at_the_end_are_dropped():
    builder = Builder(1)
    (x,) = builder.values
    a, b = builder.relu([(x << 5000) + 1, x << 5000])
    network = builder.output([a - b])
    (values, power) = integers.exact_values(network.layers, np.array([[0.3], [0.8]]))[0]
    assert [int(v) * Fraction(2) ** power for v in values] == [1, 1]
    assert max(int(v).bit_length() for v in values) < 100


def test_overflow_is_refused():
    network = from_arrays([np.array([[2.0**1000]])], [np.zeros(1)])
    x = torch.tensor([[1.0], [2.0**24]], dtype=torch.float64)
    with pytest.raises(Refusal, match="row 1 exceeds"):
        network.evaluate(x, "exact")
    with pytest.raises(Refusal, match="row 1 of the inputs overflows float64"):
        network.evaluate(x, "float64")
    with pytest.raises(Refusal, match="out of range for float32"):
        network.evaluate(x, "float32")


def test_float64_is_refused_where_values_do_not_fit_and_wrong_where_forced():
    network = bits_reader(40, 60)
    x = torch.rand(20, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with pytest.raises(Refusal, match="values need 120 bits and float64 holds 53"):
        network.evaluate(x, "float64")
    with pytest.raises(Refusal, match="values need 120 bits"):
        network.to_torch()
    with pytest.raises(Refusal, match="values need 120 bits"):
        network.forward(x)
    exact = network.evaluate(x)
    assert (exact - x).abs().max() <= 2.0**-40
    with pytest.warns(PrecisionLoss, match="120 bits"):
        forced = network.evaluate(x, "float64", rounding=True)
    assert (forced - exact).abs().max() > 0.1
    assert torch.equal(network.to_torch(rounding=True)(x), forced)


def test_long_weights_are_refused():
    network = from_arrays([np.array([[1.0, 2.0**-70]])], [np.zeros(1)])
    x = torch.ones(1, 2, dtype=torch.float64)
    assert network.evaluate(x, "float64").item() == 1.0
    builder = Builder(1)
    network = builder.output([builder.values[0] * (2**60 + 1)])
    with pytest.raises(Refusal, match="weights need 61 bits and float64 holds 53"):
        network.evaluate(x[:, :1], "float64")
    builder = Builder(1)
    network = builder.output([builder.values[0] * (Dyadic(1, 200) + 1)])  # held as two terms
    with pytest.raises(Refusal, match="weights need 201 bits and float64 holds 53"):
        network.evaluate(x[:, :1], "float64")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float_evaluation_is_torchs(dtype):
    rng = np.random.default_rng(0)
    widths = [4, 260, 260, 2]  # the middle layer is large enough to be held sparse
    weights = [
        rng.standard_normal((b, a)).astype(np.float32) / math.sqrt(a) for a, b in pairwise(widths)
    ]
    biases = [rng.standard_normal(b).astype(np.float32) for b in widths[1:]]
    network = from_arrays(weights, biases)
    name = str(dtype).removeprefix("torch.")
    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(0), dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = network.evaluate(x, name)
    eps = torch.finfo(dtype).eps
    exact = network.evaluate(x.double(), "exact")
    # three layers of at most 300 terms of size about 1
    assert (got - exact).abs().max() <= 300 * eps * exact.abs().max()
    assert (network.to_torch(dtype)(x).double() - got).abs().max() <= 300 * eps
    assert (network.forward(x).double() - got).abs().max() <= 300 * eps
    assert network.forward(x).dtype == dtype


def test_bad_inputs_are_named():
    network = bits_reader(3, 8)
    x = torch.tensor([[0.1], [1.5], [7.0]], dtype=torch.float64)
    with pytest.raises(
        Refusal, match=r"2 of 3 inputs are not among .* row 1 of the inputs, \[1.5\];"
    ):
        network.evaluate(x)
    assert network.evaluate(x, anywhere=True).shape == (3, 1)
    with pytest.raises(Refusal, match="row 2 of the inputs is not finite"):
        network.evaluate(torch.tensor([[0.0], [0.0], [math.nan]], dtype=torch.float64))
    with pytest.raises(Refusal, match=r"reads \(batch, 1\)"):
        network.evaluate(torch.zeros(3, 2, dtype=torch.float64))
    with pytest.raises(Refusal, match="choose one of float32, float64, exact"):
        network.evaluate(x[:1], "float16")
    with pytest.raises(Refusal, match="float16 is not supported"):
        network.to_torch(torch.float16)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_are_taken_as_they_are(dtype):
    network = from_arrays([[[3.0]]], [[1.0]])
    x = torch.tensor([[0.1], [-7.3]], dtype=dtype)
    for arithmetic in ("exact", "float64"):
        assert network.evaluate(x, arithmetic).tolist() == (3 * x.double() + 1).tolist()


@pytest.mark.parametrize("engine", ["integers", "limbs"])
def test_inputs_that_float64_does_not_hold_are_refused(engine):
    network = from_arrays([[[1.0]]], [[0.0]])
    held = torch.tensor([[2**53], [-(2**62)], [3 * 2**55]])
    assert network.evaluate(held, "exact", engine=engine).tolist() == held.double().tolist()
    for bad in (2**53 + 1, -(2**53) - 1, 2**63 - 1):
        with pytest.raises(Refusal, match="row 1 of the inputs, dtype int64, holds a number"):
            network.evaluate(torch.tensor([[0], [bad]]), "exact", engine=engine)
    with pytest.raises(Refusal, match=r"a tensor of torch\.complex128.*give floats"):
        network.evaluate(torch.tensor([[1.0 + 2.0j]]).to(torch.complex128), "exact", engine=engine)


def test_arrays_of_integers_too():
    network = from_arrays([[[1.0]]], [[0.0]])
    assert network.evaluate(np.array([[2**53], [-3]])).tolist() == [[2.0**53], [-3.0]]
    with pytest.raises(Refusal, match="array of int64 with a number that float64 does not hold"):
        network.evaluate(np.array([[2**53 + 1]]))


def test_longer_floats_and_unsigned_integers_too():
    with pytest.raises(Refusal, match="dtype uint64, holds a number"):
        check_inputs(np.array([[2**64 - 1]], dtype=np.uint64), 1, None)
    if np.finfo(np.longdouble).nmant > 52:
        third = np.longdouble(1) / 3
        with pytest.raises(Refusal, match="holds a number that float64 does not"):
            check_inputs(np.array([[third]]), 1, None)
