"""Depth 2 against products of spheres: D17's floor through Gegenbauer tails.

Statement
    Let u, v be independent and uniform on S^{d−1}, d ≥ 3, f(u, v) = φ(u·v), and let every g_i be a
    function of (v_i·u, v_i'·v) alone, as a hidden neuron of a depth-2 network is, and as its
    constant is. With P_n φ the part of φ of degree ≥ n in L2(μ_d), dμ_d(t) ∝ (1 − t²)^{(d−3)/2}dt,
    and N_{d,n} = (2n + d − 2)(n + d − 3)!/(n!(d − 2)!), for every n,

        ‖f − Σ_i g_i‖ ≥ ‖P_n φ‖ − Σ_i‖g_i‖/√N_{d,n}.

Proof
    D17 shows abs⟨g_i, h⟩ ≤ ‖g_i‖/√N_{d,n} for the unit vector h = P_n f/‖P_n f‖. Since
    ⟨f, h⟩ = ‖P_n φ‖, ‖f − Σ g_i‖ ≥ ⟨f − Σ g_i, h⟩ is at least the right side. (D17 Theorem 3
    expands ‖f − Σ g_i‖² instead and loses a square: ‖P_n φ‖·(‖P_n φ‖ − 2·Σ‖g_i‖/√N_{d,n}); its
    Theorem 1 as printed lacks the square on the left.)

Builds
    Nothing. Gives a floor on the error for given norms (`error_floor`) and on the norms for a given
    error (`norms_needed`).

Claim
    L2 error over the pair law. Through x = (u + v)/2, ‖x‖² = (1 + u·v)/2, a radial function of x
    is a function of u·v, and its sup error over the unit ball is at least this L2 error.
    Any n may be used; the best of the first ones is.

Shapes and arithmetic
    With t = cos θ, dμ_d ∝ sin^{d−2} θ dθ, and Gauss–Legendre rules Q on small cells are exact, far
    below rounding, for what is a trigonometric polynomial on each: p_j·p_k, and p_k times a φ
    linear in r = cos(θ/2). Let φ leave its chords in r on these cells by at most δ, and φ̃ be the
    chords. Under Q the p_k are orthonormal, so φ − φ̃ moves the vector of coefficients by at most
    δ in norm, and in L2(μ_d) by at most δ again: what is computed of a tail errs by at most 2δ.
    The tail is the larger of what the coefficients from n on sum to and, by Parseval, of
    ‖φ‖² less the squares below n; 2δ and COEFFICIENT_ROUNDING come off. Norms of neurons are
    rounded up, whatever their kinks (`spread_halves`).

Not in the paper
    m in place of d³ (`Sine.frequency`), so that the floor is seen at d = 10 to 30. No square in the
    bound. Tails with their error.

Source
    D17 Theorem 3; SES19 Theorem 4 for the reduction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np

from depthwright.approximation.averaged_hinge import mean_size
from depthwright.approximation.quadrature import composite
from depthwright.bounds.norm_floor import TINY, as_network, neurons_of
from depthwright.networks.arithmetic import EPS
from depthwright.networks.network import Network
from depthwright.refusal import Refusal
from depthwright.targets.declared import check_radial
from depthwright.targets.radial import Radial

if TYPE_CHECKING:
    import torch

MOST_DEGREES = 400
"""Degrees n that are tried."""
CELL_NODES, FEWEST_CELLS, MOST_CELLS = 4, 1 << 14, 1 << 17
"""Nodes per cell and fewest cells of the quadrature in θ."""
CELLS_A_DEGREE = 6
"""Cells for each degree of the trigonometric polynomials: 4 nodes err by 1e-12 there."""
CHORD_SHARE = 1e-4
"""Share of the largest value by which φ may leave its chords, if MOST_CELLS allows."""
COEFFICIENT_ROUNDING = 1e-9
"""Rounding of the vector of coefficients, in units of ‖φ‖; measured at most 1e-12."""
NORM_CELLS, NORM_END = 750, 12.0
"""Grid points tanh(y) on each side of 0, with y up to NORM_END."""
NORM_ROUNDING, NORM_SLACK, NORM_UNDERFLOW = 1e-6, 4e-9, 1e-140
"""Of the chances, relative; of a neuron's w·x and bias, relative; of what float64 loses below."""


def log_dimension(dimension: int, degree: int) -> float:
    """Log N_{d,n}: how many spherical harmonics of degree n there are on S^{d−1}."""
    d, n = dimension, degree
    if n == 0:
        return 0.0
    factorials = math.lgamma(n + d - 2) - math.lgamma(n + 1) - math.lgamma(d - 1)
    return math.log(2 * n + d - 2) + factorials


