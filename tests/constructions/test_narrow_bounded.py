import dataclasses
from fractions import Fraction

import numpy as np
import pytest
import torch

import independent
from depthwright.constructions import NarrowBounded, NarrowPacked
from depthwright.constructions.narrow_bounded import (
    EXACT,
    PROBABLE,
    at_most,
    by_neuron,
    doubled,
)
from depthwright.constructions.weight_bounds import gain_exponent, weight_exponent
from depthwright.networks import Builder, Dyadic
from depthwright.networks.exact.integers import exact_values
from depthwright.networks.exact.network import ExactNetwork
from depthwright.refusal import Refusal
from depthwright.targets import Cone, Network, RandomNetwork

INNER = pytest.mark.parametrize("inner", sorted({**EXACT, **PROBABLE}))
SCALING = pytest.mark.parametrize("scaling", ["layer", "neuron"])
TARGET = RandomNetwork(2, 2, 2, seed=0, weight_bound=3.0)


def bounded(target=TARGET, accuracy=0.2, delta=0.1, **fields):
    return NarrowBounded(target, accuracy, delta, **fields)


def uniform(target, count):
    shape = (count, target.input_dim)
    return torch.from_numpy(np.random.default_rng(0).uniform(-target.radius, target.radius, shape))


def fractions(network, x):
    slots = exact_values(network.layers, x.numpy())
    return [[int(v) * Fraction(2) ** power for v in values] for values, power in slots]


def entries(network):
    return [value.fraction for layer in set(network.layers) for _, _, value in layer.entries()]


def wrong_at(network, inner, x):
    """At how many points the values differ, exactly."""
    pairs = zip(fractions(network, x), fractions(inner, x), strict=True)
    return sum(a != b for one, other in pairs for a, b in zip(one, other, strict=True))


@INNER
@SCALING
def test_equal_values_and_no_weight_above_two(inner, scaling):
    recipe = bounded(inner=inner, scaling=scaling)
    built, plain = recipe.build(), recipe.construction.build()
    assert built.network.architecture == recipe.architecture()
    assert max(map(abs, entries(plain.network))) > 2
    assert 1 <= max(map(abs, entries(built.network))) <= 2
    assert wrong_at(built.network, plain.network, uniform(TARGET, 12)) == 0
    assert built.claim == plain.claim
    size = plain.network.architecture
    assert built.network.architecture.width == size.width
    assert built.network.architecture.depth == size.depth + recipe.doublings
    assert recipe.doublings > 0 or scaling == "neuron"


@INNER
@pytest.mark.parametrize(
    "target",
    [
        RandomNetwork(1, 3, 3, seed=1, weight_bound=0.01, radius=50.0),
        RandomNetwork(9, 2, 2, seed=2, radius=0.01, output_dim=3),
        RandomNetwork(3, 4, 2, seed=3, weight_bound=100.0),
        RandomNetwork(2, 6, 3, seed=4),
    ],
    ids=["small weights", "wide input", "large weights", "plain"],
)
@pytest.mark.parametrize("delta", [0.3, 1e-9])
def test_the_formula_bounds_every_weight(inner, target, delta):
    recipe = bounded(target, delta=delta, inner=inner)
    network = recipe.construction.build().network
    found = max(at_most(value) for layer in network.layers for _, _, value in layer.entries())
    exponent = weight_exponent(recipe.construction)
    assert found <= exponent <= 2 * max(found, 8)  # enough, and of the right size
    gain, found = gain_exponent(recipe.construction), max(by_neuron(network)[1])
    assert found <= gain <= 3 * max(found, 60)


@INNER
def test_the_formula_bounds_every_weight_on_a_grid(inner):
    recipe = bounded(delta=0.0, inner=inner, grid=2.0**-20)
    network = recipe.construction.build().network
    found = max(at_most(value) for layer in network.layers for _, _, value in layer.entries())
    assert found <= weight_exponent(recipe.construction)
    assert max(by_neuron(network)[1]) <= gain_exponent(recipe.construction)


def test_small_weights_are_left_alone():
    target = RandomNetwork(2, 3, 3, seed=0)
    recipe = NarrowBounded(target, inner="narrow_exact")
    assert recipe.doublings == 0
    assert recipe.architecture() == recipe.construction.architecture()


def test_a_scale_per_neuron_costs_few_layers():
    target = RandomNetwork(3, 8, 3, seed=0)
    depths = {
        scaling: bounded(target, 1e-2, 1e-2, inner="narrow_bits", scaling=scaling)
        .architecture()
        .depth
        for scaling in ("layer", "neuron")
    }
    inner = bounded(target, 1e-2, 1e-2, inner="narrow_bits").construction
    size, c = inner.architecture(), inner.budget.c
    assert depths["layer"] > 200 * size.depth
    assert depths["neuron"] <= size.depth + 9 * c  # n·c and a little


@pytest.mark.slow
def test_a_hundred_thousand_layers_evaluate():
    target = RandomNetwork(3, 26, 3, seed=0)
    recipe = bounded(target, 1e-2, 1e-2)
    assert recipe.architecture().depth > 100_000
    built = recipe.build()
    x = uniform(target, 8)
    x = x[~recipe.construction.in_bad_set(x.numpy())]
    values = built.network.evaluate(x)
    truth = [independent.network_value(target.weights, target.biases, row) for row in x.tolist()]
    error = np.abs(values.numpy() - np.array([[float(v) for v in row] for row in truth]))
    assert error.max() <= 1e-2


