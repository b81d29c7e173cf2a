"""Fitted output layers against least squares by another library, and what a run makes of them."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from depthwright.constructions import NarrowPacked, RadialDepthThree, Ridge
from depthwright.distributions import UniformBall, UniformCube, UniformRadius
from depthwright.networks.torch_network import ModuleNetwork
from depthwright.refusal import Refusal
from depthwright.targets import Cone, Hat, RandomNetwork
from depthwright.training import TrainingConfig, features

CONFIG = TrainingConfig(seeds=1)


def error(network: object, target: object, law: object) -> float:
    """Root mean squared error at points that no fit has seen."""
    x = law.sample(20_000, torch.Generator().manual_seed(99))  # type: ignore[attr-defined]
    gap = network.evaluate(x).double() - target(x)  # type: ignore[attr-defined, operator]
    return math.sqrt(float(gap.square().sum(dim=1).mean()))


def test_a_target_in_the_span_is_found() -> None:
    """A network's own hidden layer, its output layer forgotten."""
    target = RandomNetwork(input_dim=3, width=6, depth=2, output_dim=2)
    own = ModuleNetwork(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)).double())
    assert own.architecture.depth == 2
    law = UniformCube(3)
    hidden = [(torch.tensor(np.array(target.weights[0])), torch.tensor(np.array(target.biases[0])))]
    found = features.fit_output(hidden, target, law, CONFIG, seed=0)
    assert error(found.network, target, law) <= 1e-6


@pytest.mark.parametrize("recipe", [Ridge(Hat(3), 0.1), RadialDepthThree(Cone(4), 0.3)], ids=str)
def test_constructed_features_are_no_worse_and_keep_the_shape(recipe) -> None:
    built, law = recipe.build(), UniformRadius(recipe.target.input_dim)
    found = features.fit("constructed", built.network, recipe.target, law, CONFIG)
    assert found.network.architecture.widths == built.network.architecture.widths
    before = built.network.to_torch()
    after = found.network.to_torch()
    assert torch.equal(before[0].weight, after[0].weight)
    assert error(found.network, recipe.target, law) <= 1.02 * error(
        built.network, recipe.target, law
    )


def test_fit_is_numpys_least_squares() -> None:
    target, law = Cone(4), UniformBall(4)
    layer = features.draw(30, law, 2.0, torch.Generator().manual_seed(1))
    found = features.fit_output([layer], target, law, CONFIG, seed=0)
    x = law.sample(20_000, torch.Generator().manual_seed(5)).numpy()
    columns = np.maximum(x @ layer[0].numpy().T + layer[1].numpy(), 0)
    columns = np.concatenate([columns, np.ones((len(x), 1))], axis=1)
    best = np.linalg.lstsq(columns, np.linalg.norm(x, axis=1), rcond=None)[0]
    other = columns @ best - np.linalg.norm(x, axis=1)
    ours = error(found.network, target, law)
    assert ours == pytest.approx(math.sqrt(float((other**2).mean())), rel=0.05)


def test_neurons_that_never_fire_are_left_alone() -> None:
    target, law = Cone(3), UniformRadius(3)
    weight, bias = features.draw(40, law, 2.0, torch.Generator().manual_seed(1))
    bias[:10] = -5.0
    found = features.fit_output([(weight, bias)], target, law, CONFIG, seed=0)
    assert float(found.network.to_torch()[2].weight.detach().abs().max()) < 1e3
    assert error(found.network, target, law) < 0.1


def test_random_features_are_seeded_and_as_wide_as_asked() -> None:
    law = UniformRadius(3)
    one, again, other = (
        features.random_features(25, Cone(3), law, CONFIG, seed) for seed in (0, 0, 1)
    )
    assert one.network.architecture.widths == (3, 25, 1)
    assert torch.equal(one.network.to_torch()[0].weight, again.network.to_torch()[0].weight)
    assert not torch.equal(one.network.to_torch()[0].weight, other.network.to_torch()[0].weight)
    assert one.validation_rmse == pytest.approx(error(one.network, Cone(3), law), rel=0.1)


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(Refusal, match="5000 features are above 4000"):
        features.random_features(5000, Cone(3), UniformRadius(3), CONFIG)
    packed = NarrowPacked(RandomNetwork(input_dim=2, width=4), 0.01, failure_probability=0.01)
    with pytest.raises(Refusal):
        features.fit("constructed", packed.build().network, packed.target, UniformCube(2), CONFIG)
    affine = ModuleNetwork(nn.Sequential(nn.Linear(3, 1)).double())
    with pytest.raises(Refusal, match="features='drawn'"):
        features.fit("drawn", affine, Cone(3), UniformRadius(3), CONFIG)
    with pytest.raises(Refusal, match="depth 1"):
        features.fit("constructed", affine, Cone(3), UniformRadius(3), CONFIG)
