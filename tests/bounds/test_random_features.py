"""The floor under random first layers: by hand, in law, and against networks that break it."""

import math

import numpy as np
import pytest
import torch

from depthwright.bounds.random_features import fewest, mean_square_floor, orbit
from depthwright.constructions import SingleRidge
from depthwright.distributions import UniformCube
from depthwright.refusal import Refusal
from depthwright.targets import SineRidge
from depthwright.training.config import TrainingConfig
from depthwright.training.features import draw, fit_output

CONFIG = TrainingConfig()


def test_published_number() -> None:
    assert fewest(SineRidge(20, 5)) == 3876
    assert orbit(SineRidge(20, 5)) == 16 * 4 * 3876


def test_the_orbit_is_orthonormal(generator: torch.Generator) -> None:
    """All signed permutations of sin(π(x_1 + x_2)) in three inputs, up to sign."""
    x = UniformCube(3).sample(400_000, generator)
    rows = [(1, 1, 0), (1, -1, 0), (1, 0, 1), (1, 0, -1), (0, 1, 1), (0, 1, -1)]
    assert len(rows) == orbit(SineRidge(3, 2))
    waves = math.sqrt(2) * torch.sin(math.pi * x @ torch.tensor(rows, dtype=x.dtype).T)
    gram = (waves.T @ waves / len(x)).numpy()
    assert np.abs(gram - np.eye(6)).max() <= 4 * 1.5 / math.sqrt(len(x))


@pytest.mark.parametrize("terms", [1, 2])
def test_random_features_respect_the_floor_in_the_mean(terms: int) -> None:
    target, law, width = SineRidge(6, terms), UniformCube(6), 8 * terms
    squares = []
    for seed in range(12):
        layer = draw(width, law, 2.0, torch.Generator().manual_seed(seed))
        squares.append(fit_output([layer], target, law, CONFIG, seed).validation_rmse ** 2)
    spread = float(np.std(squares, ddof=1)) / math.sqrt(len(squares))
    # A validation error has noise of its own: about 2/√points of it.
    noise = 2 / math.sqrt(CONFIG.validation_points * len(squares))
    assert np.mean(squares) >= mean_square_floor(target, width) - 4 * (spread + noise)


def test_features_that_know_the_target_break_it() -> None:
    """Negative control: a constructed layer of the same width is no exchangeable draw."""
    target, law = SineRidge(10, 2), UniformCube(10)
    module = SingleRidge(target, 0.1).build().network.to_torch()
    layer = (module[0].weight.detach(), module[0].bias.detach())
    found = fit_output([layer], target, law, CONFIG, 0)
    assert found.validation_rmse**2 < 0.1 * mean_square_floor(target, len(layer[1]))


def test_floor_falls_to_nothing_and_negative_widths_are_refused() -> None:
    target = SineRidge(4, 2, height=3.0)
    assert mean_square_floor(target, 0) == pytest.approx(9 * (1 - 1 / 12))
    assert mean_square_floor(target, 11) == 0
    with pytest.raises(Refusal, match="width=-1"):
        mean_square_floor(target, -1)
