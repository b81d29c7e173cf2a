"""Polynomials with exact rational coefficients, and best uniform approximation by even ones.

Coefficients of the ridge function grow like d^j and cancel, so nothing here is rounded before
the end: a best approximation is found in floats, taken as the dyadic rationals those floats are,
and transformed exactly from then on. Values come from the Chebyshev form, whose rounding error
is a small multiple of eps·Σ abs(coefficients).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from typing import Any

import numpy as np

from depthwright.networks.arithmetic import EPS

CERTIFICATE_POINTS = {"smooth": 1 << 14, "lipschitz": 1 << 17}
"""Angles at which a best approximation is checked; the bound includes the gaps between them."""

ENDS = np.array([0.0, 1.0])
UNITS = (2.0**-10, 2.0**10)
"""Values of smaller range or larger size than these are scaled before a linear program."""


def clenshaw_rounding(degree: int) -> float:
    """Relative to Σ abs(c_k): the rounding error of Clenshaw's sum Σ c_k T_k(t), abs(t) ≤ 1.

    b_k = c_k + 2t·b_{k+1} − b_{k+2} has abs(b_k) ≤ (n + 1)·Σ abs(c), as abs(U_j) ≤ j + 1. Each
    step errs by at most 3u(abs(c_k) + 2·abs(b_{k+1}) + abs(b_{k+2})) ≤ 9u(n + 2)·Σ abs(c), and an
    error of step k reaches the sum times abs(U_k) ≤ k + 1: 9u(n + 2)·(n + 1)(n + 2)/2 in all.
    Attained order near t = ±1, where the linear bound of textbooks (away from the ends) fails.
    """
    return 3 * (degree + 2) ** 3 * EPS


@cache
def _chebyshev_table(degree: int) -> tuple[tuple[int, ...], ...]:
    """Monomial coefficients of T_0, …, T_degree."""
    rows = [(1,), (0, 1)]
    while len(rows) <= degree:
        raised = (0, *(2 * c for c in rows[-1]))
        lower = rows[-2] + (0,) * (len(raised) - len(rows[-2]))
        rows.append(tuple(a - b for a, b in zip(raised, lower, strict=True)))
    return tuple(rows[: degree + 1])


@dataclass(frozen=True)
class Polynomial:
    """Σ_j coefficients[j]·t^j on [−1, 1], exact."""

    coefficients: tuple[Fraction, ...]

    @classmethod
    def from_chebyshev(cls, coefficients: Iterable[float]) -> Polynomial:
        """Σ_j coefficients[j]·T_j(t), each float taken as the dyadic rational it is."""
        exact = [Fraction(float(c)) for c in coefficients]
        total = [Fraction(0)] * len(exact)
        for c, row in zip(exact, _chebyshev_table(len(exact) - 1), strict=True):
            for power, integer in enumerate(row):
                total[power] += c * integer
        return cls(tuple(total))

    @property
    def degree(self) -> int:
        return len(self.coefficients) - 1

    def derivative(self) -> Polynomial:
        """The derivative in t."""
        return Polynomial(
            tuple(j * c for j, c in enumerate(self.coefficients))[1:] or (Fraction(0),)
        )

    @cached_property
    def chebyshev(self) -> np.ndarray:
        """Coefficients in T_0, T_1, …, each correctly rounded to float64."""
        remaining, table = list(self.coefficients), _chebyshev_table(self.degree)
        result = [Fraction(0)] * len(remaining)
        for j in range(self.degree, -1, -1):
            result[j] = remaining[j] / table[j][-1]
            for power, integer in enumerate(table[j]):
                remaining[power] -= result[j] * integer
        return np.array([float(c) for c in result])

    @property
    def magnitude(self) -> float:
        """Σ abs(Chebyshev coefficients) ≥ sup over [−1, 1]."""
        return float(np.abs(self.chebyshev).sum()) * (1 + 4 * EPS * len(self.coefficients))

    @property
    def rounding(self) -> float:
        """Bound on abs(self(t) − exact value) for float64 t in [−1, 1]."""
        return clenshaw_rounding(self.degree) * self.magnitude

    def __call__(self, t: np.ndarray) -> np.ndarray:
        """Float64 values, within `rounding` of the exact ones."""
        return np.polynomial.chebyshev.chebval(t, self.chebyshev)


@dataclass(frozen=True)
class EvenApproximation:
    """q(r) = p(r²) near ϕ on [0, 1]."""

    polynomial: Polynomial
    """q, even, of degree 2K."""
    error: float
    """Rigorous bound on sup over [0, 1] of abs(ϕ − q)."""


def best_even_polynomial(
    profile: Callable[[Any], Any],
    lipschitz: float,
    half_degree: int,
    breaks: np.ndarray = ENDS,
    curvature: float = math.inf,
) -> EvenApproximation:
    """The best uniform approximation of ϕ on [0, 1] by Σ_{j ≤ K} a_j r^{2j}, with its error.

    A linear program on a Chebyshev grid finds the coefficients in T_0, T_2, …, T_{2K}. Jackson
    and Favard promise an error of at most π/(4(K+1)) for every 1-Lipschitz ϕ.
    """
    full = np.zeros(2 * half_degree + 1)
    full[::2] = _minimax(profile, half_degree)
    return certified(Polynomial.from_chebyshev(full), profile, lipschitz, breaks, curvature)


def certified(
    polynomial: Polynomial,
    profile: Callable[[Any], Any],
    lipschitz: float,
    breaks: np.ndarray = ENDS,
    curvature: float = math.inf,
) -> EvenApproximation:
    """An even polynomial q of degree 2K ≥ 2 with a rigorous bound on sup abs(ϕ − q) over [0, 1].

    In r = cos θ, q is a trigonometric polynomial of degree 2K, so abs(dq/dθ) ≤ 2K·H and
    abs(d²q/dθ²) ≤ 4K²·H with H = sup abs(q) (Bernstein). Between angles at distance h the error
    exceeds its larger neighbour by at most

    - (Lip(ϕ) + 2K·H)·h/2 for any Lipschitz profile,
    - (Lip(ϕ) + C + 4K²·H)·h²/8 with C = `curvature` ≥ abs(ϕ'') between `breaks`, which join the
      grid, for abs(d²ϕ/dθ²) ≤ abs(ϕ'')·sin²θ + abs(ϕ')·cos θ.
    """
    half_degree = polynomial.degree // 2
    coefficients = polynomial.chebyshev[::2]
    smooth = math.isfinite(curvature)
    count = CERTIFICATE_POINTS["smooth" if smooth else "lipschitz"]
    r = np.union1d(np.cos(np.linspace(0.0, math.pi / 2, count + 1)), breaks)
    # q is evaluated in u = r², as T_{2j}(r) = T_j(2r² − 1): half the work, same bound.
    values = np.polynomial.chebyshev.chebval(2 * r * r - 1, coefficients)
    phi = np.asarray(profile(r), dtype=np.float64)
    # The spacing, widened by what the rounding of cos moves an angle (≤ eps/sin θ₁).
    spacing = math.pi / (2 * count) * (1 + 1e-5)
    # Rounding 2r² − 1 moves q by at most 2·EPS·K²·Σ abs(c), which the factor 2 covers.
    rounding = 2 * clenshaw_rounding(half_degree) * float(np.abs(coefficients).sum())
    rounding += 64 * EPS * (float(np.abs(phi).max()) + lipschitz)
    height = (float(np.abs(values).max()) + rounding) / (1 - half_degree * spacing)
    between = (
        (lipschitz + curvature + 4 * half_degree**2 * height) * spacing**2 / 8
        if smooth
        else (lipschitz + 2 * half_degree * height) * spacing / 2
    )
    error = float(np.abs(phi - values).max()) + between + rounding
    return EvenApproximation(polynomial, error)


def _minimax(profile: Callable[[Any], Any], half_degree: int) -> np.ndarray:
    """Coefficients (K + 1,) in T_{2j}(r) of the best approximation on a Chebyshev grid."""
    from scipy.optimize import linprog

    r = np.cos(np.linspace(0.0, math.pi / 2, 60 * half_degree + 241))
    basis = np.polynomial.chebyshev.chebvander(2 * r * r - 1, half_degree)
    phi = np.asarray(profile(r), dtype=np.float64)
    phi, middle, scale = in_units(phi)
    ones = np.ones((len(r), 1))
    solution = linprog(
        np.eye(half_degree + 2)[-1],
        A_ub=np.block([[basis, -ones], [-basis, -ones]]),
        b_ub=np.concatenate([phi, -phi]),
        bounds=[(None, None)] * (half_degree + 1) + [(0, None)],
        method="highs",
    )
    # Where the program fails, least squares: the result is certified in any case.
    found = solution.x[:-1] if solution.status == 0 else np.linalg.lstsq(basis, phi)[0]
    coefficients = np.asarray(found) * scale
    coefficients[0] += middle
    return coefficients


def in_units(values: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Values v as (v − middle)/unit, scaled for the tolerances of linear programs; middle, unit.

    As they are where their size and their range are ordinary.
    """
    low, high = float(values.min()), float(values.max())
    if UNITS[0] <= high - low and max(-low, high) <= UNITS[1]:
        return values, 0.0, 1.0
    middle = low + (high - low) / 2
    unit = 2.0 ** math.frexp(high - low)[1] if high > low else 1.0
    return (values - middle) / unit, middle, unit
