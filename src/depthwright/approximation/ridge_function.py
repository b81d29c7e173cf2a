"""SES19, step 2: the ridge function whose mean over all directions is a given polynomial of ‖x‖.

g(t) = Σ_j a_j c_{d,j} t^{2j} has E_w g(w·x) = q(‖x‖) for q(r) = Σ_j a_j r^{2j}, w uniform on the
sphere of R^d, with 1/c_{d,j} = E w_1^{2j}. All of it is exact.
"""

from __future__ import annotations

from fractions import Fraction

from depthwright.approximation.cubature import sphere_moment
from depthwright.approximation.polynomial import Polynomial


def ridge_constant(dimension: int, j: int) -> Fraction:
    """c_{d,j} with E_w (w·x)^{2j} = ‖x‖^{2j}/c_{d,j}: the reciprocal of the moment of w_1^{2j}."""
    return 1 / sphere_moment(dimension, (j,))


def ridge_function(polynomial: Polynomial, dimension: int) -> Polynomial:
    """g with E_w g(w·x) = polynomial(‖x‖), w uniform on the sphere; exact."""
    return Polynomial(
        tuple(
            a * ridge_constant(dimension, power // 2) if a else a
            for power, a in enumerate(polynomial.coefficients)
        )
    )


def averaged(second: Polynomial, start: Fraction, dimension: int) -> Polynomial:
    """q(r) = E_w g(r·w_1) for the even g with g'' = `second` and g(0) = `start`; exact."""
    coefficients = [start, Fraction(0)]
    for power, c in enumerate(second.coefficients, 2):
        integrated = c / (power * (power - 1))
        coefficients.append(integrated / ridge_constant(dimension, power // 2) if c else c)
    return Polynomial(tuple(coefficients))
