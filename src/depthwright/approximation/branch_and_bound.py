"""A rigorous sup over the ball of abs(N − f), for any depth-2 network N and radial f, by boxes.

Statement. N(x) = c + Σ_i a_i σ(w_i·x + b_i), f(x) = ϕ(‖x‖) on the unit ball of R^d. On a box with
centre m and half sides h_j, N − f lies between two affine functions, whose extremes over the box
are sums; boxes are halved, the worst ones first, until no bound exceeds (1 + gap) times a value
that was met.

Proof. With e_i = Σ_j abs(w_ij)·h_j, neuron i takes z in [z_i − e_i, z_i + e_i], z_i = w_i·m + b_i.
Where that has one sign, σ is linear. Else, λ_i = (z_i + e_i)/(2e_i):

    max(0, 1)·z or 0  ≤  σ(z)  ≤  λ_i·(z − z_i + e_i),

the lower line z where z_i > 0, else 0. With [p, q] the radii in box and ball, s the slope of ϕ's
chord there and t₋ ≤ ϕ(r) − s·r ≤ t₊ on it (at the breaks of ϕ, and by its curvature or Lipschitz
constant between them), f lies between s‖x‖ + t₋ and s‖x‖ + t₊; and with δ = x − m, u = m/‖m‖,

    ‖m‖ + u·δ  ≤  ‖x‖  ≤  ‖m‖ + u·δ + ‖δ‖²/(2‖m‖),

the left side by convexity, the right one as √(‖m‖² + y) ≤ ‖m‖ + y/(2‖m‖). All of it is of second
order in h: a box of side h near the worst point errs by about Σ abs(a_i)‖w_i‖·h².

Rounding. Each of a box's sums has at most n + d terms of total size S = abs(c) + sup abs(ϕ) +
Lip ϕ + Σ abs(a_i)(‖w_i‖₁ + abs(b_i)), and each term a handful of operations; 16·(n + d + 16)·u·S
is added once. N is the real-number function of the stored parameters.

Source. Ours; the lines are those by which verifiers relax ReLU (Singh et al. 2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from depthwright.networks.arithmetic import FLOAT64_ROUNDOFF
from depthwright.refusal import Refusal
from depthwright.targets.declared import check_radial
from depthwright.targets.radial import Radial

GAP = 0.08
BOXES = 10_000_000
"""Boxes examined before the search stops with the bounds it has."""
BATCH = 1 << 16
"""Boxes halved at once: the worst ones."""
BOXES_A_THREAD = 1024
"""Fewest boxes for which a thread is started."""
SAMPLES = 33
"""Radii per box at which a profile is evaluated of which only a Lipschitz constant is known."""
MOST_INPUTS = 6


@dataclass(frozen=True)
class Bracket:
    """A lower and an upper bound on sup abs(N − f) over the ball."""

    lower: float
    """The error at `at` minus its rounding."""
    upper: float
    """A proved upper bound."""
    at: np.ndarray
    """(d,) a point of the ball."""
    boxes: int
    """Number of boxes examined."""
    size: float
    """S: the total size of the terms, of which an evaluation in floats loses (n + d + 8)·u."""

    @property
    def gap(self) -> float:
        """(upper − lower)/lower."""
        return (self.upper - self.lower) / self.lower if self.lower else math.inf


@dataclass
class Boxes:
    """Boxes with their upper bounds; (count, d) and (count,)."""

    centre: np.ndarray
    half: np.ndarray
    bound: np.ndarray
    axis: np.ndarray
    """The axis to halve: where the two lines lie furthest apart."""

    def __getitem__(self, at: np.ndarray) -> Boxes:
        return Boxes(self.centre[at], self.half[at], self.bound[at], self.axis[at])

    def __add__(self, other: Boxes) -> Boxes:
        parts = ((getattr(self, k), getattr(other, k)) for k in vars(self))
        return Boxes(*(np.concatenate(pair) for pair in parts))

    def halves(self) -> tuple[np.ndarray, np.ndarray]:
        """Centres and half sides of both halves of every box; exact, as they are dyadic."""
        rows = np.arange(len(self.axis))
        half, step = self.half.copy(), np.zeros_like(self.half)
        half[rows, self.axis] /= 2
        step[rows, self.axis] = half[rows, self.axis]
        return np.concatenate([self.centre - step, self.centre + step]), np.tile(half, (2, 1))


def sup_error(
    outer: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    offset: float,
    target: Radial,
    *,
    gap: float = GAP,
    goal: float = 0.0,
    boxes: int = BOXES,
) -> Bracket:
    """Bracket sup over the ball of abs(N − f), N with (n,) outer, (n, d) weight, (n,) bias.

    Stops at the relative `gap`, or where the upper end is at most `goal` or the lower one above
    it, or after `boxes` boxes: the bracket holds in any case.
    """
    search = Search(outer, weight, bias, offset, target)
    d = target.input_dim
    corner = search.bounded(np.zeros((1, d)), np.ones((1, d)))
    settled, alive, seen = 0.0, corner, 1
    while True:
        enough = max((1 + gap) * search.lower, goal)
        done = alive.bound <= enough
        settled = max(settled, float(alive.bound[done].max(initial=0.0)))
        alive = alive[~done]
        left = float(alive.bound.max(initial=0.0))
        if not len(alive.bound) or seen >= boxes or 0 < goal < search.lower:
            upper = max(settled, left, search.lower)
            above = math.nextafter(upper, math.inf)
            return Bracket(search.lower, above, search.at, seen, search.size)
        count = min(len(alive.bound), BATCH)
        order = np.argpartition(-alive.bound, count - 1)
        fresh = search.bounded(*alive[order[:count]].halves())
        alive = alive[order[count:]] + fresh
        seen += 2 * count


class Search:
    """The branch and bound of one network and one target; keeps the largest error found."""

    def __init__(
        self,
        outer: np.ndarray,
        weight: np.ndarray,
        bias: np.ndarray,
        offset: float,
        target: Radial,
    ) -> None:
        check_radial(target)
        n, d = weight.shape
        if d > MOST_INPUTS:
            raise Refusal(
                f"boxes in dimension {d} are too many to be looked at; certify an error in "
                f"dimension {MOST_INPUTS} or less"
            )
        arrays = (np.ascontiguousarray(a, dtype=np.float64) for a in (outer, weight, bias))
        self.outer, self.weight, self.bias = arrays
        self.offset, self.target = float(offset), target
        self.breaks = np.asarray(target.breaks, dtype=np.float64)
        self.at_breaks = np.asarray(target.profile(self.breaks), dtype=np.float64)
        height = float(np.abs(self.at_breaks).max()) + target.lipschitz
        with np.errstate(over="ignore", invalid="ignore"):
            inner = np.abs(self.weight).sum(axis=1) + np.abs(self.bias)
            size = abs(self.offset) + height + float(np.abs(self.outer) @ inner)
        if not math.isfinite(size):
            raise Refusal(
                "the network's weights are so large that its values leave float64, where no error "
                "is bounded; scale the network down"
            )
        self.size = size
        self.rounding = 16 * (n + d + 16) * FLOAT64_ROUNDOFF * size
        self.lower, self.at = 0.0, np.zeros(d)

    def bounded(self, centre: np.ndarray, half: np.ndarray) -> Boxes:
        """Bounds over boxes (count, d); boxes that do not meet the ball are left out."""
        from depthwright.approximation import branch_kernel
        from depthwright.machine.threads import shared

        nearest = np.linalg.norm(np.maximum(np.abs(centre) - half, 0.0), axis=1)
        meets = nearest <= 1 + 1e-12
        centre, half, nearest = centre[meets], half[meets], nearest[meets]
        farthest = np.minimum(np.linalg.norm(np.abs(centre) + half, axis=1), 1.0)
        slope, low, high = self._chord(np.minimum(nearest, farthest), farthest)
        network = self.outer, self.weight, self.bias, self.offset
        boxes = centre, half, nearest, farthest, slope, low, high
        found = shared(
            lambda part: branch_kernel.bounds(*network, *(given[part] for given in boxes)),
            len(centre),
            BOXES_A_THREAD,
        )
        bound, value, axis = map(np.concatenate, zip(*found, strict=True))
        self._meet(centre, value)
        return Boxes(centre, half, bound + self.rounding, axis)

    def _meet(self, centre: np.ndarray, value: np.ndarray) -> None:
        """Errors at the centres that lie in the ball."""
        radius = np.linalg.norm(centre, axis=1)
        inside = radius <= 1
        if not inside.any():
            return
        error = np.abs(value - np.asarray(self.target.profile(np.minimum(radius, 1.0))))
        best = int(np.where(inside, error, -1.0).argmax())
        if error[best] - self.rounding > self.lower:
            self.lower, self.at = float(error[best] - self.rounding), centre[best].copy()

    def _chord(
        self, near: np.ndarray, far: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """s, t₋ and t₊ on radii [near, far], each (boxes,)."""
        width = far - near
        ends = [np.asarray(self.target.profile(r), dtype=np.float64) for r in (near, far)]
        slope = np.divide(ends[1] - ends[0], width, out=np.zeros_like(width), where=width > 1e-9)
        if math.isfinite(self.target.curvature):
            low = np.minimum(ends[0] - slope * near, ends[1] - slope * far)
            high = np.maximum(ends[0] - slope * near, ends[1] - slope * far)
            for at, value in zip(self.breaks[1:-1], self.at_breaks[1:-1], strict=True):
                inside = (near < at) & (at < far)
                height = value - slope * at
                low = np.where(inside, np.minimum(low, height), low)
                high = np.where(inside, np.maximum(high, height), high)
            bend = self.target.curvature * width**2 / 8
        else:
            share = np.linspace(0, 1, SAMPLES)[:, None]
            radii = near + share * width
            heights = np.asarray(self.target.profile(radii), dtype=np.float64) - slope * radii
            low, high = heights.min(axis=0), heights.max(axis=0)
            # abs(s) ≤ Lip ϕ, so ϕ − s·r climbs by at most 2·Lip ϕ·(half a step) from a sample
            bend = self.target.lipschitz * width / (SAMPLES - 1)
        tiny = 1e-9 * self.target.lipschitz  # where the chord is too short for a slope
        bend = bend + np.where(width > 1e-9, 0.0, tiny)
        return slope, low - bend, high + bend
