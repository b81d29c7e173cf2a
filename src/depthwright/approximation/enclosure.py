"""Rigorous upper bounds on sup abs(g) over an interval, for g a difference of convex functions.

Both one-dimensional problems of the minimal-mass program have this form: the residual as a
function of the radius, and the dual's constraint as a function of the knot. On a cell a convex
function lies below its chord and above its tangents, so g = C₊ − C₋ + s is at most
chord(C₊) − tangents(C₋) + chord(s) + what s may leave its chord by. The bound is of second order
in the cell and holds between all samples; cells that could hold the maximum are bisected until
bound and sample agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from depthwright.refusal import Refusal

MOST_ROUNDS = 80
"""Number of bisections; the last ones reach the resolution of float64."""
MOST_CELLS = 1 << 16
"""Most cells at once; with more, a sharper bound costs too much."""


@dataclass(frozen=True)
class Samples:
    """C₊, C₋, their slopes, and s, at points (n,)."""

    plus: np.ndarray
    plus_slope: np.ndarray
    minus: np.ndarray
    minus_slope: np.ndarray
    rest: np.ndarray

    @property
    def value(self) -> np.ndarray:
        """The function G at the sample points."""
        return self.plus - self.minus + self.rest

    def take(self, index: np.ndarray) -> Samples:
        return Samples(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def sup_abs(
    sample: Callable[[np.ndarray], Samples],
    leaves_chord: Callable[[np.ndarray], np.ndarray],
    breaks: np.ndarray,
    tolerance: float,
    enough: float = np.inf,
) -> tuple[float, float]:
    """(upper bound on sup abs(g) over [breaks[0], breaks[-1]], where abs(g) is about largest).

    `leaves_chord(h)` bounds how far s leaves its chord on a cell of length h that holds no break.
    A sample above `enough` ends the search, and the bound is inf then.
    The bound exceeds the largest sample by a share `tolerance` or what rounding allows. A value
    that is not finite is refused.
    """
    low, high = breaks[:-1], breaks[1:]
    at_low, at_high = _sampled(sample, low), _sampled(sample, high)
    points = np.concatenate([low, high])
    seen = np.abs(np.concatenate([at_low.value, at_high.value]))
    best, where = float(seen.max()), float(points[seen.argmax()])
    settled = best
    for round_ in range(MOST_ROUNDS):
        if best > enough:
            return np.inf, where
        bound = _cell_bound(low, high, at_low, at_high) + leaves_chord(high - low)
        # inf bounds nothing and is cut further; nan would compare as settled and be dropped.
        _refuse(low, np.isnan(bound))
        open_ = bound > best * (1 + tolerance)
        settled = max(settled, float(bound[~open_].max(initial=0.0)))
        middle = (low + high) / 2
        splits = open_ & (middle > low) & (middle < high)
        if not splits.any() or splits.sum() > MOST_CELLS or round_ == MOST_ROUNDS - 1:
            return max(settled, float(bound[open_].max(initial=0.0))), where
        settled = max(settled, float(bound[open_ & ~splits].max(initial=0.0)))
        keep = np.flatnonzero(splits)
        middle = middle[keep]
        at_middle = _sampled(sample, middle)
        seen = np.abs(at_middle.value)
        if seen.max() > best:
            best, where = float(seen.max()), float(middle[seen.argmax()])
        at_low, at_high = (
            _joined(at_low.take(keep), at_middle),
            _joined(at_middle, at_high.take(keep)),
        )
        low, high = np.concatenate([low[keep], middle]), np.concatenate([middle, high[keep]])
    raise AssertionError("the last round returns")


def _sampled(sample: Callable[[np.ndarray], Samples], at: np.ndarray) -> Samples:
    found = sample(at)
    _refuse(at, ~np.isfinite(found.value))
    return found


def _refuse(at: np.ndarray, holes: np.ndarray) -> None:
    if holes.any():
        raise Refusal(
            f"a function that is to be bounded has no finite value near {at[holes.argmax()]:.6g}; "
            "give a profile that is finite on [0, 1]"
        )


def _joined(a: Samples, b: Samples) -> Samples:
    names = Samples.__dataclass_fields__
    return Samples(*(np.concatenate([getattr(a, n), getattr(b, n)]) for n in names))


def _cell_bound(low: np.ndarray, high: np.ndarray, a: Samples, b: Samples) -> np.ndarray:
    """Upper bound on abs(g) over each cell, s taken along its chord."""
    h = high - low
    above = _one_sided(h, a.plus, b.plus, a.minus, b.minus, a.minus_slope, b.minus_slope, a, b, 1)
    below = _one_sided(h, a.minus, b.minus, a.plus, b.plus, a.plus_slope, b.plus_slope, a, b, -1)
    return np.maximum(above, below)


def _one_sided(
    h: np.ndarray,
    top_low: np.ndarray,
    top_high: np.ndarray,
    bottom_low: np.ndarray,
    bottom_high: np.ndarray,
    slope_low: np.ndarray,
    slope_high: np.ndarray,
    a: Samples,
    b: Samples,
    sign: int,
) -> np.ndarray:
    """Max over a cell of chord(top) − max(tangents of bottom) + sign·chord(s).

    A line minus the larger of two lines is concave: the maximum lies where the tangents meet, or
    at an end of the cell, where the tangent touches.
    """
    start = top_low - bottom_low + sign * a.rest
    end = top_high - bottom_high + sign * b.rest
    turn = slope_high - slope_low
    bent = turn * h > 0
    # Tangents from both ends meet at low + at·h.
    meet = (bottom_low - bottom_high + slope_high * h) / np.where(bent, turn * h, 1.0)
    at = np.where(bent, meet, 0.0).clip(0, 1)
    line = top_low + sign * a.rest + at * (top_high - top_low + sign * (b.rest - a.rest))
    tangent = np.maximum(bottom_low + slope_low * at * h, bottom_high - slope_high * (1 - at) * h)
    return np.maximum(np.maximum(start, end), line - tangent)
