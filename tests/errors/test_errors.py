"""Errors of networks whose errors are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from depthwright.approximation.averaged_hinge import mean_size
from depthwright.approximation.directions import frames
from depthwright.distributions import UniformRadius
from depthwright.errors import EvaluationConfig, attack, l2_error, measure
from depthwright.networks.ridge import RidgeGroup, RidgeNetwork
from depthwright.networks.torch_network import ModuleNetwork
from depthwright.refusal import Refusal
from depthwright.targets import Cone


def constant(input_dim: int, value: float) -> ModuleNetwork:
    """The network x ↦ value."""
    module = nn.Sequential(nn.Linear(input_dim, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module[2].bias.fill_(value)
    return ModuleNetwork(module)


def test_l2_error_of_the_mean_is_the_deviation() -> None:
    """f = r uniform: E(r − ½)² = 1/12, which is also Var f, so the relative error is 1."""
    found = measure(constant(3, 0.5), Cone(input_dim=3), UniformRadius(3), EvaluationConfig(), 0.1)
    assert found.l2.low <= math.sqrt(1 / 12) <= found.l2.high
    assert found.l2.high - found.l2.low < 0.003
    assert abs(found.l2.relative - 1) < 1e-4


def test_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        residuals = rng.uniform(0, 1, (500, 1))
        found = l2_error(residuals, residuals)
        covered += found.low <= math.sqrt(1 / 3) <= found.high
    # Binomial(400, 0.95): four standard errors are 17.4.
    assert abs(covered - 380) <= 17.4


def test_several_outputs_add_their_squares() -> None:
    residuals = np.array([[3.0, 4.0], [0.0, 5.0]])
    assert l2_error(residuals, residuals).value == 5.0


def test_attack_finds_the_largest_error_and_samples_do_not_exceed_it() -> None:
    """abs(0.3 − ‖x‖) is largest, 0.7, on the sphere; and at the origin it is 0.3."""
    config = EvaluationConfig(points=200, attack_starts=16, attack_steps=60)
    found = measure(constant(8, 0.3), Cone(input_dim=8), UniformRadius(8), config, 0.1)
    assert found.sup_attacked is not None
    assert found.sup_sampled < found.sup_attacked <= 0.7 + 1e-12
    assert abs(found.sup_attacked - 0.7) < 1e-9


def test_attack_stays_in_the_domain() -> None:
    starts = torch.full((4, 3), 5.0, dtype=torch.float64)
    assert attack(constant(3, 0.0), Cone(input_dim=3), starts, 5) <= 1 + 1e-12


def test_a_spike_that_samples_miss_is_found_from_the_networks_own_kinks() -> None:
    """A narrow bump at the sphere along one direction in R^30: only kink_points lead there."""
    d, width = 30, 1e-3
    module = nn.Sequential(nn.Linear(d, 1), nn.ReLU(), nn.Linear(1, 1)).double()
    with torch.no_grad():
        module[0].weight.zero_()
        module[0].weight[0, 0] = 1.0
        module[0].bias.fill_(-(1 - width))
        module[2].weight.fill_(5 / width)
        module[2].bias.zero_()
    network, law = ModuleNetwork(module), UniformRadius(d)
    config = EvaluationConfig(points=2000, attack_starts=8, attack_steps=200)
    found = measure(network, Cone(input_dim=d), law, config, 0.1)
    assert found.sup_sampled <= 1
    assert found.sup_attacked is not None
    assert found.sup_attacked > 3.9


def test_an_excess_over_one_frame_is_found_from_signed_sums() -> None:
    """Three frames in R^100, one x sees all of one of them: about (√(π/2) − 1)/3 above.

    Ten steps from samples and single directions do not lead there.
    """
    d, m = 100, 3
    w = frames(m * d, d, np.random.default_rng(0))
    every = np.broadcast_to(np.arange(d), w.shape)
    weights = np.full(m * d, 1 / (m * d * mean_size(d)))
    group = RidgeGroup(every, w, weights, np.zeros(1), np.ones(1))
    network, target = RidgeNetwork(d, [group], 0.0), Cone(input_dim=d)
    config = EvaluationConfig(points=500, attack_starts=32, attack_steps=10)
    found = measure(network, target, UniformRadius(d), config, 0.1)
    excess = (math.sqrt(math.pi / 2) - 1) / m
    assert found.sup_attacked is not None
    assert found.sup_sampled < excess < found.sup_attacked


def test_points_depend_on_the_evaluation_seed_alone() -> None:
    target, law = Cone(input_dim=2), UniformRadius(2)
    config = EvaluationConfig(points=100, attack_starts=4, attack_steps=2)
    torch.manual_seed(1)
    first = measure(constant(2, 0.1), target, law, config, 0.1)
    torch.manual_seed(2)
    torch.rand(7)
    second = measure(constant(2, 0.1), target, law, config, 0.1)
    assert (first.l2, first.sup_attacked) == (second.l2, second.sup_attacked)
    config.seed += 1
    assert measure(constant(2, 0.1), target, law, config, 0.1).l2 != first.l2


def test_too_few_points_are_refused() -> None:
    with pytest.raises(Refusal, match=r"evaluation\.points=1"):
        EvaluationConfig(points=1)
