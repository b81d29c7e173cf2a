import dataclasses
import gc
import math
import tracemalloc
import weakref
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch

import independent
import packed_cases
from depthwright.constructions import NarrowPacked
from depthwright.constructions.bits.cells import Cells
from depthwright.constructions.packed.bounds import Bits, Layout
from depthwright.constructions.packed.numbers import pack
from depthwright.constructions.packed.widths import architecture, parameters
from depthwright.networks import load
from depthwright.networks.exact.integers import exact_values
from depthwright.networks.exact.layer import BIAS
from depthwright.refusal import Refusal
from depthwright.targets import Cone, RandomNetwork
from packed_cases import network, worst

CASES = [
    (1, 5, 3, 1, 1.0), (2, 4, 2, 1, 1.0), (3, 8, 3, 1, 1.0), (5, 4, 2, 1, 0.3), (3, 6, 3, 3, 2.7),
    (4, 3, 4, 2, 1.0), (2, 1, 3, 1, 1.0), (3, 5, 3, 6, 1.0), (9, 3, 5, 1, 1.0), (2, 3, 2, 5, 1.0),
]  # fmt: skip


def recipe_of(d, n, depth, outputs, radius, accuracy=1e-2, **fields):
    target = RandomNetwork(d, n, depth, seed=4, radius=radius, output_dim=outputs)
    return NarrowPacked(target, accuracy, **fields)


# --- claims


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("kind", ["float64", "float32", "grid", "probability", "gaps"])
def test_claims_hold(case, kind):
    fields = {"grid": {"grid": 0.25}, "float32": {"inputs": "float32"}, "gaps": {"long_gaps": True}}
    fields |= {"probability": {"failure_probability": 1e-30}}
    recipe = recipe_of(*case, **fields.get(kind, {}))
    built, (d, _, _, outputs, _) = recipe.build(), case
    size = built.network.architecture
    assert (size, size.widths) == (recipe.architecture(), recipe.architecture().widths)
    assert size.width <= max(d + 2, 4, outputs + 1)
    assert built.claim.bound <= 1e-2
    norms = {"grid": "sup", "probability": "probability"}
    assert built.claim.norm == norms.get(kind, "floats")
    assert (0 < built.claim.failure_probability <= 1e-30) == (kind == "probability")
    real = np.float32 if kind == "float32" else np.float64
    x = packed_cases.inputs(np.random.default_rng(0), recipe, 40, real)
    assert len(x) > 20
    assert not recipe.in_bad_set(x).any()
    assert worst(built, recipe.target, x) <= Fraction(built.claim.bound)


@pytest.mark.parametrize("seed", range(60))
def test_no_drawn_target_is_above_its_claim(seed):
    packed_cases.held(seed)


def test_the_promised_size():
    size = NarrowPacked(RandomNetwork(3, 8, 3, seed=0), 1e-2).architecture()
    assert size.parameters <= 4_100  # 10,849 in the first form
    assert size.depth <= 440
    assert size.width == 5


@pytest.mark.parametrize("sums", [True, False])
def test_the_order_of_hidden_fields_changes_no_count(sums):
    recipe = recipe_of(3, 5, 4, 6, 1.0)
    layout = Layout(("exact", "read", "tent" if sums else "exact"), sums)
    sizing = recipe.bounds.sizing(layout, Bits(12, (16, 30, 30, 44), (16, 14, 30)))
    assert any((np.diff(s) < 0).any() for s in sizing.s)  # not in order already
    widths = recipe.scaled.widths
    assert parameters(widths, sizing) == architecture(widths, sizing).parameters


def test_sizes_keep_no_matrix_of_what_was_looked_at():
    """Hundreds of points with rounded matrices of their own once took 40 times the target."""
    target = RandomNetwork(4, 96, 5, seed=0, initialisation="he")
    own = sum(matrix.nbytes for matrix in target.weights)
    tracemalloc.start()
    try:
        NarrowPacked(target, 1e-2).architecture()
        assert own < tracemalloc.get_traced_memory()[1] < 12 * own
    finally:
        tracemalloc.stop()


def test_what_is_known_of_a_target_goes_with_its_recipe():
    """At once, not when the collector of cycles happens to run."""
    recipe = recipe_of(3, 8, 3, 1, 1.0)
    recipe.build()
    known = weakref.ref(recipe.bounds)
    gc.disable()
    try:
        del recipe
        assert known() is None
    finally:
        gc.enable()