def recurrence(dimension: int, count: int) -> np.ndarray:
    """(count,) b_1, b_2, … of the orthonormal t·p_n = b_{n+1}·p_{n+1} + b_n·p_{n−1} in L2(μ_d)."""
    k, half = np.arange(1, count + 1), (dimension - 2) / 2
    return np.sqrt(k * (k + 2 * half - 1) / (4 * (k + half) * (k + half - 1)))


@dataclass(frozen=True)
class GegenbauerTail:
    """φ(t) = profile(√((1 + t)/2)) on [−1, 1] as an element of L2(μ_d)."""

    profile: Callable[[np.ndarray], np.ndarray]
    """On radii in [0, 1]."""
    dimension: int
    lipschitz: float
    """Bound on abs(profile')."""
    curvature: float = math.inf
    """Bound on abs(profile'') between the breaks."""
    breaks: tuple[float, ...] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.dimension < 3:
            raise Refusal(
                f"dimension={self.dimension} is below 3, where D17's floor begins; give more"
            )

    def leaves_chord(self, length: float) -> float:
        """How far the profile leaves its chord, at most, on a cell without a break."""
        bent = self.curvature * length**2 / 8 if math.isfinite(self.curvature) else math.inf
        return min(bent, self.lipschitz * length / 2)

    @cached_property
    def cells(self) -> int:
        """Cells in θ, without those that the breaks add."""
        count = max(FEWEST_CELLS, CELLS_A_DEGREE * (MOST_DEGREES + self.dimension))
        size = float(np.abs(self.profile(np.linspace(0.0, 1.0, 1001))).max())
        # A cell of length π/cells in θ is at most half as long in r.
        while count < MOST_CELLS and self.leaves_chord(math.pi / 2 / count) > CHORD_SHARE * size:
            count *= 2
        return count

    @cached_property
    def error(self) -> float:
        """Bound on the error of a computed tail."""
        return 2 * self.leaves_chord(math.pi / 2 / self.cells) + COEFFICIENT_ROUNDING * self.norm

    @cached_property
    def _seen(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Nodes t, the roots of their probabilities, and φ there."""
        turns = 2 * np.arccos(np.clip(self.breaks, 0.0, 1.0))
        edges = np.union1d(np.linspace(0.0, math.pi, self.cells + 1), turns)
        theta, weights = composite(edges, CELL_NODES)
        # The density of θ is (d − 1)/2·E abs(w_1)·sin^{d−2} θ, for E abs(w_1) of the sphere.
        density = mean_size(self.dimension) * (self.dimension - 1) / 2
        roots = np.sqrt(density * weights)
        roots *= np.sin(theta) ** ((self.dimension - 2) / 2)
        values = np.asarray(self.profile(np.cos(theta / 2)), dtype=np.float64)
        if not np.isfinite(values).all():
            raise Refusal(
                f"φ has values that are not finite at the nodes in dimension={self.dimension}; "
                "give a φ that is finite on [−1, 1]"
            )
        return np.cos(theta), roots, values

    @cached_property
    def squares(self) -> np.ndarray:
        """(MOST_DEGREES + 1,) squared coefficients of φ, degree by degree, as computed."""
        t, roots, values = self._seen
        # √w·p_n is of size 1 at every node, however large p_n is.
        previous, current, b = np.zeros_like(t), roots, 0.0
        found = []
        for above in recurrence(self.dimension, MOST_DEGREES + 1):
            found.append(float(roots * values @ current) ** 2)
            previous, current = current, (t * current - b * previous) / above
            b = above
        return np.array(found)

    @cached_property
    def norm(self) -> float:
        """‖φ‖ in L2(μ_d)."""
        _, roots, values = self._seen
        return float(np.linalg.norm(roots * values))

    @cached_property
    def tails(self) -> np.ndarray:
        """(MOST_DEGREES + 1,) lower bounds on ‖P_n φ‖ for n = 0, 1, …"""
        from_above = np.cumsum(self.squares[::-1])[::-1]
        below = np.concatenate([[0.0], np.cumsum(self.squares)[:-1]])
        by_parseval = self.norm**2 * (1 - 4 * COEFFICIENT_ROUNDING) - below
        return np.maximum(np.sqrt(np.maximum(from_above, by_parseval)) - self.error, 0.0)

    @cached_property
    def _root_dimensions(self) -> np.ndarray:
        """√N_{d,n}, rounded down; e^700 where float64 ends."""
        logs = np.array([log_dimension(self.dimension, n) for n in range(MOST_DEGREES + 1)]) / 2
        # A difference of log-gammas, each with a few roundings of its own size.
        rounding = 16 * EPS * math.lgamma(MOST_DEGREES + self.dimension)
        return np.exp(np.minimum(logs, 700.0) - rounding)

    def error_floor(self, norms: float) -> float:
        """The smallest ‖f − Σ g_i‖ that Σ‖g_i‖ = `norms` allows."""
        return max(0.0, float((self.tails - norms / self._root_dimensions).max()))

    def norms_needed(self, error: float) -> float:
        """The smallest Σ‖g_i‖ with which ‖f − Σ g_i‖ ≤ `error` is possible."""
        return max(0.0, float(((self.tails - error) * self._root_dimensions).max()))


def of_radial(target: Radial) -> GegenbauerTail:
    """φ(t) = ϕ(√((1 + t)/2)): a radial target as a function of x = (u + v)/2."""
    check_radial(target)
    return GegenbauerTail(
        lambda r: np.asarray(target.profile(r)),
        target.input_dim,
        target.lipschitz,
        target.curvature,
        tuple(map(float, target.breaks)),
    )


def neuron_norms(network: Network | torch.nn.Sequential) -> float:
    """Σ‖g_i‖ of a depth-2 network over the pair law, its constant included, rounded up.

    A neuron sees w·x = ‖w‖·s with s = (u_1 + v_1)/2, and its square is a convex function of s:
    its mean under `spread_halves` is no smaller than its mean, wherever the kink lies.
    """
    network = as_network(network)
    if (inputs := network.architecture.input_dim) < 2:
        raise Refusal(f"input_dim={inputs} is below 2, where a sphere begins; give more inputs")
    neurons = neurons_of(network)
    at, chances = spread_halves(inputs)
    total = abs(neurons.offset)
    for part in np.array_split(np.arange(len(neurons.outer)), max(1, len(neurons.outer) // 500)):
        inner, bias = neurons.inner[part, None], neurons.bias[part, None]
        slack = NORM_SLACK * (inner + np.abs(bias))
        values = np.maximum(inner * at + bias + slack, 0.0)
        norms = np.sqrt(values**2 @ chances) + NORM_UNDERFLOW * values[:, -1]
        total += float(np.abs(neurons.outer[part]) @ norms)
        total += TINY * inputs * int(np.count_nonzero(values[:, -1]))
    return total * (1 + NORM_ROUNDING)


@cache
def spread_halves(dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Points on [−1, 1] and chances: (u_1 + v_1)/2 spread outwards, in convex order above it.

    Where mass that lies in a cell [p, q] is moved to p and q with its mean kept, the mean of a
    convex function h does not fall: on the cell h lies below its chord, whose mean is kept. This is
    done with u_1 (h(·, v_1) is convex), with v_1, and with (u_1 + v_1)/2 on the same grid. The
    cells' masses and means are incomplete beta functions, since (1 + u_1)/2 is
    Beta((d − 1)/2, (d − 1)/2). The grid tanh(y) narrows towards ±1 as the law does.
    """
    from scipy.special import betainc

    shape = (dimension - 1) / 2
    lower = np.concatenate([[-1.0], np.tanh(np.linspace(-NORM_END, 0.0, NORM_CELLS + 1))])
    x = (1 + lower) / 2
    mass = np.diff(betainc(shape, shape, x))
    first = np.diff(betainc(shape + 1, shape, x)) / 2
    upper = (first - mass * x[:-1]).clip(0.0, mass * np.diff(x)) / np.diff(x)
    half = np.append(mass - upper, 0.0)
    half[1:] += upper
    grid = np.concatenate([lower, -lower[-2::-1]])
    chances = np.concatenate([half[:-1], 2 * half[-1:], half[-2::-1]])
    # The same for sums: an atom between two grid points is divided between both, its mean kept.
    at = (grid[:, None] + grid).ravel() / 2
    cell = (np.searchsorted(grid, at, side="right") - 1).clip(0, len(grid) - 2)
    share = ((at - grid[cell]) / (grid[cell + 1] - grid[cell])).clip(0.0, 1.0)
    pairs = np.outer(chances, chances).ravel()
    total = np.bincount(cell, pairs * (1 - share), minlength=len(grid))
    return grid, total + np.bincount(cell + 1, pairs * share, minlength=len(grid))
