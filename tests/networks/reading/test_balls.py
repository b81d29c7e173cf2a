"""Sums and products of balls hold the true matrix, and say so when nothing was rounded."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from depthwright.networks.reading.balls import Ball, identity, reciprocal

ENTRIES = st.one_of(
    st.floats(-4, 4),
    st.floats(-4, 4, width=16),
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e150, max_value=1e150),
    st.sampled_from([0.0, 1.0, -0.5, 2.0**-1074, 1e-160, 2.0**-530, 3.0]),
)
FORMS = {"dense": np.array, "sparse": sparse.csr_array}


def matrices(rows, columns):
    return st.lists(
        st.lists(ENTRIES, min_size=columns, max_size=columns), min_size=rows, max_size=rows
    ).map(np.array)


def rational(matrix):
    return [[Fraction(v) for v in row] for row in dense(matrix).tolist()]


def dense(matrix):
    return matrix if isinstance(matrix, np.ndarray) else matrix.toarray()


def check(ball, true):
    """The true matrix is within; without error it is the middle itself."""
    error = np.zeros(ball.shape) if ball.error is None else dense(ball.error)
    for i, row in enumerate(rational(ball.middle)):
        for j, value in enumerate(row):
            assert abs(value - true[i][j]) <= Fraction(float(error[i, j]))
    return error


@pytest.mark.parametrize("left", FORMS)
@pytest.mark.parametrize("right", FORMS)
@given(a=matrices(2, 3), b=matrices(3, 2))
@settings(deadline=None, max_examples=150)
def test_products_are_enclosed(left, right, a, b):
    p, q = rational(a), rational(b)
    true = [[sum(p[i][k] * q[k][j] for k in range(3)) for j in range(2)] for i in range(2)]
    error = check(Ball(FORMS[left](a)) @ Ball(FORMS[right](b)), true)
    size = np.abs(a) @ np.abs(b)
    assert (error <= 8 * 2.0**-53 * size + 2.0**-1070).all()


@pytest.mark.parametrize("form", FORMS)
@given(a=matrices(2, 2), b=matrices(2, 2))
@settings(deadline=None, max_examples=100)
def test_sums_are_enclosed_without_a_bit_too_much(form, a, b):
    p, q = rational(a), rational(b)
    true = [[p[i][j] + q[i][j] for j in range(2)] for i in range(2)]
    total = Ball(FORMS[form](a)) + Ball(FORMS[form](b))
    error = check(total, true)
    for i, row in enumerate(rational(total.middle)):
        for j, value in enumerate(row):
            assert abs(value - true[i][j]) == Fraction(float(error[i, j]))


@pytest.mark.parametrize("form", FORMS)
def test_errors_are_passed_on(form):
    make = FORMS[form]
    a, b = np.array([[1.0, -2.0]]), np.array([[3.0], [0.5]])
    da, db = np.array([[0.25, 0.0]]), np.array([[0.5], [0.125]])
    ball = Ball(make(a), make(da)) @ Ball(make(b), make(db))
    corners = [
        (a + s * da) @ (b + np.array([[t], [u]]) * db)
        for s in (-1, 1) for t in (-1, 1) for u in (-1, 1)
    ]  # fmt: skip
    middle, error = dense(ball.middle)[0, 0], dense(ball.error)[0, 0]
    reach = max(abs(c[0, 0] - middle) for c in corners)
    assert reach <= error <= reach * (1 + 1e-5)
    assert dense((ball + ball).error)[0, 0] >= 2 * error


SHORT = np.array([[0.75, -0.125], [3.0, 1024.0]])
"""Few bits: products are floats."""
LONG = np.array([[0.1, 1 / 3], [np.pi, 1e-8]])


@pytest.mark.parametrize("form", FORMS)
def test_what_is_not_rounded_is_exact(form):
    make = FORMS[form]
    assert (Ball(make(SHORT)) @ Ball(make(SHORT))).error is None
    assert (Ball(make(LONG)) @ identity(2)).error is None
    assert (Ball(make(2.0**-7 * np.eye(2)[::-1])) @ Ball(make(LONG))).error is None
    assert (Ball(make(LONG)) @ Ball(make(LONG))).error is not None
    assert (Ball(make(SHORT)) + Ball(make(SHORT))).error is None
    assert (Ball(make(LONG)) + Ball(make(SHORT))).error is not None


@pytest.mark.parametrize("left", FORMS)
@pytest.mark.parametrize("right", FORMS)
def test_one_bit_more_than_floats_hold_is_seen(left, right):
    fits = Ball(FORMS[left]([[2.0**26 + 1]])) @ Ball(FORMS[right]([[2.0**26 - 1]]))
    assert fits.error is None
    a, b = 2.0**27 - 1, 2.0**26 + 1  # a·b is odd and of 54 bits
    rounded = Ball(FORMS[left]([[a]])) @ Ball(FORMS[right]([[b]]))
    check(rounded, [[Fraction(a) * Fraction(b)]])
    assert dense(rounded.error)[0, 0] >= 1


@pytest.mark.parametrize("value", [1.7e308, 3 * 2.0**1021])
def test_reciprocals_below_the_normal_range_are_enclosed(value):
    """The relative error of a subnormal number is larger, and underflows in the bound."""
    error = check(reciprocal(value), [[1 / Fraction(value)]])
    assert error[0, 0] == 2.0**-1074


@pytest.mark.parametrize("value", [2.0, -0.25, 3.0, -7.0, 60261.0, 0.1, 1e300])
def test_reciprocals_are_enclosed(value):
    ball = reciprocal(value)
    error = check(ball, [[1 / Fraction(value)]])
    assert (ball.error is None) == (abs(value) in (2.0, 0.25))
    assert error[0, 0] <= 2.0**-53 * abs(1 / value)
