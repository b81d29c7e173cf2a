"""Sums and products of dyadic numbers are those of fractions."""

from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from depthwright.networks.exact.dyadic import GAP, Dyadic

TERMS = st.lists(
    st.tuples(
        st.sampled_from([1, -1, 3, -5, 8, 2**70 + 2]), st.sampled_from([0, 1, 60, 100, 200, 300])
    ),
    max_size=6,
)


def fraction(terms):
    return sum((integer * Fraction(2) ** power for integer, power in terms), Fraction(0))


@given(TERMS, TERMS)
def test_terms_in_any_number_add_and_multiply(one, two):
    first, second = Dyadic.total(one), Dyadic.total(two)
    assert first.fraction == fraction(one)
    assert (first * second).fraction == fraction(one) * fraction(two)
    assert (first + second).fraction == fraction(one) + fraction(two)
    for value in (first, first * second, first + second):
        assert all(integer & 1 for integer, _ in value.terms)
        assert all(q - p - i.bit_length() > GAP for (i, p), (_, q) in pairwise(value.terms))


def test_three_products_at_one_power():
    value = Dyadic(1) + Dyadic(1, 100) + Dyadic(1, 200)
    assert (value * value).fraction == (1 + 2**100 + 2**200) ** 2
