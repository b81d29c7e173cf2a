import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import independent
from bits_oracle import errors, uniform
from depthwright.constructions import NarrowPacked
from depthwright.constructions.narrow_packed import he_architecture, packed_sizing, read_inputs
from depthwright.constructions.narrow_packed_bits import Bits, Bounds, LayerFacts, he_facts
from depthwright.constructions.narrow_packed_layers import pack
from depthwright.distributions import UniformCube
from depthwright.networks import Architecture, load
from depthwright.networks.evaluation import exact_values
from depthwright.networks.exact import BIAS, Patterns
from depthwright.refusal import Refusal
from depthwright.targets import Cone, Network, RandomNetwork

CASES = [
    (1, 5, 3, 1, 1.0), (2, 4, 2, 1, 1.0), (3, 8, 3, 1, 1.0), (5, 4, 2, 1, 0.3),
    (3, 6, 3, 3, 2.7), (4, 3, 4, 2, 1.0), (2, 1, 3, 1, 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("d", "n", "depth", "outputs", "radius"), CASES)
def test_claims_hold(d, n, depth, outputs, radius):
    target = RandomNetwork(d, n, depth, seed=4, radius=radius, output_dim=outputs)
    recipe = NarrowPacked(target, 1e-2, 5e-2)
    built = recipe.build()
    size = built.network.architecture
    assert size == recipe.architecture()
    assert size.width == max(d + 2, 4 + outputs)
    assert built.claim.bound <= 1e-2
    assert built.claim.failure_probability <= 5e-2
    x = uniform(target, 150)
    good = ~recipe.fails(x)
    error = errors(built.network, target, x)
    assert error[good].max() <= built.claim.bound
    # four standard errors of a share of 150 points, at most 5e-2 expected
    assert (~good).mean() <= 5e-2 + 4 * math.sqrt(5e-2 * 0.95 / 150)


def test_the_promised_size():
    target = RandomNetwork(3, 8, 3, seed=0)
    size = NarrowPacked(target, 1e-2, 1e-2).architecture()
    assert size.parameters <= 14_500
    assert size.depth <= 650
    assert size.width == 5


def test_corners_and_bad_points():
    target = RandomNetwork(3, 4, 2, seed=1)
    recipe = NarrowPacked(target, 1e-2, 1e-2)
    corners = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 0, 1)], float)
    assert not recipe.fails(corners).any()
    network = recipe.build().network
    assert errors(network, target, corners).max() <= 1e-2
    # just below 0, in the gap of the first bit: (x + 1)/2 is within 1/M of 1/2
    gap = 1 / float(recipe.slopes[0])
    bad = np.array([[-gap, 0.3, 0.3], [0.3, -gap / 2, 0.3], [0.3, 0.3, -gap]])
    assert recipe.fails(bad).all()
    assert errors(network, target, bad).max() > 1e-2
    edge = np.array([[-2 * gap * 1.0001, 0.3, 0.3]])
    assert not recipe.fails(edge).any()
    assert errors(network, target, edge).max() <= 1e-2


def test_the_slope_is_as_small_as_delta_allows():
    recipe = NarrowPacked(RandomNetwork(3, 4, 2, seed=1), 1e-2, 1e-2)
    slope, c = recipe.slopes[0].fraction, recipe.sizing.bits.c
    assert 3 * c / slope <= Fraction(1e-2) < 3 * c / (slope - 1)


@pytest.mark.parametrize(
    ("d", "grid", "radius"), [(2, 0.25, 1.0), (3, 0.375, 3.0), (1, 1.0, 16.0), (4, 0.5, 1.0)]
)
def test_every_grid_point_is_good(d, grid, radius):
    target = RandomNetwork(d, 5, 3, seed=2, radius=radius)
    built = NarrowPacked(target, 1e-2, grid=grid).build()
    assert (built.claim.norm, built.claim.failure_probability) == ("sup", 0.0)
    steps = int(2 * radius / grid)
    axis = -radius + grid * np.arange(steps + 1)
    every = np.stack(np.meshgrid(*[axis] * d), -1).reshape(-1, d)
    x = every[np.random.default_rng(0).permutation(len(every))[:300]]
    x = np.concatenate([x, np.full((1, d), radius), np.full((1, d), -radius)])
    x = x[np.isin(x, axis).all(axis=1)]
    assert errors(built.network, target, x).max() <= built.claim.bound


