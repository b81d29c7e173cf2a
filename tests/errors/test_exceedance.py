import math

import numpy as np
import pytest

from depthwright.errors import clopper_pearson, exceedance
from depthwright.refusal import Refusal


def binomial_tail(total, least, p):
    """P(B ≥ least), summed by hand."""
    return sum(math.comb(total, k) * p**k * (1 - p) ** (total - k) for k in range(least, total + 1))


@pytest.mark.parametrize(("count", "total"), [(1, 10), (3, 40), (17, 60), (39, 40)])
def test_bounds_invert_the_binomial(count, total):
    lower, upper = clopper_pearson(count, total, 0.999)
    assert binomial_tail(total, count, lower) == pytest.approx(1e-3, rel=1e-9)
    assert 1 - binomial_tail(total, count + 1, upper) == pytest.approx(1e-3, rel=1e-9)


def test_ends():
    assert clopper_pearson(0, 50, 0.99)[0] == 0
    assert clopper_pearson(0, 50, 0.99)[1] == pytest.approx(1 - 0.01 ** (1 / 50), rel=1e-12)
    assert clopper_pearson(50, 50, 0.99)[1] == 1


def test_counting():
    errors = np.array([[0.1, -0.3], [0.2, 0.0], [math.nan, 0.0], [0.0, 0.0]])
    found = exceedance(errors, 0.2)
    assert (found.count, found.total, found.share) == (2, 4, 0.5)
    assert exceedance([0.2, -0.2], 0.2).count == 0


def test_bad_samples_are_refused():
    with pytest.raises(Refusal, match="no sample"):
        exceedance([], 0.1)
    with pytest.raises(Refusal, match="confidence=1"):
        exceedance([0.0], 0.1, confidence=1)
