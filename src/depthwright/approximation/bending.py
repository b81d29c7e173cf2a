"""Even polynomials near a profile whose ridge functions bend least.

*Cost of a polynomial.* The neurons of a direction are the kinks of a piecewise-linear ĝ near g:
about S/(2√η), S = ∫ √abs(g'') over [0, 1], where η is the part of the accuracy that is left for
them. The best uniform approximation leaves the largest η and has the largest S: its ridge function
grows at t = 1 like degree^{d−1}. So for an error e between the best one and the accuracy,

    minimise ∫ weight(t)·abs(g''(t)) dt  subject to  abs(q(r) − ϕ(r)) ≤ e,

a linear program in g(0) and the Chebyshev coefficients of g''. Weights 1/√abs(g'') of the
solution before lead to a local minimum of S.

The program runs in floats on grids and proves nothing: what it finds is taken as exact dyadic
numbers and certified like any other polynomial.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from depthwright.approximation.polynomial import ENDS, Polynomial, in_units
from depthwright.approximation.ridge_function import averaged

BENDING_POINTS = 256
REWEIGHTINGS = 4
WEIGHT_FLOOR = 1e-2
"""Share of the mean of abs(g''): weights stay finite where g is straight."""


@dataclass(frozen=True)
class LeastBending:
    """An even polynomial of small curvature relative to its distance from ϕ."""

    polynomial: Polynomial
    bending: float
    """S = ∫ √abs(g'') over [0, 1]."""


class BendingProgram:
    """Programs of one profile, degree and dimension; each starts from the last one's weights."""

    def __init__(
        self,
        profile: Callable[[Any], Any],
        half_degree: int,
        dimension: int,
        breaks: np.ndarray = ENDS,
    ) -> None:
        self.half_degree, self.dimension = half_degree, dimension
        edges = np.linspace(0.0, math.pi / 2, BENDING_POINTS + 1)
        # Crowding to t = 1, where g'' swings at distances of degree⁻².
        t, self.steps = np.sin((edges[1:] + edges[:-1]) / 2), np.diff(np.sin(edges))
        self.second = np.polynomial.chebyshev.chebvander(2 * t * t - 1, half_degree - 1)
        r = np.union1d(np.cos(np.linspace(0.0, math.pi / 2, 20 * half_degree + 121)), breaks)
        self.columns = _averages(r, half_degree, dimension)
        phi = np.asarray(profile(r), dtype=np.float64)
        self.phi, self.middle, self.unit = in_units(phi)
        self.weights = np.ones_like(t)

    def least_bending(self, error: float) -> LeastBending | None:
        """Least S within `error` of ϕ, up to a local minimum; None where the program fails."""
        best, least = None, math.inf
        error /= self.unit
        for _ in range(REWEIGHTINGS):
            solution = self._solve(error)
            if solution is None:
                break
            bent = np.abs(self.second @ solution[1:])
            bending = float(self.steps @ np.sqrt(bent))
            gain, least = least / max(bending, 1e-300), min(least, bending)
            if gain > 1:
                best = solution
            if gain < 1.005:
                break
            weights = 1 / np.sqrt(bent + WEIGHT_FLOOR * bent.mean() + 1e-300)
            self.weights = weights / weights.mean()
        if best is None:
            return None
        full = np.zeros(2 * self.half_degree - 1)
        best = best * self.unit
        best[0] += self.middle
        full[::2] = best[1:]
        second = Polynomial.from_chebyshev(full)
        bending = least * math.sqrt(self.unit)
        return LeastBending(averaged(second, Fraction(float(best[0])), self.dimension), bending)

    def _solve(self, error: float) -> np.ndarray | None:
        """(K + 1,): g(0) and the coefficients of g'' in T_0, T_2, …, T_{2K−2}."""
        from scipy.optimize import linprog
        from scipy.sparse import block_array, csr_array, eye_array

        columns = csr_array(self.columns)
        second = csr_array(np.pad(self.second, ((0, 0), (1, 0))))
        size = eye_array(len(self.steps))
        solution = linprog(
            np.concatenate([np.zeros(self.half_degree + 1), self.weights * self.steps]),
            A_ub=block_array(
                [[columns, None], [-columns, None], [second, -size], [-second, -size]]
            ),
            b_ub=np.concatenate(
                [self.phi + error, error - self.phi, np.zeros(2 * len(self.steps))]
            ),
            bounds=[(None, None)] * (self.half_degree + 1) + [(0, None)] * len(self.steps),
            method="highs",
        )
        if solution.status != 0:
            return None
        return np.asarray(solution.x[: self.half_degree + 1])


@cache
def _averaged_chebyshev(half_degree: int, dimension: int) -> np.ndarray:
    """q in T_0(r), T_2(r), … for g'' = T_{2·half_degree}, g(0) = 0."""
    unit = [0.0] * (2 * half_degree) + [1.0]
    return averaged(Polynomial.from_chebyshev(unit), Fraction(0), dimension).chebyshev[::2]


def _averages(r: np.ndarray, half_degree: int, dimension: int) -> np.ndarray:
    """(radii, K + 1): q there for g = 1 and for g'' = T_0, T_2, …, T_{2K−2}."""
    coefficients = np.zeros((half_degree + 1, half_degree + 1))
    coefficients[0, 0] = 1.0
    for j in range(half_degree):
        coefficients[: j + 2, j + 1] = _averaged_chebyshev(j, dimension)
    return np.polynomial.chebyshev.chebvander(2 * r * r - 1, half_degree) @ coefficients
