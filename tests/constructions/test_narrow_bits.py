import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
import torch

import independent
from bits_oracle import disagreements, errors, recursion, truth, uniform
from depthwright.constructions import NarrowBits, NarrowMinimal, NarrowPacked
from depthwright.constructions.bits.budget import Budget, check_fields, integers, printed, residual
from depthwright.constructions.construction import Claim
from depthwright.constructions.narrow_bits import bits_architecture
from depthwright.errors import exceedance
from depthwright.networks.exact.floats import PrecisionLoss
from depthwright.networks.exact.layer import Patterns
from depthwright.networks.exact.network import ExactNetwork
from depthwright.refusal import Refusal
from depthwright.targets import Cone, Network, RandomNetwork

BOTH = pytest.mark.parametrize("kind", [NarrowBits, NarrowMinimal])


def good_points(recipe, count, seed=0):
    x = uniform(recipe.target, count, seed)
    return x[~recipe.in_bad_set(x)]


CASES = [
    (1, 3, 2, 1, 1.0), (2, 4, 2, 1, 1.0), (3, 3, 3, 1, 2.7),
    (2, 3, 2, 3, 0.3), (4, 2, 3, 2, 1.0), (8, 2, 2, 1, 1.0),
]  # fmt: skip


@BOTH
@pytest.mark.parametrize(("d", "n", "depth", "outputs", "radius"), CASES)
def test_claims_hold(kind, d, n, depth, outputs, radius):
    target = RandomNetwork(d, n, depth, seed=4, radius=radius, output_dim=outputs)
    recipe = kind(target, 1e-2, 5e-2)
    built = recipe.build()
    size = built.network.architecture
    assert size == recipe.architecture()
    rest = max(10, 6 + 2 * outputs)
    assert size.width == max(5 * d if kind is NarrowBits else d + 2, rest)
    assert built.claim.norm == "probability"
    assert built.claim.bound <= 1e-2
    assert 0 < built.claim.failure_probability <= 5e-2
    x = uniform(target, 40)
    good = ~recipe.in_bad_set(x)
    # four standard errors of a share of 40 points, at most 5e-2 expected
    assert (~good).mean() <= 5e-2 + 4 * math.sqrt(5e-2 * 0.95 / 40)
    assert errors(built.network, target, x[good]).max() <= built.claim.bound
    assert disagreements(built.network, recipe, x[good]) == 0


@BOTH
def test_exceedance_is_consistent_with_delta(kind):
    target = RandomNetwork(2, 2, 2, seed=0)
    delta = 0.2
    recipe = kind(target, 5e-2, delta)
    x = uniform(target, 500, seed=1)
    error = errors(recipe.build().network, target, x)
    measured = exceedance(error, 5e-2)
    assert measured.lower <= delta
    bad = recipe.in_bad_set(x)
    assert error[~bad].max() <= 5e-2
    assert exceedance(bad.astype(float), 0.5).lower <= float(recipe.bad_set_probability) <= delta
    # the predicate is the truth: about that many points are bad, and bad ones are wrong
    assert bad.mean() >= float(recipe.bad_set_probability) - 4 * math.sqrt(delta / 500)
    assert error[bad].max() > 5e-2


def test_failures_lie_just_below_dyadic_points():
    target = RandomNetwork(2, 3, 2, seed=1)
    recipe = NarrowBits(target, 1e-2, 1e-2)
    network = recipe.build().network
    gap, c0 = recipe.gap, recipe.budget.c0
    assert 4 * 2.0 ** (c0 - gap) <= 1e-2 < 8 * 2.0 ** (c0 - gap)  # d·2^{c0}·2τ ≤ δ
    bad = np.array([[-(2.0 ** -(gap - 1)), 0.3], [0.3, -(2.0**-gap)], [1.0, 0.3]])
    edge = np.array([[-(2.0 ** -(gap - 2)), 0.3], [0.0, 0.3], [-1.0, -1.0]])
    assert recipe.in_bad_set(bad).all()
    assert not recipe.in_bad_set(edge).any()
    assert disagreements(network, recipe, bad) == 3
    assert disagreements(network, recipe, edge) == 0
    assert errors(network, target, edge).max() <= 1e-2


# --- c0 and c


