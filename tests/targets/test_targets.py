"""Every registered target against its own declaration."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from depthwright.distributions import UniformRadius
from depthwright.refusal import Refusal
from depthwright.targets import REGISTRY, Cone, Hat, Monomial, Profile, Radial, RandomProfile

GIVEN = {Profile: ([0.1, -0.3, 0.2, 0.0],)}
"""What a target needs that has no default."""
RADIAL = [
    cls(*GIVEN.get(cls, ()), input_dim=d)
    for cls in REGISTRY.values()
    if issubclass(cls, Radial)
    for d in (1, 4)
]


@pytest.mark.parametrize("target", RADIAL, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_depend_on_the_norm_alone(
    target: Radial, dtype: torch.dtype, generator: torch.Generator
) -> None:
    x = UniformRadius(target.input_dim).sample(64, generator, dtype)
    turned = (
        torch.linalg.vector_norm(x, dim=1, keepdim=True)
        * torch.eye(target.input_dim, dtype=dtype)[:1]
    )
    eps = torch.finfo(dtype).eps
    assert target(x).shape == (64, 1)
    assert target(x).dtype == dtype
    torch.testing.assert_close(target(x), target(turned), rtol=0, atol=32 * eps)


@pytest.mark.parametrize("target", RADIAL, ids=str)
def test_lipschitz_constant_holds_and_is_attained(target: Radial) -> None:
    r = np.linspace(0, 1, 100_001)
    slopes = np.abs(np.diff(target.profile(r)) / np.diff(r))
    rounding = 8 * np.finfo(float).eps / 1e-5
    assert slopes.max() <= target.lipschitz + rounding
    # The steepest of these chords misses the derivative by at most sup abs(ϕ'')·h.
    assert slopes.max() >= target.lipschitz - 30 * 1e-5 - rounding


@pytest.mark.parametrize("target", RADIAL, ids=str)
def test_declared_norms_match_samples(target: Radial) -> None:
    r = np.random.default_rng(0).uniform(0, 1, 400_000)
    values = target.profile(r)
    samples = {"mean": values, "l1": np.abs(values), "l2": values**2}
    assert target.norms.keys() >= {"sup", "mean", "l2"}
    for name, sample in samples.items():
        if name not in target.norms:  # the l1 norm of a sine is no closed form
            continue
        declared = target.norms[name] ** (2 if name == "l2" else 1)
        four_errors = 4 * sample.std() / math.sqrt(len(sample))
        assert abs(sample.mean() - declared) <= four_errors, name
    grid = np.abs(target.profile(np.linspace(0, 1, 100_001))).max()
    assert grid <= target.norms["sup"] + 1e-15
    assert grid >= target.norms["sup"] - target.lipschitz * 1e-5


@pytest.mark.parametrize("target", [t for t in RADIAL if t.values is not None], ids=str)
def test_ramps_agree_with_interpolation(target: Radial) -> None:
    r = np.linspace(0, 1, 1001)
    assert target.values is not None
    oracle = np.interp(r, target.breaks, target.values)
    np.testing.assert_allclose(target.profile(r), oracle, rtol=0, atol=1e-15)


def test_random_profiles_are_seeded() -> None:
    r = np.linspace(0, 1, 50)
    zero, again, one = (RandomProfile(seed=s).profile(r) for s in (0, 0, 1))
    np.testing.assert_array_equal(zero, again)
    assert np.abs(zero - one).max() > 0.01


def test_gradient_at_the_origin_is_a_number() -> None:
    x = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    Cone(input_dim=3)(x).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: Cone(input_dim=0), "input_dim=0"),
        (lambda: Hat(slope=1.0), "slope=1.0"),
        (lambda: Hat(slope=math.nan), "slope=nan"),
        (lambda: RandomProfile(pieces=0), "pieces=0"),
        (lambda: RandomProfile(seed=-1), "seed=-1"),
        (lambda: Monomial(power=0), "power=0"),
    ],
)
def test_bad_fields_are_refused_by_value(make: object, names: str) -> None:
    with pytest.raises(Refusal, match=names):
        make()  # type: ignore[operator]
