"""A rigorous sup over the ball of a drawn network's own error, in low dimensions.

On a cube with centre c and half diagonal ρ, with G the gradient of N at c:

    N(x) = N(c) + G·(x − c) + what neurons whose kink crosses the cube add,

where a neuron with outer weight a, unit direction and distance z from c to its kink adds between
0 and a·(ρ − z)₊. In the same way ϕ(‖x‖) = ϕ(r) + ϕ'(r)·(‖x‖ − r) + kinks of ϕ within ρ of r, and
0 ≤ ‖x‖ − r − u·(x − c) ≤ min(ρ²/(2(r − ρ)₊), 2ρ), with r = ‖c‖, u = c/r. A profile that is not
piecewise linear leaves its tangent by curvature·ρ²/2, and beyond a break at distance z from r by
2·lipschitz·(ρ − z)₊ more. The bound is of second order in ρ but for the gradient's error and near
breaks. Cubes whose bound is too large are cut into 2^d.

N is even, so half of the ball is enough.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

from depthwright.approximation.levelling import Hinges
from depthwright.networks.arithmetic import FLOAT64_ROUNDOFF
from depthwright.targets.declared import check_radial
from depthwright.targets.radial import Radial

MOST_CUBES = 3_000_000
MOST_WORK = 2 * 10**9
"""Neurons times cubes, about a minute on one core; a covering that needs more is abandoned."""
BATCH_ENTRIES = 1 << 21
STEP = 1e-6
"""Step of the difference quotient for smooth profiles."""
QUOTIENT_ROUNDING = 4e-9
"""Rounding error of that quotient, for a profile below 1 in size: 16 units in the last place over
STEP."""


class TooFine(Exception):
    """The covering would need more than MOST_CUBES or MOST_WORK."""


def certify(
    hinges: list[Hinges],
    offset: float,
    target: Radial,
    goal: float,
    step: Callable[[int], None] = lambda cubes: None,
) -> float:
    """A bound on sup over the ball of abs(N − f): at most `goal`, or inf where a value is above it.

    `step` receives the number of cubes examined. Raises TooFine.
    """
    check_radial(target)
    d = target.input_dim
    half = 1.0 / 4
    axis = np.arange(-1 + half, 1, 2 * half)
    cubes = np.array([c for c in itertools.product(axis, repeat=d) if c[0] > 0])
    corners = np.array(list(itertools.product((-0.5, 0.5), repeat=d)))
    neurons = sum(len(h.weights) for h in hinges)
    worst, seen = 0.0, 0
    while len(cubes):
        reach = half * math.sqrt(d)
        nearest = np.linalg.norm(np.maximum(np.abs(cubes) - half, 0.0), axis=1)
        cubes = cubes[nearest <= 1 + 1e-12]
        seen += len(cubes)
        step(seen)
        bound, value = _bounds(hinges, offset, target, cubes, reach)
        inside = np.linalg.norm(cubes, axis=1) <= 1
        if value[inside].max(initial=0.0) > goal:
            return math.inf
        settled = bound <= goal
        worst = max(worst, float(bound[settled].max(initial=0.0)))
        ahead = seen + int((~settled).sum()) * 2**d
        if ahead > MOST_CUBES or ahead * neurons > MOST_WORK:
            raise TooFine
        cubes = (cubes[~settled][:, None, :] + half * corners).reshape(-1, d)
        half /= 2
    return worst


def _bounds(
    hinges: list[Hinges], offset: float, target: Radial, cubes: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """Upper bounds on abs(N − f) over cubes with these centres, and its values there."""
    neurons = sum(len(h.weights) for h in hinges)
    rows = max(1, BATCH_ENTRIES // neurons)
    parts = [
        _batch(hinges, offset, target, c, reach)
        for c in np.split(cubes, range(rows, len(cubes), rows))
    ]
    bound, value = (np.concatenate(p) for p in zip(*parts, strict=True))
    return bound, value


def _batch(
    hinges: list[Hinges], offset: float, target: Radial, x: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    value, gradient = np.full(len(x), offset), np.zeros_like(x)
    above, below = np.zeros(len(x)), np.zeros(len(x))
    weights = abs(offset)
    # A projection errs by (d + 2)u, a sum over n directions in any order by (n + 2)u of its sizes;
    # values, gradients and crossings are at most twice the weights.
    pieces = len(target.breaks)
    operations = 8 * x.shape[1] + 4 * sum(len(h.weights) for h in hinges) + 4 * pieces + 64
    for h in hinges:
        t = x @ h.directions.T
        bent = np.abs(t) - h.knot
        value += np.maximum(bent, 0) @ h.weights
        gradient += (np.sign(t) * (bent > 0) * h.weights) @ h.directions
        # A kink at 0 bends by twice the weight; another one by the weight, at +b and at −b.
        up, down = np.maximum(h.weights, 0), np.maximum(-h.weights, 0)
        if h.knot == 0:
            crossing = 2 * np.maximum(reach - np.abs(t), 0)
        else:
            crossing = np.maximum(reach - np.abs(bent), 0)
            crossing += np.maximum(reach - (np.abs(t) + h.knot), 0)
        above += crossing @ up
        below += crossing @ down
        weights += float(np.abs(h.weights).sum())
    r = np.linalg.norm(x, axis=1)
    radial = np.minimum(reach**2 / (2 * np.maximum(r - reach, 1e-300)), 2 * reach)
    if target.values is not None:
        values, breaks = (np.asarray(part, np.float64) for part in (target.values, target.breaks))
        slopes = np.diff(values) / np.diff(breaks)
        piece = np.searchsorted(breaks[1:-1], r, side="right")
        slope = slopes[piece]
        value_phi = values[piece] + slope * (r - breaks[piece])  # also beyond the sphere
        turns = np.diff(slopes)
        near = np.maximum(reach - np.abs(r[:, None] - breaks[1:-1]), 0.0)
        phi_up = near @ np.maximum(turns, 0) + np.maximum(slope, 0) * radial
        phi_down = near @ np.maximum(-turns, 0) + np.maximum(-slope, 0) * radial
    else:
        value_phi, slope, bend = _tangent(target, r, reach)
        phi_up = np.maximum(slope, 0) * radial + bend
        phi_down = np.maximum(-slope, 0) * radial + bend
    error = value - value_phi
    unit = x / np.maximum(r, 1e-300)[:, None]
    tilt = np.linalg.norm(gradient - slope[:, None] * unit, axis=1) * reach
    high = error + tilt + above + phi_down
    low = -error + tilt + below + phi_up
    size = weights + np.abs(value_phi) + pieces * target.lipschitz
    return np.maximum(high, low) + operations * FLOAT64_ROUNDOFF * size, np.abs(error)


def _tangent(
    target: Radial, r: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ϕ at the radii r, slopes there, and how far ϕ leaves that tangent within `reach` of r.

    The slope is a difference quotient inside the piece that r is on, taken STEP from its ends at
    least; beyond the sphere ϕ is continued linearly. Next to breaks that are closer to each other,
    or where no curvature is known, the tangent is flat and the Lipschitz constant bounds the rest.
    """
    breaks, lipschitz = np.asarray(target.breaks, dtype=np.float64), target.lipschitz
    piece = np.searchsorted(breaks[1:-1], r, side="right")
    low, high = breaks[piece] + 1.01 * STEP, breaks[piece + 1] - 1.01 * STEP
    wide = (low <= high) & math.isfinite(target.curvature)
    inner = np.where(wide, r.clip(low, np.maximum(low, high)), r.clip(STEP, 1 - STEP))
    value = np.asarray(target.profile(inner), dtype=np.float64)
    below, above = inner - STEP, inner + STEP
    rise = np.asarray(target.profile(above) - target.profile(below))
    slope = np.where(wide, rise / (above - below), 0.0)
    moved = reach + np.abs(r - inner)
    past = np.maximum(moved[:, None] - np.abs(inner[:, None] - breaks[1:-1]), 0.0)
    curvature = target.curvature if math.isfinite(target.curvature) else 0.0
    turning = curvature * (moved**2 / 2 + STEP * moved) + 2 * lipschitz * past.sum(axis=1)
    # The difference quotient is off by the rounding of ϕ, over STEP.
    height = float(np.abs(np.asarray(target.profile(breaks))).max()) + lipschitz
    turning += QUOTIENT_ROUNDING * max(1.0, height) * moved
    return value + slope * (r - inner), slope, np.where(wide, turning, lipschitz * moved)
