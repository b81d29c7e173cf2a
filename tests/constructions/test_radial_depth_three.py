"""Depth-3 radial networks: claim against attack, sizes, and one control per term."""

import math

import numpy as np
import pytest
import torch

from depthwright import Refusal
from depthwright.constructions import RadialDepthThree
from depthwright.constructions.radial_depth_three import _knots
from depthwright.distributions import UniformRadius
from depthwright.errors import attack
from depthwright.networks.torch_network import ModuleNetwork
from depthwright.targets import Cone, Hat, Monomial, Profile, RandomProfile, Sine, ZigZag


def attacked(network, target, starts: int = 200, steps: int = 60) -> float:
    generator = torch.Generator().manual_seed(0)
    inside = UniformRadius(target.input_dim).sample(starts, generator)
    points = torch.cat([torch.zeros(1, target.input_dim), 0.05 * inside, inside])
    return attack(network, target, points, steps)


@pytest.mark.parametrize(
    ("target", "accuracy"),
    [
        (Cone(1), 0.01),
        (Cone(2), 0.01),
        (Cone(30), 0.1),
        (Hat(5), 0.05),
        (ZigZag(4), 0.03),
        (Sine(6), 0.02),
        (Monomial(3, 2), 0.1),
        (RandomProfile(10), 0.05),
    ],
    ids=str,
)
def test_claims_hold_and_sizes_are_counted(target, accuracy):
    construction = RadialDepthThree(target, accuracy)
    built = construction.build()
    assert construction.architecture() == built.network.architecture
    assert built.network.architecture.depth == 3
    found = attacked(built.network, target)
    assert found <= built.claim.bound <= accuracy
    assert found >= 0.05 * accuracy


def test_squares_term_is_reached_at_the_origin():
    """ŝ(0) = d/(2q²), so the cone is missed there by ψ(d/(2q²)), near the whole term."""
    built = RadialDepthThree(Cone(8), 0.05).build()
    at_zero = float(built.network.evaluate(torch.zeros(1, 8, dtype=torch.float64)))
    assert 0.5 * built.claim.terms["squares"] <= at_zero <= built.claim.bound


def broken(built, layer: int, change) -> ModuleNetwork:
    module = built.network.to_torch()
    with torch.no_grad():
        change(module[2 * layer])
    return ModuleNetwork(module)


def test_squares_term_needs_its_neurons():
    """One kink of one coordinate missing."""
    target = Cone(3)
    built = RadialDepthThree(target, 0.05).build()

    def drop(linear):
        linear.weight[0], linear.bias[0] = 0.0, 0.0

    assert attacked(broken(built, 0, drop), target) > built.claim.bound


def test_profile_term_needs_its_knots():
    target = ZigZag(3)
    built = RadialDepthThree(target, 0.03).build()

    def drop(linear):
        linear.weight[0, linear.weight.shape[1] // 2] = 0.0

    assert attacked(broken(built, 2, drop), target) > built.claim.bound


@pytest.mark.parametrize("target", [Cone(2), Hat(2), Sine(2, 3), Monomial(2, 3)], ids=str)
def test_profile_bound_holds_and_is_not_loose(target):
    radii = _knots(target, 0.01)
    assert radii is not None
    r = np.linspace(0, 1, 400_001)
    gap = np.abs(np.interp(r**2, radii**2, target.profile(radii)) - target.profile(r)).max()
    assert 0.003 <= gap <= 0.01 + 1e-15
    fewer = np.delete(radii, 1)
    gap = np.abs(np.interp(r**2, fewer**2, target.profile(fewer)) - target.profile(r)).max()
    assert gap > 0.01 or not isinstance(target, Cone)


def test_rounding_term_is_that_of_float64():
    built = RadialDepthThree(Cone(20), 0.05).build()
    x = UniformRadius(20).sample(500, torch.Generator().manual_seed(0))
    module = built.network.to_torch()
    with torch.no_grad():
        shuffled = x[:, torch.arange(19, -1, -1)]  # the same function, summed in another order
        gap = float((module(x) - module(shuffled)).abs().max())
        gap32 = float((built.network.evaluate(x, "float32").double() - module(x)).abs().max())
    assert gap <= 2 * built.claim.terms["rounding"] < gap32


def test_width_grows_like_the_three_halves_power():
    widths = [RadialDepthThree(Cone(d), 0.1).architecture().width for d in (10, 1000)]
    assert math.log(widths[1] / widths[0], 100) == pytest.approx(1.5, abs=0.05)


def test_bad_hypotheses_are_refused():
    with pytest.raises(Refusal, match="accuracy=-1"):
        RadialDepthThree(Cone(3), -1.0)
    with pytest.raises(Refusal, match="GB"):
        RadialDepthThree(Cone(5000), 0.01).build()


def test_the_claim_counts_what_the_profile_rounds():
    """A constant whose declared steepness allows samples to be off by 1.8e-9 each."""
    steep = Profile(lambda r: np.full_like(r, 0.5), lipschitz=1e6, curvature=0.0, input_dim=2)
    assert RadialDepthThree(steep, 2e4).build().claim.terms["rounding"] >= 16 * 2.0**-52 * 1e6
