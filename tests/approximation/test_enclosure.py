"""Enclosures hold between samples, and refuse what they cannot see."""

import numpy as np
import pytest

from depthwright import Refusal
from depthwright.approximation.enclosure import Samples, sup_abs


def straight(values):
    """No convex parts: g = s, here linear between breaks."""
    zero = np.zeros_like(values)
    return Samples(zero, zero, zero, zero, values)


@pytest.mark.parametrize("hole", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(hole):
    """One hole at 1/2, everything else small: its cells were once left out of the maximum."""
    with pytest.raises(Refusal, match=r"no finite value near 0\.5"):
        sup_abs(
            lambda at: straight(np.where(at == 0.5, hole, at)),
            lambda h: 0 * h,
            np.array([0.0, 0.25, 0.5, 1.0]),
            1e-6,
        )


def test_a_straight_function_is_bounded_by_its_ends():
    upper, where = sup_abs(straight, lambda h: 0 * h, np.array([-0.5, 0.0, 1.0]), 1e-6)
    assert (upper, where) == (1.0, 1.0)
