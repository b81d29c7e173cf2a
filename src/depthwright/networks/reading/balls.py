"""Matrices that are known exactly, or up to a proved bound for each entry.

A `Ball` is a float64 matrix `middle` and a bound `error` ≥ 0 (None where it is zero): the true
matrix differs from `middle` by at most `error`, entry by entry. Sums and products keep this,
rounding included, and they notice where rounding did not happen: a product of powers of two, of
short weights, or a mere selection of rows stays exact (error None).

Matrices are numpy arrays or scipy's csr_array, whichever they came as.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from depthwright.networks.arithmetic import FLOAT64_ROUNDOFF

UPWARD = 1 + 2.0**-20
"""Factor that covers the rounding of the bounds themselves: sums of up to 10⁹ positive terms."""
TINY = 2.0**-1074
"""Spacing of the smallest floats: what a product loses where it underflows."""


@dataclass(frozen=True, eq=False)
class Ball:
    """The true matrix is within `error` of `middle`, entry by entry."""

    middle: Any
    error: Any = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.middle.shape

    def rows(self, chosen: np.ndarray) -> Ball:
        """The rows with these numbers, in this order."""
        return Ball(self.middle[chosen], None if self.error is None else self.error[chosen])

    def __neg__(self) -> Ball:
        return Ball(-self.middle, self.error)

    def __add__(self, other: Ball) -> Ball:
        a, b = self.middle, other.middle
        total = a + b
        shifted = total - a  # Knuth: `lost` is what rounding took away, exactly
        lost = abs((a - (total - shifted)) + (b - shifted))
        bounds = [e for e in (self.error, other.error) if e is not None]
        return Ball(total, _error(lost if not bounds else sum(bounds, lost) * UPWARD))

    def __matmul__(self, other: Ball) -> Ball:
        a, b = self.middle, other.middle
        if _may_underflow(a, b):
            a, b = _dense(a), _dense(b)
        error = _rounding(a, b)
        for x, y in ((abs(a), other.error), (self.error, abs(b)), (self.error, other.error)):
            if x is not None and y is not None:
                error = error + x @ y * UPWARD
        return Ball(a @ b, _error(error))


def exact(values: Any) -> Ball:
    """A float64 matrix, without error."""
    return Ball(values)


def identity(size: int) -> Ball:
    """The identity, sparse."""
    return Ball(sparse.eye_array(size, format="csr"))


def diagonal(entries: np.ndarray, errors: np.ndarray | None = None) -> Ball:
    middle = sparse.diags_array(entries).tocsr()
    return Ball(middle, None if errors is None else sparse.diags_array(errors).tocsr())


def reciprocal(value: float) -> Ball:
    """1/value as a 1 × 1 ball, exact for powers of two."""
    middle = 1.0 / value
    error = max(abs(middle) * FLOAT64_ROUNDOFF, TINY)
    power_of_two = np.frexp(value)[0] in (0.5, -0.5)
    return Ball(np.array([[middle]]), None if power_of_two else np.array([[error]]))


def scaled(matrix: Any, factor: Ball) -> Ball:
    """A matrix of zeros and ones times a 1 × 1 ball."""
    error = None if factor.error is None else matrix * float(factor.error[0, 0])
    return Ball(matrix * float(factor.middle[0, 0]), error)


def _mapped(matrix: Any, function: Callable[[np.ndarray], np.ndarray]) -> Any:
    """A function with f(0) = 0, entry by entry."""
    if isinstance(matrix, np.ndarray):
        return function(matrix)
    return sparse.csr_array((function(matrix.data), matrix.indices, matrix.indptr), matrix.shape)


def _dense(matrix: Any) -> np.ndarray:
    return matrix if isinstance(matrix, np.ndarray) else matrix.toarray()


def _entries(matrix: Any) -> np.ndarray:
    """Absolute values of the entries that are not zero."""
    values = np.abs(matrix if isinstance(matrix, np.ndarray) else matrix.data)
    return values[values > 0]


def _may_underflow(a: Any, b: Any) -> bool:
    least = [_entries(m).min(initial=1.0) for m in (a, b)]
    return least[0] * least[1] < 2.0**-900


def _fineness(values: np.ndarray) -> np.ndarray:
    """1/(the lowest bit that is set) of each number; 0 for 0."""
    mantissa, power = np.frexp(values)
    integer = np.ldexp(mantissa, 53).astype(np.int64)
    low = (integer & -integer).astype(np.float64)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return np.where(integer == 0, 0.0, np.ldexp(1 / low, 53 - power))


def _rounding(a: Any, b: Any) -> Any:
    """How far a @ b, computed in floats in any order, may be from the true product.

    All terms of an entry are multiples of its finest term's lowest bit. Where their absolute
    values sum up to at most 2^53 of that bit, no partial sum is ever rounded. The sum of the
    reciprocals of all those bits stands for the largest of them.
    """
    size = abs(a) @ abs(b)
    with np.errstate(over="ignore", invalid="ignore"):
        bits = _mapped(a, _fineness) @ _mapped(b, _fineness)
        steps = size * bits  # of csr_arrays as well: entry by entry
        terms = a.shape[1] if isinstance(a, np.ndarray) else int(np.diff(a.indptr).max(initial=0))
        bound = (terms + 2) * FLOAT64_ROUNDOFF * UPWARD * size
        if isinstance(steps, np.ndarray):
            return np.where(steps * UPWARD <= 2.0**53, 0.0, bound + terms * TINY)
        return bound * (steps * UPWARD > 2.0**53)


def _error(bound: Any) -> Any:
    """None instead of zeros."""
    if not isinstance(bound, np.ndarray):
        bound.eliminate_zeros()
        return bound if bound.nnz else None
    return bound if bound.any() else None
