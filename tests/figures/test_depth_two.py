"""The panels of "What must depth 2 pay?" hold what the theorem says, by d = 3's closed form."""

from __future__ import annotations

import numpy as np
import pytest

from depthwright.approximation.mass import Minimum, minimum
from depthwright.comparison.glance import Glance, glance
from depthwright.constructions import RadialDepthThree, Ridge
from depthwright.figures import depth_two
from depthwright.figures.chart import Chart, Series
from depthwright.figures.interactive import interactive
from depthwright.targets import ZigZag

TARGET, ACCURACY = ZigZag(3, teeth=2), 0.05


@pytest.fixture(scope="module")
def least() -> Minimum:
    return minimum(TARGET, ACCURACY, gap=1e-2)


def stems(series: Series) -> tuple[np.ndarray, np.ndarray]:
    return np.array(series.x, dtype=float), np.array(series.y, dtype=float)


def averaged(knots: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """(K, R): on S², w_1 is uniform on [−1, 1], so T h_b(r) = (r − b)²/(2r) for r > b."""
    over = np.maximum(radii - knots[:, None], 0.0)
    return over**2 / (2 * np.where(radii > 0, radii, 1.0))


def test_the_measure_proves_the_floor_and_the_knots_touch_its_limit(least: Minimum) -> None:
    radii, mu = stems(depth_two.measure(least).series[0])
    assert abs(mu.sum()) < 1e-9 * np.abs(mu).sum()
    value = mu @ TARGET.profile(radii) - ACCURACY * np.abs(mu).sum()
    knots, weights = stems(depth_two.knots(least).series[0])
    assert value == pytest.approx(least.floor, rel=1e-3)
    assert value <= np.abs(weights).sum() * (1 + 1e-9)

    curve, used = depth_two.constraint(least).series
    at, values = stems(curve)
    assert np.allclose(values, averaged(at, radii) @ mu, atol=1e-9)
    assert np.abs(values).max() <= 1 + 1e-9
    _, touching = stems(used)
    assert np.allclose(touching, averaged(knots, radii) @ mu, atol=1e-9)
    assert np.allclose(touching, np.sign(weights), atol=2e-2)


def test_the_slice_keeps_to_its_band_and_shows_what_was_built(least: Minimum) -> None:
    at = depth_two.places(TARGET)
    built = glance(RadialDepthThree(TARGET, accuracy=ACCURACY), at.tolist())
    phi, mean, three = depth_two.slices(TARGET, ACCURACY, least, [built]).series
    assert least.error < 1.02 * ACCURACY
    for line, beyond in ((mean, least.error - ACCURACY), (three, 0.0)):
        values = np.array(line.y, dtype=float)
        assert (np.array(phi.low) - beyond - 1e-12 <= values).all()
        assert (values <= np.array(phi.high) + beyond + 1e-12).all()
        assert np.ptp(values) > ACCURACY  # it follows the teeth


def test_a_glance_counts_what_is_too_large_to_build_and_passes_refusals_on() -> None:
    large = glance(RadialDepthThree(ZigZag(200), accuracy=1e-3), [0.0, 1.0])
    assert large.architecture is not None
    assert large.architecture.depth == 3
    assert (large.values, large.claim) == ((), None)
    refused = glance(Ridge(ZigZag(50, teeth=3), accuracy=0.01))
    assert refused == Glance("Ridge", refusal=refused.refusal)
    assert "ask for a larger one" in refused.refusal


def test_stems_reach_down_to_zero_on_the_page(least: Minimum) -> None:
    (drawn,) = interactive(Chart((depth_two.knots(least),)))
    (trace,) = drawn["data"]
    weights = np.array(trace["y"])
    up, down = np.array(trace["error_y"]["array"]), np.array(trace["error_y"]["arrayminus"])
    assert trace["mode"] == "markers"
    assert (weights < 0).any()
    assert np.array_equal(weights - down + up, np.zeros_like(weights))
    assert ((up == 0) | (down == 0)).all()