def test_a_fine_grid_reads_only_the_bits_it_needs():
    target = RandomNetwork(2, 4, 2, seed=0)
    recipe = NarrowPacked(target, 1e-2, grid=2.0**-40)
    assert recipe.sizing.bits.c < 20
    x = np.random.default_rng(0).integers(0, 2**41, (40, 2)) * 2.0**-40 - 1
    x[0] = [-(2.0**-40), -1 + 2.0**-40]  # the nastiest: just below a carry of every bit
    assert errors(recipe.build().network, target, x).max() <= 1e-2


@given(st.lists(st.integers(-(2**20) + 1, 2**20 - 1), min_size=1, max_size=40), st.data())
def test_packing(values, data):
    size = data.draw(st.sampled_from([21, 33, 62, 63, 100]))
    wanted = sum(v << size * (len(values) - 1 - i) for i, v in enumerate(values))
    assert pack(np.array(values), size) == wanted
    assert pack(np.array(values, dtype=object), size) == wanted


def test_the_independent_evaluator_agrees(tmp_path):
    target = RandomNetwork(3, 4, 3, seed=0)
    network = NarrowPacked(target, 1e-2, 1e-2).build().network
    network.save(tmp_path / "n.jsonl.gz")
    x = uniform(target, 4)
    x[0] = [-1e-9, 0.3, 0.2]  # a bad point: still the same function
    values = network.evaluate(torch.from_numpy(x))
    for row, value in zip(x, values, strict=True):
        wanted = independent.evaluate(tmp_path / "n.jsonl.gz", row.tolist())
        assert value.tolist() == [float(v) for v in wanted]
    again = load(tmp_path / "n.jsonl.gz")
    assert torch.equal(again.evaluate(torch.from_numpy(x)), values)
    with pytest.raises(Refusal, match="row 1 of the inputs"):
        again.evaluate(torch.tensor([[0.0] * 3, [0.0, 0.0, 1.5]], dtype=torch.float64))


# --- the integers


def recursion(recipe, row):
    """The integer recursion of narrow_packed.md, section 4, by Python integers and fractions."""
    target, bits, inputs = recipe.target, recipe.sizing.bits, recipe.inputs
    scale, radius = Fraction(inputs.scale), Fraction(target.radius)
    cell = 1 / (scale * 2**bits.c)
    centre = radius / cell - Fraction(1, 2)
    z = [math.floor((Fraction(v) + radius) * scale * 2**bits.c) for v in row]
    previous = 0
    for level, (p, q) in enumerate(zip(bits.p, bits.q, strict=True)):
        factor = cell * Fraction(2) ** p if level == 0 else Fraction(2) ** (p - previous)
        w = [[round(Fraction(v) * factor) for v in r] for r in target.weights[level].tolist()]
        b = [
            round(Fraction(v) * Fraction(2) ** p - (centre * sum(r) if level == 0 else 0))
            for v, r in zip(target.biases[level].tolist(), w, strict=True)
        ]
        v = [sum(a * c for a, c in zip(r, z, strict=True)) + e for r, e in zip(w, b, strict=True)]
        z = [max(0, math.floor(Fraction(a, 2 ** (p - q)) + Fraction(1, 2))) for a in v]
        previous = q
    unit = Fraction(1, 1) / Fraction(2) ** previous
    return [
        sum((Fraction(a) * c * unit for a, c in zip(r, z, strict=True)), Fraction(e))
        for r, e in zip(target.weights[-1].tolist(), target.biases[-1].tolist(), strict=True)
    ]