@BOTH
def test_certified_bits_are_the_fewest(kind):
    recipe = kind(RandomNetwork(3, 8, 3, seed=0), 1e-2, 1e-2)
    budget, intervals = recipe.budget, recipe.intervals
    assert sum(intervals.terms(budget.c0).values()) <= 1e-2
    assert sum(intervals.terms(budget.c0 - 1).values()) > 1e-2
    maps = list(integers(recipe.target, recipe.reading, budget.c0))
    check_fields(maps, recipe.reading, budget)
    with pytest.raises(AssertionError, match="its field has"):
        check_fields(maps, recipe.reading, Budget(budget.c0, budget.c - 1))


def test_terms_bound_the_recursion():
    """The certified error holds for coarse networks, too, where rounding is all there is."""
    target = RandomNetwork(3, 5, 3, seed=3)
    recipe = NarrowBits(target, 1e-2, 1e-2)
    x = uniform(target, 60)
    for c0 in (3, 5, 8):
        recipe.__dict__["budget"] = Budget(c0, recipe.intervals.fields(c0))
        got = np.array([[float(v) for v in recursion(recipe, row)] for row in x.tolist()])
        bound = sum(recipe.intervals.terms(c0).values())
        worst = np.abs(got - truth(target, x)).max()
        assert bound / 40 < worst <= bound


@pytest.mark.parametrize(
    ("first", "second", "source"),
    [
        (1.0, 1.0, "input quantisation"),
        (2.0**-6, 1.0, "truncation"),
        (2.0**-9 * 0.999, 1.0, "weight rounding"),
        (1.0, 0.5 + 2.0**-8 * 0.999, "weight rounding"),
    ],
)
def test_each_term_is_attained(first, second, source):
    """x ↦ second·σ(first·x + 1), where one source of error is nearly all there is."""
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.ReLU(), torch.nn.Linear(1, 1))
    for parameter, value in zip(model.parameters(), (first, 1.0, second, 0.0), strict=True):
        torch.nn.init.constant_(parameter, value)
    target = Network(model.double())
    recipe = NarrowBits(target, 1e-1, 1e-2)
    terms = recipe.intervals.terms(8)
    recipe.__dict__["budget"] = Budget(8, 30)
    x = np.concatenate([uniform(target, 400), [[1 - 2.0**-20], [-1.0]]])
    got = np.array([[float(v) for v in recursion(recipe, row)] for row in x.tolist()])
    error = np.abs(got - truth(target, x))
    assert error.max() <= sum(terms.values())
    if source == "input quantisation":
        assert terms[source] * 0.95 < error.max()
    if source == "truncation":
        assert terms[source] * 0.9 < error.max() < 3 * terms[source]
    if source == "weight rounding":
        assert terms[source] > 2.0**-10
        x = np.array([[1 - 2.0**-7 * 1.001 if first == 1.0 else -1.0], [-1.0]])  # X exact
        x[0] = (math.floor((x[0, 0] + 1) * 128) / 128) - 1 if first == 1.0 else -1.0
        got = np.array([[float(v) for v in recursion(recipe, row)] for row in x.tolist()])
        assert terms[source] * 0.95 < np.abs(got - truth(target, x)).max()


def test_residuals_are_exact():
    size = np.abs(np.random.default_rng(0).standard_normal((4, 5)))
    size[0, 0], size[1, 1], size[2, 2] = 3.0, 2.0**-60, 1e300
    size[3, 3], size[3, 4] = 5e-324, 1e-300
    for c0 in (-1020, -3, 1, 10, 60, 900, 2000):
        for value, rest in zip(size.ravel().tolist(), residual(size, -c0).ravel(), strict=True):
            scaled = Fraction(value) * Fraction(2) ** c0
            assert Fraction(rest) == (scaled - math.floor(scaled)) / Fraction(2) ** c0


def test_printed_bits():
    target = RandomNetwork(2, 3, 2, seed=0)
    recipe = NarrowBits(target, 1e-1, 1e-2, bits="paper")
    b = max(float(np.abs(a).max()) for a in (*target.weights, *target.biases))
    assert b < 1  # the printed constants count B as 1 then
    c0 = math.ceil(4 * math.log2(5 * 3 * 2 / 1e-1))
    assert recipe.budget == Budget(c0, 2 * c0 + 2 + math.ceil(2 * math.log2(4)))
    built = recipe.build()
    assert built.network.architecture == recipe.architecture()
    assert built.claim.bound <= 1e-1 / 1e6
    x = good_points(recipe, 25)
    assert errors(built.network, target, x).max() <= built.claim.bound
    assert disagreements(built.network, recipe, x) == 0


