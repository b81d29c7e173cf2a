"""SineRidge against its own declaration."""

import math

import numpy as np
import pytest
import torch

from depthwright.distributions import UniformCube
from depthwright.refusal import Refusal
from depthwright.targets import SineRidge

TARGETS = [SineRidge(), SineRidge(1, 1, 0.3), SineRidge(7, 5, 2.0)]
POINTS = 200_000


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_declared_norms_match_samples(target: SineRidge, generator: torch.Generator) -> None:
    x = UniformCube(target.input_dim).sample(POINTS, generator)
    values = target(x)[:, 0]
    assert values.shape == (POINTS,)
    assert abs(float(values.mean())) <= 4 * float(values.std()) / math.sqrt(POINTS)
    squares = values.square()
    gap = abs(float(squares.mean()) - target.norms["l2"] ** 2)
    assert gap <= 4 * float(squares.std()) / math.sqrt(POINTS)
    peak = float(values.abs().max())
    assert peak <= target.norms["sup"]
    assert peak == pytest.approx(target.norms["sup"], rel=1e-3)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_slopes_and_curvature_hold_and_are_attained(target: SineRidge) -> None:
    t = np.linspace(-target.reach, target.reach, 200_001)
    h = t[1] - t[0]
    values = target.profile(t)
    slope = np.abs(np.diff(values)).max() / h * np.linalg.norm(target.direction)
    assert slope == pytest.approx(target.lipschitz, rel=1e-6)
    bend = np.abs(np.diff(values, 2)).max() / h**2
    assert bend == pytest.approx(target.curvature, rel=1e-3)


def test_no_product_of_fewer_inputs_is_correlated_with_it(generator: torch.Generator) -> None:
    x = UniformCube(4).sample(POINTS, generator)
    values = SineRidge(4, 3)(x)[:, 0]
    for columns in ([0], [1], [3], [0, 1], [1, 2], [0, 3]):
        product = values * x[:, columns].prod(dim=1)
        assert abs(float(product.mean())) <= 4 * float(product.std()) / math.sqrt(POINTS)
    all_three = values * x[:, :3].prod(dim=1)
    # E x·sin(πx) = 1/π each, and sin of the sum has −1 times their product.
    exact = -math.sqrt(2) / math.pi**3
    spread = float(all_three.std()) / math.sqrt(POINTS)
    assert abs(float(all_three.mean()) - exact) <= 4 * spread


@pytest.mark.parametrize(
    ("fields", "names"),
    [({"terms": 0}, "terms=0"), ({"terms": 11}, "terms=11"), ({"height": 0.0}, "height=0.0")],
)
def test_bad_fields_are_refused_by_value(fields: dict[str, float], names: str) -> None:
    with pytest.raises(Refusal, match=names):
        SineRidge(**fields)  # type: ignore[arg-type]