def disagreements(network, recipe, x):
    """At how many points the network is not exactly what the recursion says."""
    slots = exact_values(network, x)
    got = [[int(v) * Fraction(2) ** power for v in values] for values, power in slots]
    wanted = [recursion(recipe, row) for row in x.tolist()]
    return sum(list(a) != b for a, b in zip(zip(*got, strict=True), wanted, strict=True))


@pytest.mark.parametrize(("d", "n", "depth", "outputs", "radius"), CASES)
def test_the_network_is_the_integer_recursion(d, n, depth, outputs, radius):
    target = RandomNetwork(d, n, depth, seed=5, radius=radius, output_dim=outputs)
    recipe = NarrowPacked(target, 1e-2, 1e-2)
    x = uniform(target, 30, seed=1)
    assert disagreements(recipe.build().network, recipe, x[~recipe.fails(x)]) == 0


# --- the bounds


@given(st.integers(1, 3), st.integers(1, 6), st.integers(2, 4), st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_norm_bounds_are_weaker_than_matrix_bounds(d, n, depth, seed):
    target = RandomNetwork(d, n, depth, seed=seed)
    layers = list(zip(target.weights, target.biases, target.spectral_norms, strict=True))
    facts = [LayerFacts.of(*layer) for layer in layers]
    loose = [dataclasses.replace(f, matrix=None, bias=np.abs(f.bias)) for f in facts]
    inputs = read_inputs(d, 1.0, None)
    bits = packed_sizing(Bounds(facts, inputs), target.widths, 1e-2).bits
    tight, weak = Bounds(facts, inputs).sizing(bits), Bounds(loose, inputs).sizing(bits)
    assert tight.error <= weak.error * (1 + 1e-9)
    assert all(a <= b for a, b in zip(tight.s, weak.s, strict=True))


@pytest.mark.parametrize(
    ("bits", "term"),
    [
        (Bits(3, (24,), (20,)), "input quantisation"),
        (Bits(16, (20,), (2,)), "truncation"),
        (Bits(16, (17,), (12,)), "weight rounding"),
    ],
)
def test_each_term_is_nearly_attained(bits, term):
    # x ↦ σ(0.4x): 0.4 × 4 rounds to 2, four fifths of the worst rounding there is
    layers = [(0.4, 0.0), (1.0, 0.0)]
    state = {}
    for i, (weight, bias) in enumerate(layers):
        state |= {f"{i}.weight": np.array([[weight]]), f"{i}.bias": np.array([bias])}
    recipe = NarrowPacked(Network(state), 1e-2, 1e-2)
    recipe.__dict__["sizing"] = recipe.bounds.sizing(bits)
    bound = recipe.sizing.error
    assert recipe.claim.terms[term] >= 0.5 * bound
    x = uniform(recipe.target, 3000)
    x = x[~recipe.fails(x)]
    worst = errors(recipe.build().network, recipe.target, x).max()
    assert 0.5 * bound <= worst <= bound


def test_short_fields_are_noticed():
    recipe = NarrowPacked(RandomNetwork(3, 8, 3, seed=0), 1e-2, 1e-2)
    for level in (0, 1):
        s = list(recipe.sizing.s)
        s[level] -= 2
        other = NarrowPacked(recipe.target, 1e-2, 1e-2)
        other.__dict__["sizing"] = dataclasses.replace(recipe.sizing, s=tuple(s))
        with pytest.raises(AssertionError, match=f"fields of layer {level + 1} are too short"):
            other.build()


def test_terms_sum_to_the_certified_error():
    recipe = NarrowPacked(RandomNetwork(3, 8, 3, seed=0), 1e-2, 1e-2)
    terms = recipe.claim.terms
    assert list(terms) == [
        "input quantisation", "weight rounding", "truncation", "final rounding to float64",
    ]  # fmt: skip
    assert min(terms.values()) > 0
    assert sum(terms.values()) == pytest.approx(recipe.sizing.error, rel=1e-9)
    assert recipe.claim.bound <= 1e-2


@pytest.mark.parametrize("weight", [1e-170, 1e-160, 1e170])
def test_weights_whose_squares_leave_the_range(weight):
    state = {"0.weight": np.array([[weight]]), "0.bias": np.array([0.25])}
    state |= {"2.weight": np.array([[1.0]]), "2.bias": np.array([0.0])}
    recipe = NarrowPacked(Network(state, radius=1 / weight), 1e-2, 1e-2)
    built = recipe.build()
    x = np.linspace(-1 / weight, 1 / weight, 301)[:, None]
    x = x[~recipe.fails(x)]
    worst = errors(built.network, recipe.target, x).max()
    assert 0.5 * built.claim.bound < worst <= built.claim.bound


def test_large_layers_rest_on_norms_and_agree(monkeypatch):
    monkeypatch.setattr("depthwright.constructions.narrow_packed_bits.MATRIX_LIMIT", 0)
    target = RandomNetwork(3, 30, 3, seed=0, initialisation="he")
    recipe = NarrowPacked(target, 1e-2, 1e-3)
    assert all(fact.matrix is None for fact in recipe.bounds.facts)
    x = uniform(target, 40)
    x = x[~recipe.fails(x)]
    built = recipe.build()
    assert built.network.architecture == recipe.architecture()
    assert errors(built.network, target, x).max() <= built.claim.bound


def test_he_norms_bound_a_drawn_network():
    target = RandomNetwork(8, 300, 3, seed=0, initialisation="he")
    facts = he_facts(8, 300, 3)
    for fact, matrix, spectral in zip(facts, target.weights, target.spectral_norms, strict=True):
        drawn = LayerFacts.of(matrix, np.zeros(len(matrix)), spectral)
        assert drawn.spectral <= fact.spectral <= 2 * drawn.spectral
        for name in ("row_norm", "positive_norm", "negative_norm", "row_sum", "weight_max"):
            assert np.max(getattr(drawn, name)) <= np.max(getattr(fact, name))


def test_narrower_than_the_target_itself_from_n_2100_on():
    def ratio(d, n, depth):
        target = Architecture.of([d, *[n] * (depth - 1), 1])
        return he_architecture(d, n, depth, 1e-2).parameters / target.parameters

    assert ratio(8, 2100, 3) < 1 < ratio(8, 1000, 3)
    assert ratio(16, 2100, 4) < 1
    assert ratio(8, 10**6, 3) < 0.01


# --- negative controls


def broken(network, at, **fields):
    layers = list(network.layers)
    layers[at] = dataclasses.replace(layers[at], **fields)
    return dataclasses.replace(network, layers=tuple(layers))


@pytest.fixture(scope="module")
def healthy():
    target = RandomNetwork(3, 4, 2, seed=0)
    recipe = NarrowPacked(target, 1e-2, 1e-2)
    x = uniform(target, 400)
    x = x[~recipe.fails(x)]
    network = recipe.build().network
    assert errors(network, target, x).max() <= 1e-2
    return recipe, network, target, x


def test_one_bit_of_one_weight_is_caught(healthy):
    recipe, network, target, x = healthy
    c, s = recipe.sizing.bits.c, recipe.sizing.s[0]
    at = c + 2  # adds a bit of X_1 into the packed sum
    layer = network.layers[at]
    term = max(range(len(layer.integers)), key=lambda t: layer.integers[t].bit_length())
    assert layer.integers[term].bit_length() > 2 * (s + 1)  # a packed column
    integers = list(layer.integers)
    integers[term] ^= 1 << integers[term].bit_length() - 3
    bad = broken(network, at, integers=tuple(integers))
    assert errors(bad, target, x).max() > 1e-2


def test_a_dropped_layer_is_caught(healthy):
    recipe, network, target, x = healthy
    shapes = [(layer.fan_in, layer.fan_out) for layer in network.layers]
    decoding = 4 * recipe.sizing.bits.c
    for at in (3, shapes.index((5, 5), decoding), shapes.index((3, 3), decoding)):
        assert shapes[at][0] == shapes[at][1]
        layers = network.layers[:at] + network.layers[at + 1 :]
        bad = dataclasses.replace(network, layers=layers)
        assert errors(bad, target, x).max() > 1e-2


def halved_test(network, at):
    """The layer `at` with both ramps of its bit test at half their slope."""
    rows = network.layers[at].expressions()
    one = rows[1][BIAS] - rows[2][BIAS]
    assert one == 1  # rows 1 and 2 are ramp + 1 and ramp
    for row in (1, 2):
        rows[row] = {column: value >> 1 for column, value in rows[row].items()}
    rows[1][BIAS] = rows[2][BIAS] + one
    layers = list(network.layers)
    layers[at] = Patterns().layer(layers[at].fan_in, rows)
    return dataclasses.replace(network, layers=tuple(layers))


def test_an_input_test_of_half_the_slope_is_caught(healthy):
    recipe, network, target, x = healthy
    c = recipe.sizing.bits.c
    # reading x_3: its bad set doubles, and points in the new half are wrong
    gap = 1 / float(recipe.slopes[0])
    between = np.array([[0.3, 0.3, -3 * gap], [0.3, 0.3, -2.5 * gap]])
    assert not recipe.fails(between).any()
    assert errors(network, target, between).max() <= 1e-2
    assert errors(halved_test(network, 3 * c), target, between).max() > 1e-2
    # reading the last bit of X_1 off x_2
    assert errors(halved_test(network, 2 * c - 1), target, x).max() > 1e-2


def test_every_field_test_needs_its_slope():
    target = RandomNetwork(3, 4, 2, seed=0)
    recipe = NarrowPacked(target, 1e-2, 1e-2)
    # short fields of which one bit is dropped: the bits behind a test are often all ones
    recipe.__dict__["sizing"] = recipe.bounds.sizing(Bits(4, (6,), (5,)))
    network = recipe.build().network
    x = uniform(target, 400)
    x = x[~recipe.fails(x)]
    assert disagreements(network, recipe, x) == 0
    for k in range(3):  # the last tests of the first field
        test = 4 * 4 + recipe.sizing.s[0] - 2 - k
        assert disagreements(halved_test(network, test), recipe, x) > 0


# --- refusals


def test_bad_input_is_refused():
    target = RandomNetwork(3, 8, 3)
    with pytest.raises(Refusal, match="give grid=STEP"):
        NarrowPacked(target, 1e-2)
    with pytest.raises(Refusal, match="failure_probability=2"):
        NarrowPacked(target, 1e-2, 2)
    with pytest.raises(Refusal, match="accuracy=0"):
        NarrowPacked(target, 0, 0.1)
    with pytest.raises(Refusal, match="grid=-1"):
        NarrowPacked(target, 1e-2, grid=-1)
    with pytest.raises(Refusal, match="not a ReLU network"):
        NarrowPacked(Cone(3), 1e-2, 1e-2)
    with pytest.raises(Refusal, match="below the rounding of the result"):
        NarrowPacked(target, 1e-15, 1e-2).architecture()
    network = NarrowPacked(target, 1e-2, 1e-2).build().network
    x = torch.zeros(1, 3, dtype=torch.float64)
    with pytest.raises(Refusal, match="bits and float64 holds 53"):
        network.evaluate(x, "float64")


def test_a_network_that_is_too_deep_is_refused_before_it_is_built(monkeypatch):
    monkeypatch.setattr("depthwright.constructions.hypotheses.DEPTH_LIMIT", 100)
    with pytest.raises(Refusal, match="no more than 100 are built"):
        NarrowPacked(RandomNetwork(3, 8, 3), 1e-2, 1e-2).build()


def test_fields_of_very_few_bits_are_long_enough() -> None:
    """States of one bit before the point: a bound with a unit to spare refused its own sizes."""
    target = RandomNetwork(1, 3, 3, weight_bound=0.05, seed=59, radius=30, output_dim=2)
    built = NarrowPacked(target, 0.1, 1e-12).build()
    x = UniformCube(1, 30).sample(300, torch.Generator().manual_seed(0))
    gap = (built.network.evaluate(x) - target.truth(x)).abs().max()
    assert float(gap) <= built.claim.bound
