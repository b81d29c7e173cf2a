"""Vectors in compiled functions against numpy, at every offset."""

import numba
import numpy as np
import pytest

from depthwright.training.lanes import (
    add,
    bent,
    lanes,
    load,
    multiply,
    multiply_add,
    spread,
    store,
    subtract,
    total,
    where_positive,
)


@numba.njit
def everything(a, b, at, out):
    x, y = load(a, at), load(b, at)
    store(out[0], 0, multiply_add(x, y, spread(b, at + 2)))
    store(out[1], 0, add(multiply(x, y), subtract(x, y)))
    store(out[2], 0, where_positive(x, y))
    store(out[3], 0, bent(x))
    return total(y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("at", [0, 1, 5])
def test_every_operation_acts_lane_by_lane(dtype, at):
    n = lanes(np.dtype(dtype).itemsize)
    a, b = np.random.default_rng(0).standard_normal((2, 64)).astype(dtype)
    a[at], a[at + 1], a[at + 2] = np.nan, 0, -np.inf
    out = np.zeros((4, n), dtype)
    found = everything(a, b, at, out)
    x, y = a[at : at + n], b[at : at + n]
    eps = np.finfo(dtype).eps
    with np.errstate(invalid="ignore"):
        fused = (x.astype(np.longdouble) * y + b[at + 2]).astype(dtype)  # one rounding
        np.testing.assert_allclose(out[0], fused, rtol=eps)
        np.testing.assert_array_equal(out[1], x * y + (x - y))
    np.testing.assert_array_equal(out[2], np.where(x > 0, y, 0))
    np.testing.assert_array_equal(out[3], np.where(x <= 0, 0, x))
    assert np.isnan(out[3][0])
    assert found == pytest.approx(float(y.astype(np.float64).sum()), abs=float(n * 4 * eps))