def test_terms_sum_to_the_certified_error():
    recipe = recipe_of(3, 8, 3, 1, 1.0)
    terms = recipe.claim.terms
    assert list(terms) == [
        "input quantisation", "weight rounding", "truncation", "final rounding to float64",
    ]  # fmt: skip
    assert min(terms.values()) > 0
    certified = math.ldexp(recipe.sizing.error, -recipe.scaled.outputs)
    assert sum(terms.values()) == pytest.approx(certified, rel=1e-9)
    assert recipe.claim.bound <= 1e-2


def test_the_bad_set_is_as_small_as_asked():
    for density in (None, 2.0):
        recipe = recipe_of(2, 4, 2, 1, 1.0, failure_probability=1e-25, density_bound=density)
        built = recipe.build()
        assert 1e-26 < built.claim.failure_probability <= 1e-25
        bad = []
        for axis in recipe.reading(recipe.sizing.bits.c).axes:
            middle = axis.border(axis.top // 2) - axis.tick / 2
            bad.append(middle)
        exact = exact_at(built.network, bad)
        truth = fraction_value(recipe.target, bad)
        assert abs(exact - truth) > 1e-2  # no float64, so `in_bad_set` cannot be asked
        free = [
            b - axis.tick
            for b, axis in zip(bad, recipe.reading(recipe.sizing.bits.c).axes, strict=True)
        ]
        assert abs(exact_at(built.network, free) - fraction_value(recipe.target, free)) <= 1e-2


def exact_at(found, x):
    """The network at fractions, by fractions."""
    values = list(x)
    for i, layer in enumerate(found.layers):
        rows = layer.expressions()
        values = [
            sum((w.fraction * (1 if c == BIAS else values[c]) for c, w in row.items()), Fraction(0))
            for row in rows
        ]
        if i < len(found.layers) - 1:
            values = [max(v, Fraction(0)) for v in values]
    return values[0]


def fraction_value(target, x):
    """The target at fractions."""
    values = list(x)
    for i, (matrix, bias) in enumerate(zip(target.weights, target.biases, strict=True)):
        rows = zip(matrix.tolist(), bias.tolist(), strict=True)
        values = [
            sum((Fraction(w) * v for w, v in zip(row, values, strict=True)), Fraction(b))
            for row, b in rows
        ]
        if i < len(target.weights) - 1:
            values = [max(v, Fraction(0)) for v in values]
    return values[0]


# --- floats of every kind


@pytest.mark.parametrize("kind", ["float64", "float32"])
def test_the_floats_beside_every_border_are_read_right(kind):
    real = {"float64": np.float64, "float32": np.float32}[kind]
    target = network([[[0.7], [-0.9]], [[1.0, -0.6]]], [[0.1, 0.2], [0.3]], lower=-0.6, upper=1.1)
    recipe = NarrowPacked(target, 0.02, inputs=kind)
    built, (axis,) = recipe.build(), packed_cases.axes(recipe)
    borders = [real(float(axis.border(k))) for k in range(1, axis.top + 1)]
    x = np.array([[v, np.nextafter(v, real(-9)), np.nextafter(v, real(9))] for v in borders], real)
    x = x.astype(float).reshape(-1, 1)
    assert len(x) > 150
    assert worst(built, target, x) <= Fraction(built.claim.bound)


def test_one_bit_of_one_border_is_caught():
    """A border moved down by half its tick has a float on its ramp, and a bit that is none."""
    target = chain()
    recipe = NarrowPacked(target, 2e-2)
    built, (axis,) = recipe.build(), packed_cases.axes(recipe)
    c = recipe.sizing.bits.c
    number = math.floor(-axis.first / axis.step)
    assert number % 2 == 1  # the last bit decides
    top = axis.border(number)
    assert Fraction(float(top - axis.tick)) == top - axis.tick
    x = np.array([[float(top - 2 * axis.tick)], [float(top - axis.tick)], [float(top)]])
    assert worst(built, target, x) <= Fraction(built.claim.bound)
    rows = built.network.layers[c - 1].expressions()
    for row in (1, 2):  # the ramps of the last bit: half of it is no whole number
        rows[row][BIAS] = rows[row][BIAS] + 0.5
    assert worst(
        dataclasses.replace(built, network=changed(built.network, c - 1, rows)), target, x
    ) > Fraction(2e-2)


def chain():
    """Two hidden layers, so that numbers must be whole, and odd weights, so that halves show."""
    first, second = [[0.7], [-0.7]], [[0.7, 0.3], [0.4, -0.7]]
    biases = [[2.0, 2.0], [0.5, 2.0], [0.0]]
    return network([first, second, [[1.0, -0.6]]], biases, lower=-1.0, upper=1.0)


def changed(found, at, rows):
    from depthwright.networks.exact.layer import Patterns

    layers = list(found.layers)
    layers[at] = Patterns().layer(layers[at].fan_in, rows)
    return dataclasses.replace(found, layers=tuple(layers))


# --- extremes


def test_a_row_of_norm_1e_175_beside_one_of_norm_1():
    target = network(
        [np.eye(2), np.diag([1, 1e-175]), [[0, 1e175]]], [[0, 0], [0, 0], [0]], radius=1.0
    )
    built = NarrowPacked(target, 1e-3).build()
    x = np.random.default_rng(0).uniform(-1, 1, (60, 2))
    assert worst(built, target, x) <= Fraction(built.claim.bound) <= Fraction(1e-3)


def test_a_grid_of_subnormal_steps():
    radius = 2.0**-664
    target = network([[[1e-110]], [[1e300]]], [[0.0], [0.0]], radius=radius)
    for step in (radius / 4, radius / 2**40):
        recipe = NarrowPacked(target, 1e-13, grid=step)
        x = -radius + step * np.arange(9.0)[:, None]
        built = recipe.build()
        assert worst(built, target, x) <= Fraction(built.claim.bound) <= Fraction(1e-13)


@pytest.mark.parametrize("weight", [1e-170, 1e-160, 1e170, 1e300])
def test_weights_whose_squares_leave_the_range(weight):
    target = network([[[weight]], [[1.0]]], [[0.25], [0.0]], radius=1 / weight)
    recipe = NarrowPacked(target, 1e-2)
    built = recipe.build()
    x = np.linspace(-1 / weight, 1 / weight, 301)[:, None]
    assert Fraction(built.claim.bound) / 2 < worst(built, target, x) <= Fraction(built.claim.bound)


@pytest.mark.parametrize("seed", range(12))
def test_exponents_of_every_size(seed):
    rng = np.random.default_rng(seed)
    widths = [2, 3, 3, 1]
    weights, scale = [], 0
    for a, b in pairwise(widths):
        matrix = rng.uniform(-1, 1, (b, a))
        row = rng.integers(-120, 120, b)
        weights.append(np.ldexp(matrix, row[:, None] - scale))
        scale = row[None, :]
    biases = [np.ldexp(rng.uniform(-1, 1, b), rng.integers(-300, -120, b)) for b in widths[1:]]
    target = network(weights, biases, radius=2.0 ** rng.integers(-200, 100))
    accuracy = max(target.magnitude * 1e-3, 1e-300)
    built = NarrowPacked(target, accuracy).build()
    x = packed_cases.inputs(rng, NarrowPacked(target, accuracy), 10)
    assert worst(built, target, x) <= Fraction(built.claim.bound) <= Fraction(accuracy)


def test_what_never_matters_is_left_out():
    weights = [[[1.0], [2.0], [-1.0]], [[1.0, 0.0, 1.0], [0.0, 0.0, -1.0]], [[1.0, 1.0]]]
    # neuron 2 is read by nothing, the second one of the next layer is never positive
    target = network(weights, [[0.0, 0.0, 0.5], [0.1, -0.1], [0.0]], radius=1.0)
    recipe = NarrowPacked(target, 1e-2)
    assert recipe.scaled.widths == (1, 2, 1, 1)
    x = np.linspace(-1, 1, 41)[:, None]
    assert worst(recipe.build(), target, x) <= Fraction(recipe.claim.bound)


def test_a_constant_target_is_its_constant():
    target = network(
        [[[1.0]], [[1.0], [1.0]], [[2.0, 1.0]]], [[-3.0], [0.1, -0.1], [0.25]], radius=1.0
    )
    built = NarrowPacked(target, 1e-2).build()
    assert built.network.architecture.depth == 1
    assert (
        worst(built, target, np.array([[-1.0], [0.3]]))
        <= Fraction(built.claim.bound)
        < Fraction(1, 10**15)
    )


# --- the whole numbers


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("fields", [{}, {"grid": 0.25}, {"long_gaps": True}], ids=str)
def test_the_network_is_the_integer_recursion(case, fields):
    recipe = recipe_of(*case, **fields)
    found = recipe.build().network
    x = packed_cases.inputs(np.random.default_rng(1), recipe, 25)
    slots = exact_values(found.layers, x)
    values = [[int(v) * Fraction(2) ** power for v in slot] for slot, power in slots]
    for row, value in zip(x.tolist(), zip(*values, strict=True), strict=True):
        wanted, noise = packed_cases.recursion(recipe, row)
        noise *= 1 + Fraction(1, 2**30)
        assert all(abs(a - b) <= noise for a, b in zip(value, wanted, strict=True))


def test_packing():
    rng = np.random.default_rng(0)
    for _ in range(60):
        n = int(rng.integers(1, 40))
        sizes = tuple(rng.integers(3, rng.choice([30, 62, 100]), n).tolist())
        values = [
            int(rng.integers(-(2 ** min(size - 1, 60)) + 1, 2 ** min(size - 1, 60)))
            for size in sizes
        ]
        wanted, place = 0, 0
        for value, size in zip(values[::-1], sizes[::-1], strict=True):
            wanted += value << place
            place += size
        assert pack(np.array(values), sizes) == wanted
        assert pack(np.array(values, dtype=object) * 2**90, sizes) == wanted << 90


@pytest.mark.parametrize(
    ("layout", "bits", "term"),
    [
        (Layout(("tent",), True), Bits(3, (24, 24), (24,)), "input quantisation"),
        (Layout(("read",), False), Bits(16, (20, 30), (2,)), "truncation"),
        (Layout(("direct",), False), Bits(16, (40, 43), (40,)), "weight rounding"),
    ],
)
def test_each_term_is_nearly_attained(layout, bits, term):
    # 0.4 × 8 rounds to 3, two fifths of the worst rounding there is
    target = network([[[1.0]], [[0.4]]], [[0.0], [0.0]], radius=1.0)
    recipe = NarrowPacked(target, 1e-2)
    recipe.__dict__["sizing"] = recipe.bounds.sizing(layout, bits)
    certified = Fraction(recipe.sizing.error) / 2**recipe.scaled.outputs
    assert recipe.claim.terms[term] >= 0.5 * certified
    x = np.random.default_rng(0).uniform(-1, 1, (3000, 1))
    assert 0.3 * certified <= worst(recipe.build(), target, x) <= certified


# --- files, another evaluator


def test_the_independent_evaluator_agrees(tmp_path):
    recipe = recipe_of(3, 4, 3, 2, 1.0)
    found = recipe.build().network
    found.save(tmp_path / "n.jsonl.gz")
    x = packed_cases.inputs(np.random.default_rng(0), recipe, 5)
    values = found.evaluate(torch.from_numpy(x))
    for row, value in zip(x, values, strict=True):
        wanted = independent.evaluate(tmp_path / "n.jsonl.gz", row.tolist())
        assert value.tolist() == [float(v) for v in wanted]
    again = load(tmp_path / "n.jsonl.gz")
    assert torch.equal(again.evaluate(torch.from_numpy(x)), values)


# --- negative controls


@pytest.fixture(scope="module")
def healthy():
    recipe = recipe_of(3, 4, 3, 1, 1.0)
    x = packed_cases.inputs(np.random.default_rng(2), recipe, 60)
    built = recipe.build()
    assert worst(built, recipe.target, x) <= Fraction(built.claim.bound)
    return recipe, built, x


def broken_worst(healthy, layers):
    recipe, built, x = healthy
    found = dataclasses.replace(built.network, layers=tuple(layers))
    return worst(dataclasses.replace(built, network=found), recipe.target, x)


def test_one_bit_of_one_weight_is_caught(healthy):
    recipe, built, _ = healthy
    layers = list(built.network.layers)
    longest = max(range(len(layers)), key=lambda i: max(map(int.bit_length, layers[i].integers)))
    layer = layers[longest]
    term = max(range(len(layer.integers)), key=lambda t: layer.integers[t].bit_length())
    integers = list(layer.integers)
    assert integers[term].bit_length() > 2 * int(recipe.sizing.s[0].max())  # a packed column
    integers[term] ^= 1 << integers[term].bit_length() - 3
    layers[longest] = dataclasses.replace(layer, integers=tuple(integers))
    assert broken_worst(healthy, layers) > Fraction(1e-2)


def test_a_dropped_layer_is_caught(healthy):
    recipe, built, _ = healthy
    layers = built.network.layers
    c = recipe.sizing.bits.c
    for at in (2, c + 1, 2 * c + 1, len(layers) // 2, len(layers) - 5):
        if layers[at].fan_in == layers[at].fan_out:
            assert broken_worst(healthy, layers[:at] + layers[at + 1 :]) > Fraction(1e-2), at


@pytest.mark.parametrize("level", [0, 1])
def test_fields_that_are_too_short_are_caught(level):
    recipe = recipe_of(3, 4, 3, 1, 1.0)
    recipe.__dict__["sizing"] = recipe.bounds.sizing(
        Layout(("exact", "tent"), True), Bits(14, (14, 30, 30), (14, 30))
    )
    x = packed_cases.inputs(np.random.default_rng(2), recipe, 60)
    assert worst(recipe.build(), recipe.target, x) <= Fraction(1e-2)
    s = list(recipe.sizing.s)
    s[level] = s[level] - 3
    recipe.__dict__["sizing"] = dataclasses.replace(recipe.sizing, s=tuple(s))
    assert worst(recipe.build(), recipe.target, x) > Fraction(1e-2)


def test_an_input_test_of_half_the_slope_is_caught():
    target = chain()
    recipe = NarrowPacked(target, 2e-2)
    axis = packed_cases.axes(recipe)[0]
    flat = dataclasses.replace(axis, slope_bits=axis.slope_bits - 40)
    assert isinstance(flat, Cells)
    border = axis.border(2 ** (recipe.sizing.bits.c - 1))
    x = np.array([[float(border - axis.tick * 2**k)] for k in range(39)])
    assert worst(recipe.build(), target, x) <= Fraction(2e-2)
    object.__setattr__(
        recipe,
        "reading",
        lambda *_: dataclasses.replace(
            NarrowPacked.reading(recipe, recipe.sizing.bits.c), axes=(flat,)
        ),
    )
    assert worst(recipe.build(), target, x) > Fraction(2e-2)


# --- refusals


def test_bad_input_is_refused(monkeypatch):
    target = RandomNetwork(3, 8, 3)
    with pytest.raises(Refusal, match="failure_probability=2"):
        NarrowPacked(target, 1e-2, 2)
    with pytest.raises(Refusal, match="accuracy=0"):
        NarrowPacked(target, 0, 0.1)
    with pytest.raises(Refusal, match="grid=-1"):
        NarrowPacked(target, 1e-2, grid=-1)
    with pytest.raises(Refusal, match="inputs='float16'"):
        NarrowPacked(target, 1e-2, inputs="float16")
    with pytest.raises(Refusal, match="not a ReLU network"):
        NarrowPacked(Cone(3), 1e-2)
    with pytest.raises(Refusal, match="below the rounding of the result"):
        NarrowPacked(target, 1e-15).architecture()
    found = NarrowPacked(target, 1e-2).build().network
    x = torch.zeros(1, 3, dtype=torch.float64)
    with pytest.raises(Refusal, match="bits and float64 holds 53"):
        found.evaluate(x, "float64")
    monkeypatch.setattr("depthwright.constructions.hypotheses.DEPTH_LIMIT", 100)
    with pytest.raises(Refusal, match="no more than 100 are built"):
        NarrowPacked(target, 1e-2).build()


@pytest.mark.parametrize("scale", [-300, -60, 60])
def test_long_gaps_where_outputs_are_far_from_1(scale):
    """Gaps were once as long as the outputs' exponent says, which may be negative."""
    weights = [np.eye(2), [[1.0, -0.5], [0.3, 1.0]], [[0.7, 0.2], [0.1, -1.0]], [[1.0, -1.0]]]
    biases = [np.zeros(2), np.array([0.25, 0.5]), np.zeros(2), np.zeros(1)]
    weights[-1] = np.ldexp(weights[-1], scale)
    target = network(weights, biases, radius=1.0)
    for wanted in (0.4, 1e-3, 1e-9):
        recipe = NarrowPacked(target, math.ldexp(wanted, scale), long_gaps=True)
        built = recipe.build()
        x = packed_cases.inputs(np.random.default_rng(0), recipe, 12)
        assert worst(built, target, x) <= Fraction(built.claim.bound)


def test_long_gaps_are_built_up_to_a_stated_length():
    target = RandomNetwork(8, 390, 3, seed=0, initialisation="he")
    recipe = NarrowPacked(target, 1e-2, long_gaps=True)
    wide = sum((a + 1) * b for a, b in pairwise(target.widths))
    assert recipe.sizing.layout.ways == ("tent", "tent")
    assert recipe.architecture().parameters < wide  # sizes have no limit
    with pytest.raises(Refusal, match=r"would have 6,\d{3},\d{3} binary digits, .* 2,000,000 are"):
        recipe.build()
    smaller = NarrowPacked(RandomNetwork(8, 40, 3, initialisation="he"), 1e-2, long_gaps=True)
    built = smaller.build()
    assert built.network.architecture == smaller.architecture()
    x = packed_cases.inputs(np.random.default_rng(0), smaller, 3)
    assert worst(built, smaller.target, x) <= Fraction(built.claim.bound)
