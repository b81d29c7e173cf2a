"""A linear program with infinitely many columns and rows, by exchange.

    min  Σ_k price(b_k)·abs(a_k)   subject to   abs(c + Σ_k a_k·column(b_k, r) − value(r)) ≤ slack

for every row r of an interval, over finitely many knots b_k of another. A program on a few knots
and rows (`fit_program`) is solved; the rows that violate the primal and the knots that violate the
dual are added; and so on until there are none. While slack is exceeded, the price of excess rises:
dual measures grow from small to large, and every program on the way has an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from depthwright.approximation.fit_program import solve

MOST_EXCHANGES = 80
MOST_POINTS = 900
"""Most knots and rows: the columns of a larger program are equal in float64."""
MOST_ADDED = 24
"""Most violations of a kind that one exchange adds, the largest first."""
SMALLEST_VIOLATION = 1e-9
"""Smallest violation of the primal that counts, for values of size 1: the accuracy of
`fit_program`."""
PATIENCE, LARGEST_GAP = 12, 1e-3
"""Exchanges without an excess of slack before the gap widens, and the largest gap."""
PENALTY_GROWTH, EXCHANGES_AT_PENALTY = 10.0, 2
"""Growth factor of the penalty of excess, and exchanges before it grows."""
MANY, NEARLY_ACTIVE = 200, 0.8
"""With more knots and rows than this, nearly inactive ones are dropped while slack is exceeded; not
later, or the same ones would be dropped and added again for ever."""


@dataclass(frozen=True)
class SemiInfinite:
    """The program with its current knots and rows, and the grids on which violations are sought."""

    columns: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """(knots (n, 1) or (n,), rows likewise) → their entries ≥ 0, broadcast."""
    values: Callable[[np.ndarray], np.ndarray]
    """The profile at such rows, scaled to size 1."""
    prices: Callable[[np.ndarray], np.ndarray]
    slack: float
    knots: np.ndarray
    rows: np.ndarray
    knot_grid: np.ndarray
    row_grid: np.ndarray
    penalty: float
    """The first penalty of excess."""

    def answers(self, gap: float) -> Iterator[Answer]:
        """Solutions, increasingly accurate; the last is settled, or the best that float64 allows.

        The gap widens, up to LARGEST_GAP, where rounding keeps the violations from falling below.
        """
        program, since, within = self, 0, 0
        for _ in range(MOST_EXCHANGES):
            widened = gap * 2.0 ** max(0, within - PATIENCE)
            allowed = max(gap, min(widened, LARGEST_GAP))
            answer, larger = program._step(allowed)
            if answer is None:
                return
            yield answer
            if answer.settled or len(larger.knots) + len(larger.rows) > MOST_POINTS:
                return
            if answer.excess <= allowed * self.slack:
                within += 1
            elif larger is program or since + 1 >= EXCHANGES_AT_PENALTY:
                larger, since = replace(larger, penalty=larger.penalty * PENALTY_GROWTH), 0
            else:
                since += 1
            program = larger

    def _step(self, gap: float) -> tuple[Answer | None, SemiInfinite]:
        """The solution on these knots and rows, and the program with violated ones added."""
        matrix = self.columns(self.knots, self.rows[:, None])
        prices = self.prices(self.knots)
        found = solve(matrix, self.values(self.rows), prices, self.slack, self.penalty)
        if found is None:
            return None, self
        used, charged = np.flatnonzero(found.weights), np.flatnonzero(found.measure)
        knots, weights = self.knots[used], found.weights[used]
        rows, measure = self.rows[charged], found.measure[charged]

        def residual(at: np.ndarray) -> np.ndarray:
            sums = self.columns(knots, at[:, None]) @ weights
            return np.abs(found.offset + sums - self.values(at)) - found.excess

        def share(at: np.ndarray) -> np.ndarray:
            return np.abs(self.columns(at[:, None], rows) @ measure) / self.prices(at)

        level = max(gap * self.slack, SMALLEST_VIOLATION)
        new_rows = peaks(self.row_grid, residual(self.row_grid) - self.slack, level)
        new_knots = peaks(self.knot_grid, share(self.knot_grid) - 1, gap)
        old_knots, old_rows = self.knots, self.rows
        if found.excess > gap * self.slack and len(old_knots) + len(old_rows) > MANY:
            needed = residual(old_rows) > NEARLY_ACTIVE * self.slack
            old_rows = old_rows[needed | (found.measure != 0)]
            old_knots = old_knots[(share(old_knots) > NEARLY_ACTIVE) | (found.weights != 0)]
        all_knots, all_rows = np.union1d(old_knots, new_knots), np.union1d(old_rows, new_rows)
        complete = len(all_knots) + len(all_rows) == len(old_knots) + len(old_rows)
        answer = Answer(
            knots=knots,
            weights=weights,
            offset=found.offset,
            rows=rows,
            measure=measure,
            excess=found.excess,
            settled=complete and found.excess <= gap * self.slack,
        )
        if complete:
            return answer, self
        larger = replace(
            self,
            knots=all_knots,
            rows=all_rows,
            row_grid=_refined(self.row_grid, new_rows),
            knot_grid=_refined(self.knot_grid, new_knots),
        )
        return answer, larger


@dataclass(frozen=True)
class Answer:
    """The program's solution, restricted to the knots and rows with weight."""

    knots: np.ndarray
    weights: np.ndarray
    offset: float
    rows: np.ndarray
    measure: np.ndarray
    """Weights of the rows in the dual; they sum to 0."""
    excess: float
    """By which the slack is exceeded."""
    settled: bool
    """Nothing on the grids violates primal or dual by more than the gap."""


def peaks(grid: np.ndarray, height: np.ndarray, level: float) -> np.ndarray:
    """Where `height` has local maxima above `level`, refined by the parabola through three."""
    padded = np.pad(height, 1, constant_values=-np.inf)
    tops = np.flatnonzero((height > level) & (height >= padded[:-2]) & (height >= padded[2:]))
    found = []
    for i in tops[np.argsort(-height[tops])][:MOST_ADDED]:
        found.append(grid[i])
        if 0 < i < len(grid) - 1:
            (a, b, c), (u, v, w) = grid[i - 1 : i + 2], height[i - 1 : i + 2]
            left, right = (v - u) / (b - a), (w - v) / (c - b)
            if left > right:
                vertex = (a + b) / 2 + left / (left - right) * (c - a) / 2
                if a < vertex < c:
                    found.append(vertex)
    return np.array(found)


def _refined(grid: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The grid with these points and the middles of the cells around them."""
    grid = np.union1d(grid, points)
    at = np.searchsorted(grid, points)
    left, right = np.maximum(at - 1, 0), np.minimum(at + 1, len(grid) - 1)
    return np.union1d(grid, np.concatenate([(grid[left] + points) / 2, (grid[right] + points) / 2]))
