"""SingleRidge: counts by hand, terms that are needed, an interpolant by another hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from depthwright.constructions import SingleRidge
from depthwright.targets import SineRidge


def gap(module: nn.Sequential, target: SineRidge, points: int = 20_001) -> float:
    """Largest error on a dense diagonal of the cube, which meets every value of w·x."""
    x = torch.linspace(-1, 1, points, dtype=torch.float64)[:, None].expand(-1, target.input_dim)
    with torch.no_grad():
        return float((module(x) - target(x)).abs().max())


@pytest.mark.parametrize("terms", [1, 2, 5, 20])
def test_width_grows_like_the_number_of_terms(terms: int) -> None:
    target = SineRidge(20, terms)
    width = SingleRidge(target, 0.1).architecture().widths[1]
    exact = terms * math.pi * math.sqrt(math.sqrt(2) / 2 / 0.1)
    assert exact <= width <= exact * 1.001 + 1


@pytest.mark.parametrize("accuracy", [0.5, 0.1, 1e-3])
def test_claim_is_nearly_attained(accuracy: float) -> None:
    target = SineRidge(8, 5)
    built = SingleRidge(target, accuracy).build()
    measured = gap(built.network.to_torch(), target)
    assert measured <= built.claim.bound <= accuracy
    assert measured >= 0.8 * accuracy


def test_values_are_those_of_interpolation() -> None:
    target = SineRidge(3, 2, 0.5)
    built = SingleRidge(target, 0.05).build()
    m = built.network.architecture.widths[1]
    knots = np.linspace(-2, 2, m + 1)
    x = np.random.default_rng(0).uniform(-1, 1, (500, 3))
    oracle = np.interp(x[:, 0] + x[:, 1], knots, 0.5 * math.sqrt(2) * np.sin(math.pi * knots))
    got = built.network.evaluate(torch.from_numpy(x))[:, 0].numpy()
    assert np.abs(got - oracle).max() <= 1e-13


def test_a_missing_neuron_and_a_float32_evaluation_are_caught() -> None:
    target = SineRidge(5, 3)
    built = SingleRidge(target, 0.01).build()
    module = built.network.to_torch()
    with torch.no_grad():
        module[2].weight[0, 10] = 0
    assert gap(module, target) > built.claim.bound
    fine = SingleRidge(target, 1e-6).build()
    assert set(fine.claim.terms) == {"interpolation", "rounding"}
    single = fine.network.to_torch(torch.float32).double()  # weights rounded to float32
    assert gap(single, target, 2001) > fine.claim.bound
    assert gap(fine.network.to_torch(), target, 2001) <= fine.claim.bound
