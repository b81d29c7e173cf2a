"""One linear program, solved by the first setting of HiGHS that succeeds.

    min  Σ_k prices[k]·abs(weights[k]) + penalty·excess
    subject to  abs(offset + matrix @ weights − values) ≤ slack + excess,  excess ≥ 0

`excess` makes every such program feasible, also with few columns; its penalty bounds the dual
measure by Σ abs(measure) ≤ penalty, which keeps the simplex method stable where columns are nearly
dependent. A penalty above the size of the unbounded measure leaves no excess, and then the program
is the one without it.

Which setting succeeds depends on the last bits of the columns, and so on the processor; the
solution does not, beyond HiGHS's tolerances. A solution is used to find a bound and never is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

TIGHT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
LADDER: tuple[tuple[str, dict[str, Any]], ...] = (
    ("highs-ds", TIGHT),
    ("highs-ds", TIGHT | {"presolve": False}),
    ("highs-ipm", TIGHT),
    ("highs-ds", {}),
    ("highs-ipm", {}),
    ("highs-ds", {"presolve": False}),
)
"""Methods and options of scipy's `linprog`, the sharpest first."""
MOST_STEPS = 4000
"""Step limit of a method: one that needs more does not converge."""
COLUMN_SIZE = 1024.0
"""Scale of the largest entry of a column; HiGHS drops entries below 1e-9."""


@dataclass(frozen=True)
class Solution:
    """Minimiser and dual measure."""

    weights: np.ndarray
    offset: float
    excess: float
    measure: np.ndarray
    """(rows,) multiplier of the upper constraint less that of the lower one; sums to 0."""


def solve(
    matrix: np.ndarray, values: np.ndarray, prices: np.ndarray, slack: float, penalty: float
) -> Solution | None:
    """The answer of the first solver that succeeds; None where none does.

    `matrix` (rows, columns) ≥ 0 with no zero column; the values are of size 1.
    """
    from scipy.optimize import linprog

    rows, columns = matrix.shape
    scale = matrix.max(axis=0) / COLUMN_SIZE
    matrix = matrix / scale
    ones = np.ones((rows, 1))
    cost = np.concatenate([prices / scale, prices / scale, [0.0, penalty]]) / penalty
    constraints = np.block([[matrix, -matrix, ones, -ones], [-matrix, matrix, -ones, -ones]])
    for method, options in LADDER:
        found = linprog(
            cost,
            A_ub=constraints,
            b_ub=np.concatenate([values + slack, slack - values]),
            bounds=[(0, None)] * (2 * columns) + [(None, None), (0, None)],
            method=method,
            options=options | {"maxiter": MOST_STEPS},
        )
        if found.status != 0:
            continue
        multipliers = found.ineqlin.marginals * penalty
        if np.isfinite(found.x).all() and np.isfinite(multipliers).all():
            return Solution(
                weights=(found.x[:columns] - found.x[columns : 2 * columns]) / scale,
                offset=float(found.x[-2]),
                excess=float(found.x[-1]),
                measure=multipliers[:rows] - multipliers[rows:],
            )
    return None
