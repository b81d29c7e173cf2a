import dataclasses
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import independent
from depthwright.constructions import NarrowExact, NarrowExactSlim
from depthwright.constructions.narrow_exact_slim import offsets
from depthwright.networks import Builder, Linear
from depthwright.networks.exact.integers import exact_values
from depthwright.refusal import Refusal
from depthwright.targets import Cone, Network, RandomNetwork

BOTH = [NarrowExact, NarrowExactSlim]


def far_points(count, d, seed):
    """Sizes from 0.1 to 1000."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, d)) * 10.0 ** rng.uniform(-1, 2.5, (count, 1))


def truth(target, x):
    """By fractions, rounded once: no code of the package."""
    rows = (independent.network_value(target.weights, target.biases, row) for row in x)
    return torch.tensor([[float(v) for v in row] for row in rows], dtype=torch.float64)


def differs(network, target, x):
    """At how many points the values differ at all, before any rounding."""
    columns = [
        [int(v) * Fraction(2) ** power for v in values]
        for values, power in exact_values(network.layers, x)
    ]
    wanted = [independent.network_value(target.weights, target.biases, row) for row in x]
    return sum(list(a) != b for a, b in zip(zip(*columns, strict=True), wanted, strict=True))


@pytest.mark.parametrize("kind", BOTH)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(2, 4), st.integers(1, 3), st.data())
@settings(max_examples=25, deadline=None)
def test_equal_everywhere(kind, d, n, depth, outputs, data):
    seed = data.draw(st.integers(0, 2**32))
    target = RandomNetwork(d, n, depth, seed=seed, output_dim=outputs)
    built = kind(target).build()
    assert differs(built.network, target, far_points(4, d, seed)) == 0
    assert kind(target).architecture() == built.network.architecture


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(("d", "n", "depth"), [(2, 4, 2), (3, 8, 3), (4, 5, 4), (10, 100, 2)])
def test_sizes_are_the_theorems(kind, d, n, depth):
    target = RandomNetwork(d, n, depth, seed=1)
    size = kind(target).build().network.architecture
    assert size == kind(target).architecture()
    if kind is NarrowExact:
        assert size.width == 2 * (d + depth - 1) + 1
        assert size.depth <= (2 * n) ** (depth - 1) + 2
    else:
        assert size.width == max(2 * d, d + depth + 1)
    layers = 1
    for _ in range(depth - 2):
        layers = n * layers + 1
    assert size.depth == n * layers + 1 + (kind is NarrowExactSlim)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(("d", "n", "depth"), [(3, 8, 3), (4, 5, 4), (10, 100, 2)])
@pytest.mark.filterwarnings("ignore::depthwright.networks.exact.floats.PrecisionLoss")
def test_float64_is_good_to_nine_digits(kind, d, n, depth):
    target = RandomNetwork(d, n, depth, seed=3)
    x = far_points(30, d, 0)
    network = kind(target).build().network
    # the slim one's first layer holds sums of weights, a few bits more than 53
    got = network.evaluate(torch.from_numpy(x), "float64", rounding=kind is NarrowExactSlim)
    wanted = truth(target, x)
    assert ((got - wanted).abs() / wanted.abs()).max() <= 1e-9


def test_float32_weights_stay_exact_in_float64():
    target = RandomNetwork(3, 4, 3, seed=0)
    for w in target.weights + target.biases:
        w[...] = w.astype(np.float32)
    x = torch.rand(5, 3, dtype=torch.float64)
    network = NarrowExactSlim(target).build().network
    assert torch.allclose(network.evaluate(x, "float64"), network.evaluate(x), rtol=1e-12)


def literal_lemma_16(target):
    """The base case as printed: σ(acc + u·(w·x) + b) where acc + u·σ(w·x + b) is meant."""
    builder = Builder(target.input_dim)
    x, d = builder.values, target.input_dim
    sums = [Linear({}), Linear({})]
    (matrix, output), (bias, last) = target.weights, target.biases
    for w, b, u in zip(matrix.tolist(), bias.tolist(), output[0].tolist(), strict=True):
        product = sum((v * c for v, c in zip(x, w, strict=True)), Linear({}))
        sums[u < 0] = sums[u < 0] + product * abs(u) + b
        values = builder.relu([*x, *(-v for v in x), *sums])
        x = [values[j] - values[d + j] for j in range(d)]
        sums = values[2 * d :]
    return builder.output([sums[0] - sums[1] + float(last[0])])


def test_lemma_16_as_printed_fails_and_repaired_holds():
    wrong = [RandomNetwork(3, 6, 2, seed=seed) for seed in range(20)]
    for target in wrong:
        x = far_points(5, 3, 0)
        assert differs(literal_lemma_16(target), target, x) == 5
        assert differs(NarrowExact(target).build().network, target, x) == 0


def dropped(network, at):
    layers = network.layers[:at] + network.layers[at + 1 :]
    return dataclasses.replace(network, layers=layers)


def flipped(network, at, term, bit):
    layer = network.layers[at]
    integers = list(layer.integers)
    integers[term] ^= 1 << bit
    layers = list(network.layers)
    layers[at] = dataclasses.replace(layer, integers=tuple(integers))
    return dataclasses.replace(network, layers=tuple(layers))


@pytest.mark.parametrize("kind", BOTH)
def test_a_broken_network_is_caught(kind):
    target = RandomNetwork(2, 4, 3, seed=0)
    network = kind(target).build().network
    x = far_points(20, 2, 0)
    assert differs(network, target, x) == 0
    assert differs(dropped(network, 7), target, x) > 0
    caught = []
    for at, layer in enumerate(network.layers):
        longest = max(range(len(layer.integers)), key=lambda t: abs(layer.integers[t]))
        if abs(layer.integers[longest]) > 1:
            caught.append(differs(flipped(network, at, longest, 0), target, x[:6]) > 0)
    # a flip that feeds a neuron which is silent at all six points cannot be seen
    assert len(caught) > 20
    assert sum(caught) > len(caught) / 2


@pytest.mark.parametrize("kind", BOTH)
def test_the_claim_is_the_last_rounding(kind):
    target = RandomNetwork(3, 5, 3, seed=0)
    claim = kind(target).build().claim
    assert (claim.accuracy, claim.norm, claim.arithmetic) == (0.0, "sup", "exact")
    assert 2.0**-53 * target.magnitude <= claim.bound <= 2.0**-52 * target.magnitude


@pytest.mark.parametrize("kind", BOTH)
def test_bad_targets_are_refused(kind):
    with pytest.raises(Refusal, match="Cone is not a ReLU network"):
        kind(Cone(3))
    with pytest.raises(Refusal, match="affine already"):
        kind(RandomNetwork(3, 8, 1))
    large = kind(RandomNetwork(3, 100, 6))
    assert large.architecture().depth > 10**9
    with pytest.raises(Refusal, match="no more than 5000000"):
        large.build()


def test_offsets_do_not_vanish_where_their_factors_are_tiny():
    """3e-100 − 2e-200·x, times 1e100: the offset is a product below the range of float64."""
    state = {
        "0.weight": [[1e-200], [1e-200]],
        "0.bias": [0.0, 0.0],
        "2.weight": [[-1e-200, -1e-200]],
        "2.bias": [3e-100],
        "4.weight": [[1e100]],
    }
    tensors = {name: torch.tensor(v, dtype=torch.float64) for name, v in state.items()}
    target = Network(tensors, radius=1e300)
    x = np.array([[1e300], [1e299], [-1e300]])
    for kind in BOTH:
        built = kind(target).build()
        assert differs(built.network, target, x) == 0
        assert built.network.evaluate(torch.from_numpy(x))[0].item() == pytest.approx(1.0)
    for entry in offsets(target.weights, target.biases).values():
        assert entry.top > -10_000


def test_offsets_do_not_overflow():
    weights = (np.full((2, 2), 1e300), np.array([[-1e300, 1e300]]), np.array([[-1e-300]]))
    biases = (np.zeros(2), np.array([1.0]), np.zeros(1))
    exact = offsets(weights, biases)
    assert exact[2].fraction >= Fraction(1e300) ** 2
    assert exact[3].fraction >= Fraction(1e300) ** 2 * Fraction(1e-300)
