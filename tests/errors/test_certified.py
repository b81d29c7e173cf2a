"""Proved upper bounds of trained networks, against attacks; what has no such bound has none."""

import numpy as np
import pytest
import torch

from depthwright.approximation.branch_and_bound import sup_error
from depthwright.constructions import RadialDepthThree, Ridge
from depthwright.errors import attack, certified_sup
from depthwright.networks.ridge import RidgeGroup, RidgeNetwork
from depthwright.networks.torch_network import ModuleNetwork
from depthwright.targets import Cone, Hat, SineRidge


def trained(target, width, dtype, steps=150):
    torch.manual_seed(0)
    d = target.input_dim
    model = torch.nn.Sequential(
        torch.nn.Linear(d, width), torch.nn.ReLU(), torch.nn.Linear(width, 1)
    ).to(dtype)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(steps):
        x = torch.nn.functional.normalize(torch.randn(256, d)) * torch.rand(256, 1)
        loss = (model(x.to(dtype)) - target(x.to(dtype))).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return ModuleNetwork(model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("target", [Cone(2), Hat(2), Cone(3)])
def test_no_attack_comes_above(target, dtype):
    network = trained(target, 24, dtype)
    found = certified_sup(network, target)
    x = torch.randn(4000, target.input_dim, generator=torch.Generator().manual_seed(1))
    starts = x / x.norm(dim=1, keepdim=True).clamp(min=1)
    met = attack(network, target, starts.double(), 60)
    assert met <= found <= 1.2 * met


def test_a_claim_of_a_construction_lies_above_too():
    target = Cone(2)
    built = Ridge(target, 0.1).build()
    assert certified_sup(built.network, target) <= 1.11 * built.claim.bound


def test_the_rounding_of_a_look_up_is_counted_too():
    """A direction with one kink: more is lost on the way to its table than in a few neurons."""
    target, along = Cone(2), (np.array([[0, 1]]), np.array([[1.0, 0.0]]))
    group = RidgeGroup(*along, np.ones(1), np.array([0.05]), np.array([1000.0]))
    network = RidgeNetwork(2, [group], 0.0)
    weight, bias, outer, _ = (p.detach().numpy() for p in network.to_torch().parameters())
    of_layers = sup_error(outer[0], weight, bias, 0.0, target, boxes=2_000_000).upper
    assert certified_sup(network, target) - of_layers >= network.rounding_bound()


def test_what_is_out_of_reach_has_no_bound():
    wide = trained(Cone(4), 8, torch.float64, steps=1)
    assert certified_sup(wide, Cone(4)) is None
    assert certified_sup(RadialDepthThree(Cone(2), 0.3).build().network, Cone(2)) is None
    assert certified_sup(trained(Cone(2), 4, torch.float64, steps=1), SineRidge(2)) is None
    huge = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
    with torch.no_grad():
        for parameter in huge.double().parameters():
            parameter.fill_(np.finfo(np.float64).max)
    assert certified_sup(ModuleNetwork(huge), Cone(2)) is None
