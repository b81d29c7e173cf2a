"""Upper bounds are never below the exact rational, wherever the exponents lie."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthwright.networks.upper import Upper, at_least, at_most, product

positive = st.one_of(
    st.just(0.0),
    st.floats(0, allow_infinity=False, allow_subnormal=True),
    st.floats(5e-324, 1e-300),
    st.floats(1e290, 1e308),
)
SHARP = 1 + Fraction(1, 10**13)


def exact(value):
    mantissa, exponent = float(value.mantissa), int(value.exponent)
    return Fraction(mantissa) * Fraction(2) ** exponent if mantissa else Fraction()


def lists(n):
    return st.lists(positive, min_size=n, max_size=n)


@given(lists(3), st.integers(-3000, 3000), lists(3))
def test_operations_round_up_and_hardly(a, power, b):
    x, y = Upper.of(np.array(a)) << power, Upper.of(np.array(b))
    p = Fraction(2) ** power
    for i, (u, v) in enumerate(zip(a, b, strict=True)):
        u, v = Fraction(u) * p, Fraction(v)
        for got, wanted in (((x + y)[i], u + v), ((x * y)[i], u * v)):
            assert wanted <= exact(got) <= wanted * SHARP
        assert max(u - v, 0) <= exact((x - y)[i]) <= max(u - v, 0) + max(u, v) / 10**13
        if v:
            assert u / v <= exact(x[i] / y[i]) <= u / v * SHARP
    total = sum(map(Fraction, a)) * p
    assert total <= exact(x.sum()) <= total * SHARP
    assert exact(x.max()) == max(map(Fraction, a)) * p


@given(lists(6), lists(3))
def test_products_round_up_and_hardly(entries, vector):
    matrix = np.array(entries).reshape(2, 3)
    got = product(matrix, Upper.of(np.array(vector)))
    for i, row in enumerate(matrix.tolist()):
        wanted = sum((Fraction(a) * Fraction(b) for a, b in zip(row, vector, strict=True)), 0)
        assert wanted <= exact(got[i]) <= wanted * SHARP


@pytest.mark.parametrize("power", [-1080, -1074, -1050, 0, 1023, 1024])
def test_floats_round_up(power):
    value = float((Upper.of(0.75) << power).floats())
    true = Fraction(3, 4) * Fraction(2) ** power
    assert value >= true if np.isinf(value) else 0 <= Fraction(value) - true <= 2.0**-1074
    assert float(Upper.of(0.0) << power) == 0.0


@given(st.floats(1e-320, 1e300), st.integers(1, 6))
def test_bounds_are_shown_on_their_safe_side(bound: float, digits: int) -> None:
    high = Fraction(at_most(bound, digits).replace(",", ""))
    low = Fraction(at_least(bound, digits).replace(",", ""))
    assert low <= Fraction(bound) <= high <= low * (1 + Fraction(10) ** (1 - digits))


def test_bounds_are_shown_in_few_digits() -> None:
    shown = [at_most(x) for x in (0.0998061, 1014.62, 2.0**-34, 0.0, 2e15, float("inf"))]
    assert shown == ["0.09981", "1,015", "5.821e-11", "0", "2e+15", "infinity"]
    assert at_least(1014.62) == "1,014"
