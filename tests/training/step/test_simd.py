"""Vectors in compiled functions against numpy, at every offset."""

import numba
import numpy as np
import pytest

from depthwright.training.step.simd import (
    add,
    broadcast,
    broadcast_pair,
    count,
    fill,
    load,
    load_pair,
    multiply,
    multiply_add,
    number,
    pointer,
    relu,
    store,
    subtract,
    total,
    vector_length,
    where_positive,
)


@numba.njit
def everything(a, b, at, out):
    a, b, n = pointer(a), pointer(b), count(pointer(a))
    x, y, result = load(a, at), load(b, at), pointer(out)
    store(result, 0, multiply_add(x, y, broadcast(b, at + 2)))
    store(result, n, add(multiply(x, y), subtract(x, y)))
    store(result, 2 * n, where_positive(x, y))
    store(result, 3 * n, relu(x))
    store(result, 4 * n, multiply(y, fill(number(b, 3))))
    pair = multiply_add(load_pair(a, at), broadcast_pair(b, at + 2), load_pair(b, at))
    store(result, 5 * n, pair)
    return total(y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("at", [0, 1, 5])
def test_every_operation_acts_on_each_entry_alone(dtype, at):
    n = vector_length(np.dtype(dtype).itemsize)
    a, b = np.random.default_rng(0).standard_normal((2, 64)).astype(dtype)
    a[at], a[at + 1], a[at + 2] = np.nan, 0, -np.inf
    out = np.zeros((7, n), dtype)
    found = everything(a, b, at, out.reshape(-1))
    x, y = a[at : at + n], b[at : at + n]
    eps = np.finfo(dtype).eps
    with np.errstate(invalid="ignore"):
        fused = (x.astype(np.longdouble) * y + b[at + 2]).astype(dtype)  # one rounding
        np.testing.assert_allclose(out[0], fused, rtol=eps)
        pair = a[at : at + 2 * n].astype(np.longdouble) * b[at + 2] + b[at : at + 2 * n]
        np.testing.assert_allclose(out[5:].reshape(-1), pair.astype(dtype), rtol=eps)
        np.testing.assert_array_equal(out[1], x * y + (x - y))
    np.testing.assert_array_equal(out[2], np.where(x > 0, y, 0))
    np.testing.assert_array_equal(out[3], np.where(x <= 0, 0, x))
    np.testing.assert_array_equal(out[4], 3 * y)
    assert np.isnan(out[3][0])
    assert found == pytest.approx(float(y.astype(np.float64).sum()), abs=float(n * 4 * eps))