def test_at_most():
    for value, exponent in [(1, 0), (2, 1), (3, 2), (-4, 2), (0.75, 0), (0.5, -1)]:
        assert at_most(Dyadic.of(value)) == exponent
    assert at_most(Dyadic(1, 200) + 1) == 201
    assert at_most(Dyadic(1, 200) - 1) in (200, 201)


def test_doublings_alone():
    builder = Builder(1)
    x = builder.values[0]
    network = builder.output([x * 5 - 1, x, -x])
    layers, scales = by_neuron(network)
    assert scales == [2, 0, 0]
    doubles = ExactNetwork(tuple(doubled(layers, scales, 2)))
    assert doubles.architecture.depth == 3
    assert doubles.architecture.widths == (1, 6, 6, 3)
    x = torch.tensor([[-3.0], [0.25], [7.0]], dtype=torch.float64)
    assert torch.equal(doubles.evaluate(x), network.evaluate(x))


def test_the_independent_evaluator_agrees(tmp_path):
    built = bounded(inner="narrow_packed", scaling="neuron").build()
    built.network.save(tmp_path / "n.jsonl.gz")
    x = uniform(TARGET, 3)
    for row, value in zip(x, built.network.evaluate(x), strict=True):
        wanted = independent.evaluate(tmp_path / "n.jsonl.gz", row.tolist())
        assert value.tolist() == [float(v) for v in wanted]


def test_a_density_bound_is_that_of_the_inner_construction():
    """Corollary 3 is for any law of density at most β."""
    inner, recipe = (
        kind(TARGET, 0.1, 0.1, density_bound=2.0) for kind in (NarrowPacked, NarrowBounded)
    )
    assert recipe.density_bound == 2.0
    assert recipe.construction.claim == inner.claim
    assert inner.claim.density_bound == 2.0


# --- refusals


def test_bad_hypotheses_are_refused():
    with pytest.raises(Refusal, match="Cone is not a ReLU network"):
        bounded(Cone(3))
    with pytest.raises(Refusal, match="inner='ridge' is no construction"):
        bounded(inner="ridge")
    with pytest.raises(Refusal, match="inner='narrow_bounded' is no construction"):
        bounded(inner="narrow_bounded")
    with pytest.raises(Refusal, match="unknown; choose one of layer, neuron"):
        bounded(scaling="row")
    with pytest.raises(Refusal, match="inner=narrow_packed approximates, so it wants accuracy"):
        NarrowBounded(TARGET, failure_probability=0.1)
    with pytest.raises(Refusal, match=r"failure_probability=1\.5 is not in"):
        NarrowBounded(TARGET, 0.1, 1.5)
    with pytest.raises(Refusal, match="layers, and no more than"):
        bounded(RandomNetwork(3, 30, 3), inner="narrow_bits").build()
    with pytest.raises(Refusal, match="layers, and no more than"):
        bounded(RandomNetwork(3, 500, 3), inner="narrow_bits", scaling="neuron").build()


# --- negative controls


@SCALING
def test_a_broken_network_is_caught(scaling):
    recipe = bounded(inner="narrow_minimal", scaling=scaling)
    network, inner = recipe.build().network, recipe.construction.build().network
    x = uniform(TARGET, 12)
    assert wrong_at(network, inner, x) == 0
    layers = network.layers
    fewer = ExactNetwork(layers[:-2] + layers[-1:])  # one doubling less
    assert wrong_at(fewer, inner, x) > 0
    at = len(inner.layers) // 2
    changed = list(layers)
    powers = list(layers[at].powers)
    powers[0] += 1
    changed[at] = dataclasses.replace(layers[at], powers=tuple(powers))
    assert wrong_at(ExactNetwork(tuple(changed)), inner, x) > 0
    above = next(i for i, layer in enumerate(inner.layers) if weight_above_two(layer))
    changed = list(layers)
    changed[above] = inner.layers[above]  # not scaled
    assert max(map(abs, entries(ExactNetwork(tuple(changed))))) > 2


def weight_above_two(layer):
    return any(abs(value.fraction) > 2 for _, _, value in layer.entries())


@pytest.mark.parametrize("inner", sorted(EXACT))
def test_formulas_hold_where_sums_of_weights_leave_the_range(inner):
    """Rows that add up to 3.4e308, offsets near 2^2050."""
    state = {
        "0.weight": [[1.7e308, 1.7e308], [1.0, 1.0]],
        "2.weight": [[-1.7e308, 1e-300]],
        "4.weight": [[1e-300]],
    }
    tensors = {name: torch.tensor(v, dtype=torch.float64) for name, v in state.items()}
    target = Network(tensors, radius=1e-3)
    recipe = NarrowBounded(target, inner=inner, scaling="neuron")
    built, plain = recipe.build(), recipe.construction.build()
    assert max(map(abs, entries(plain.network))) <= 2 ** weight_exponent(recipe.construction)
    assert max(map(abs, entries(built.network))) <= 2
    assert wrong_at(built.network, plain.network, uniform(target, 5)) == 0