def chain(*maps, radius):
    """Matrices and biases as a target."""
    state = {}
    for i, (matrix, bias) in enumerate(maps):
        state[f"{2 * i}.weight"] = torch.tensor(matrix, dtype=torch.float64)
        state[f"{2 * i}.bias"] = torch.tensor(bias, dtype=torch.float64)
    return Network(state, radius=radius)


@BOTH
@pytest.mark.parametrize(
    ("target", "accuracy"),
    [
        # a row far below its neighbour, brought back by the last map
        (
            chain(
                ([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]),
                ([[1.0, 0.0], [0.0, 1e-175]], [0.0, 0.0]),
                ([[0.0, 1e175]], [0.0]),
                radius=1.0,
            ),
            1e-3,
        ),
        # sums between the maps above every float
        (chain(([[1e200]], [0.0]), ([[1e-300]], [0.0]), radius=1e180), 1e82),
        # a product of weights below every float
        (chain(([[1e-200]], [0.0]), ([[1e-200]], [3e-300]), ([[1e300]], [0.0]), radius=1e100), 0.1),
    ],
    ids=["small row", "huge sums", "tiny products"],
)
def test_claims_hold_at_the_ends_of_the_range(kind, target, accuracy):
    recipe = kind(target, accuracy, 1e-2)
    assert recipe.claim.bound <= accuracy
    for row in good_points(recipe, 20).tolist():
        wanted = independent.network_value(target.weights, target.biases, np.array(row))
        error = abs(recursion(recipe, row)[0] - wanted[0])
        assert error <= Fraction(recipe.claim.bound)


def test_a_weight_below_every_float_in_units_of_the_cells_is_counted():
    """All of it is lost, and what is lost comes back times 1e616."""
    maps = ([[1e-300]], [0.0]), ([[1e308]], [0.0]), ([[1e308]], [0.0])
    recipe = NarrowBits(chain(*maps, radius=2.0**-1014), 0.03, 1e-2)
    lost = Fraction(1e-300) * Fraction(1e308) ** 2 / 2**1014
    assert lost <= Fraction(recipe.intervals.terms(1000)["weight rounding"])
    with pytest.raises(Refusal, match="more than 1000 bits"):
        recipe.architecture()


def test_printed_bits_of_the_largest_weights():
    """5ABnd/ε and (n + 1)B are beyond float64; the logarithms are not."""
    budget = printed(1e308, 1e308, 3, 2, 2, 1e-300)
    assert budget.c0 == math.ceil(4 * (math.log2(5 * 3 * 2) + 916 * math.log2(10)))


def test_a_claim_of_finite_terms_may_be_infinite():
    assert Claim(1.0, "sup", "", {"one": 1.7e308, "another": 1.7e308}).bound == math.inf


def test_the_size_of_the_issue():
    target = RandomNetwork(3, 8, 3, seed=0)
    paper = NarrowBits(target, 1e-2, 1e-2, bits="paper").architecture()
    assert printed(1, 1, 8, 3, 3, 1e-2) == Budget(82, 177)
    assert (paper.depth, paper.parameters, paper.width) == (20_024, 1_969_552, 15)
    certified = NarrowBits(target, 1e-2, 1e-2).architecture()
    assert certified.parameters < paper.parameters / 4


def test_printed_bits_for_a_small_cube_need_the_repair():
    """With A < 1 the printed c is too short for the biases."""
    target = RandomNetwork(2, 4, 2, seed=0, radius=1e-3)
    recipe = NarrowBits(target, 1e-2, 1e-2, bits="paper")
    c0 = recipe.budget.c0
    literal = 2 * c0 + math.ceil(math.log2(4e-3)) + math.ceil(2 * math.log2(5))
    maps = list(integers(target, recipe.reading, c0))
    with pytest.raises(AssertionError, match="its field has"):
        check_fields(maps, recipe.reading, Budget(c0, literal))
    check_fields(maps, recipe.reading, recipe.budget)


