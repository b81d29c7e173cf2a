"""The counting bound against a count of sign patterns and against its own sum, layer by layer."""

from __future__ import annotations

import math

import numpy as np
import pytest

from depthwright.bounds.counting import least_narrow, pattern_bits, shattered
from depthwright.refusal import Refusal


def by_layers(input_dim: int, narrow: int, hidden: int, points: int) -> float:
    """log2 of Π_i 2·(2e·N·i·k_i/W_i)^{W_i}, no concavity used."""
    bits, parameters, fan_in = 0.0, 0, input_dim
    for i, units in enumerate([narrow] * hidden + [1], 1):
        parameters += units * (fan_in + 1)
        bits += 1 + parameters * math.log2(2 * math.e * points * i * units / parameters)
        fan_in = units
    return bits


@pytest.mark.parametrize("shape", [(1, 2, 1), (3, 5, 4), (8, 10, 30)])
def test_the_closed_form_is_above_the_product_and_near_it(shape: tuple[int, int, int]) -> None:
    for points in (10**5, 10**7):
        exact, closed = by_layers(*shape, points), pattern_bits(*shape, points)
        assert exact <= closed <= 1.2 * exact


def test_no_network_shows_more_patterns_than_counted() -> None:
    rng = np.random.default_rng(0)
    points = 24
    x = np.linspace(-1, 1, points)[:, None]
    for narrow, hidden in ((1, 1), (2, 1)):
        seen = set()
        for _ in range(20_000):
            h = x
            for fan_in, fan_out in zip(
                [1] + [narrow] * (hidden - 1), [narrow] * hidden, strict=True
            ):
                h = np.maximum(h @ rng.normal(size=(fan_in, fan_out)) + rng.normal(size=fan_out), 0)
            seen.add((h @ rng.normal(size=narrow) + rng.normal() > 0).tobytes())
        bits = pattern_bits(1, narrow, hidden, points)
        assert 3 < math.log2(len(seen)) <= bits < math.inf


def test_the_least_shape_is_the_shortest_that_is_not_excluded() -> None:
    for width in (64, 1000, 10_000):
        size = least_narrow(8, 10, width, 3)
        points = 4 * (width // 4) ** 2
        assert pattern_bits(8, 10, size.depth - 1, points) >= points
        assert size.depth == 2 or pattern_bits(8, 10, size.depth - 2, points) < points


def test_it_grows_almost_like_the_width() -> None:
    small, large = (least_narrow(8, 10, n, 3).parameters for n in (10_000, 100_000))
    assert 8 < large / small < 10


def test_depth_two_is_refused() -> None:
    with pytest.raises(Refusal, match="two hidden layers"):
        shattered(8, 2)