@pytest.mark.parametrize("bound", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("radius", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("accuracy", [1e-3, 20.0])
def test_printed_bits_are_enough(bound, radius, accuracy):
    for d, n, depth in [(1, 1, 2), (4, 2, 3), (3, 8, 3)]:
        target = RandomNetwork(d, n, depth, seed=2, weight_bound=bound, radius=radius)
        recipe = NarrowBits(target, accuracy, 1e-2, bits="paper")
        assert recipe.claim.bound <= accuracy
        maps = list(integers(target, recipe.reading, recipe.budget.c0))
        check_fields(maps, recipe.reading, recipe.budget)


def test_sizes_beyond_memory_come_at_once():
    budget = printed(1, 1, 10**6, 8, 3, 1e-2)
    size = bits_architecture((8, 10**6, 10**6, 1), budget, [])
    assert size.depth > 10**12 * budget.c


# --- inputs


@BOTH
@pytest.mark.parametrize(
    ("d", "grid", "radius"), [(2, 0.25, 1.0), (3, 0.375, 3.0), (1, 2.0**-30, 1.0)]
)
def test_every_grid_point_is_good(kind, d, grid, radius):
    target = RandomNetwork(d, 3, 2, seed=2, radius=radius)
    recipe = kind(target, 1e-2, grid=grid)
    built = recipe.build()
    assert built.network.architecture == recipe.architecture()
    assert (built.claim.norm, built.claim.failure_probability) == ("sup", 0.0)
    steps = int(2 * radius / grid)
    rng = np.random.default_rng(0)
    x = rng.integers(0, steps + 1, (60, d)) * grid - radius
    x[0], x[1] = radius, -radius
    x[2] = -grid if radius % grid == 0 else x[2]  # just below a carry of every bit
    cell = Fraction(1, 2**recipe.budget.c0) / recipe.digits[0].scale
    if cell > grid:
        x[3] = -radius + grid * (
            math.ceil(cell / Fraction(grid)) - 1
        )  # just below the first cell's end
    assert errors(built.network, target, x).max() <= built.claim.bound
    assert disagreements(built.network, recipe, x) == 0


def test_networks_of_the_user():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2, bias=False)
    )
    target = Network(model)
    recipe = NarrowMinimal(target, 1e-2, 1e-2)
    x = good_points(recipe, 30)
    assert errors(recipe.build().network, target, x).max() <= 1e-2


def test_a_target_that_is_never_positive_inside():
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.ReLU(), torch.nn.Linear(1, 1))
    for parameter, value in zip(model.parameters(), (1.0, -5.0, 1.0, 0.25), strict=True):
        torch.nn.init.constant_(parameter, value)
    recipe = NarrowBits(Network(model), 1e-2, 1e-2)
    assert recipe.intervals.exponent(8) is None
    assert recipe.build().network.evaluate(torch.tensor([[0.3]])).item() == 0.25


def test_the_independent_evaluator_agrees(tmp_path):
    target = RandomNetwork(2, 2, 2, seed=0)
    network = NarrowBits(target, 1e-1, 1e-1).build().network
    network.save(tmp_path / "n.jsonl.gz")
    x = uniform(target, 3)
    x[0] = [-1e-9, 0.3]  # a bad point: still the same function
    for row, value in zip(x, network.evaluate(torch.from_numpy(x)), strict=True):
        wanted = independent.evaluate(tmp_path / "n.jsonl.gz", row.tolist())
        assert value.tolist() == [float(v) for v in wanted]


# --- refusals


@BOTH
def test_inputs_outside_the_cube_are_refused(kind):
    network = kind(RandomNetwork(2, 2, 2, seed=0, radius=0.5), 1e-1, 1e-1).build().network
    with pytest.raises(Refusal, match="row 1 of the inputs"):
        network.evaluate(torch.tensor([[0.5, 0.0], [0.0, 0.75]], dtype=torch.float64))


@BOTH
def test_float64_is_refused_and_wrong(kind):
    target = RandomNetwork(2, 4, 2, seed=0)
    recipe = kind(target, 1e-2, 1e-2)
    network = recipe.build().network
    x = torch.from_numpy(good_points(recipe, 20))
    bits = 4 * recipe.budget.c + 2
    assert network.value_bits == bits
    with pytest.raises(Refusal, match=f"need {bits} bits and float64 holds 53"):
        network.evaluate(x, "float64")
    with pytest.warns(PrecisionLoss, match="53"):
        wrong = network.evaluate(x, "float64", rounding=True)
    assert np.abs(wrong.numpy() - truth(target, x.numpy())).max() > 1e-2


@BOTH
def test_bad_hypotheses_are_refused(kind):
    target = RandomNetwork(2, 4, 2, seed=0)
    with pytest.raises(Refusal, match="Cone is not a ReLU network"):
        kind(Cone(3), 1e-2, 1e-2)
    with pytest.raises(Refusal, match="depth 1"):
        kind(RandomNetwork(2, 4, 1), 1e-2, 1e-2)
    with pytest.raises(Refusal, match="accuracy=0"):
        kind(target, 0, 1e-2)
    with pytest.raises(Refusal, match="not in \\[0, 1\\)"):
        kind(target, 1e-2, 1.0)
    with pytest.raises(Refusal, match="unknown; choose one of certified, paper"):
        kind(target, 1e-2, 1e-2, bits="few")
    with pytest.raises(Refusal, match="below the rounding"):
        kind(target, 1e-17, 1e-2).architecture()
    with pytest.raises(Refusal, match="not 1e-16, for this target"):
        kind(target, 1e-16, 1e-2, bits="paper").build()
    with pytest.raises(Refusal, match="layers, and no more than"):
        kind(RandomNetwork(3, 300, 3), 1e-2, 1e-2, bits="paper").build()


# --- negative controls


@pytest.fixture(scope="module")
def healthy():
    recipe = NarrowBits(RandomNetwork(2, 3, 2, seed=0), 1e-2, 1e-2)
    x = good_points(recipe, 60)
    network = recipe.build().network
    assert errors(network, recipe.target, x).max() <= 1e-2
    return recipe, network, x


def test_one_bit_of_one_weight_is_caught(healthy):
    recipe, network, x = healthy
    c0, c = recipe.budget.c0, recipe.budget.c
    at = 2 * c0 + c + 1  # adds the first field, times its weight, to a sum
    weight = abs(int(recipe.target.weights[0][0][0] * 2 * 2**c0))  # κ = 1/2
    assert recipe.digits[0].scale == 0.5
    integers = list(network.layers[at].integers)
    odd = weight >> (weight & -weight).bit_length() - 1
    changed = [i for i, v in enumerate(integers) if v == odd]
    assert len(changed) == 2  # of the field so far, and of its last bit
    integers[changed[0]] ^= 1 << integers[changed[0]].bit_length() - 2
    assert errors(_with(network, at, integers=tuple(integers)), recipe.target, x).max() > 1e-2


def _with(network, at, **fields):
    layers = list(network.layers)
    layers[at] = dataclasses.replace(layers[at], **fields)
    return dataclasses.replace(network, layers=tuple(layers))


def test_a_dropped_layer_is_caught(healthy):
    recipe, network, x = healthy
    shapes = [(part.fan_in, part.fan_out) for part in network.layers]
    start = 2 * recipe.budget.c0
    for at in (start + 2, shapes.index((6, 6)) + 3, shapes.index((8, 8)) + 3):
        assert shapes[at][0] == shapes[at][1]
        layers = network.layers[:at] + network.layers[at + 1 :]
        assert errors(ExactNetwork(layers), recipe.target, x).max() > 1e-2


@pytest.mark.parametrize("stage", ["encoder", "neuron", "truncation"])
def test_half_the_slope_of_one_bit_test_is_caught(healthy, stage):
    recipe, network, x = healthy
    c0, c = recipe.budget.c0, recipe.budget.c
    passes = 2 * c0 + 3 * (2 * c + 2)
    # the layer that adds the bit: row and column of the value so far and of the bit
    at, row, column = {
        "encoder": (2 * 2, 0, 3),
        "neuron": (2 * c0 + (c - c0) + 3, 5, 4),
        "truncation": (passes + 5, 5, 4),
    }[stage]
    rows = network.layers[at].expressions()
    rows[row][column] = rows[row][column] >> 1
    layers = list(network.layers)
    layers[at] = Patterns().layer(layers[at].fan_in, rows)
    bad = dataclasses.replace(network, layers=tuple(layers))
    assert errors(bad, recipe.target, x).max() > 1e-2


@pytest.mark.parametrize("kind", [NarrowPacked, NarrowBits, NarrowMinimal])
@pytest.mark.parametrize(
    "fields", [{"weight_bound": 1e60, "depth": 12}, {"radius": 1e308, "weight_bound": 5.0}]
)
def test_values_beyond_floats_are_refused(kind, fields):
    with pytest.raises(Refusal, match="largest float64"):
        kind(RandomNetwork(2, 3, **fields), accuracy=0.1, grid=2.0**-10).architecture()


@pytest.mark.parametrize("kind", [NarrowPacked, NarrowBits, NarrowMinimal])
@pytest.mark.parametrize("weight_bound", [1e10, 1e20])
def test_an_accuracy_below_the_rounding_is_refused(kind, weight_bound):
    target = RandomNetwork(2, 3, 12, weight_bound=weight_bound)
    with pytest.raises(Refusal, match=r"below the rounding of .*give a larger accuracy"):
        kind(target, accuracy=0.1, grid=2.0**-10).architecture()
