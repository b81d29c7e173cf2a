"""How far a mean over random directions deviates: exact moments, and rigorous exponents.

For w uniform on the sphere, H = h_b(w·x) = max(abs(w·x) − b, 0) and ‖x‖ ≤ 1:

*One direction.* ψ_b(θ) = log E exp(θ(H − E H)) at ‖x‖ = 1. Shorter x have smaller ψ: h_b(r'v) −
h_b(rv) rises with v as h_b(rv) does, and adding a mean-zero increasing function of the same
variable raises every convex mean.

*Frames.* For the rows w_1, …, w_d of a uniform orthogonal matrix, log E exp(θ Σ_j (H_j − E H_j)) ≤
d·ψ_b(θ), for either sign of θ, so frames never deviate more than independent directions. Proof:
u = (w_j·x)_j is uniform on the sphere of radius ‖x‖. Given τ = Σ_{j ∈ I} u_j², the parts u_I and
u_J are independent and scale with √τ and √(1 − τ); an increasing function of abs(u_I) has a
conditional mean that rises with τ, one of abs(u_J) a conditional mean that falls, so the two are
negatively correlated. Split off one coordinate after the other.

*Frames and b = 0.* Here the frames' own variance, an eighth of the independent one, can be used.
With g Gaussian in R^d, ρ = ‖g‖ independent of u = g/ρ, F = ‖u‖_1 and K(μ) = log E exp(μρ):
E exp(K(λF)) = E exp(λρF) = (E exp(λ abs(g_1)))^d, and K is convex, so for every s > 0

    log E exp(θ(F − s)) ≤ d·log E exp(λ abs(g_1)) − K(λs),   θ = λK'(λs).

Expectations are one-dimensional Gauss–Legendre sums, accurate to about 1e-12; that is allowed for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from depthwright.approximation.averaged_hinge import averaged_hinge, mean_size
from depthwright.approximation.mass import RadialSum
from depthwright.approximation.quadrature import composite

QUADRATURE = 1e-11
"""Relative allowance for quadrature and rounding in every exponent."""
PANELS, NODES = 32, 20


def _panels(low: float, high: float, power: float) -> tuple[np.ndarray, np.ndarray]:
    """Composite Gauss–Legendre nodes and weights, crowding to `low` for power > 1."""
    return composite(low + (high - low) * np.linspace(0, 1, PANELS + 1) ** power, NODES)


@dataclass(frozen=True)
class Hinge:
    """H = h_b(w_1) on S^{d−1}: its law as nodes and weights; the rest of the mass is at H = 0."""

    values: np.ndarray
    chances: np.ndarray
    cosines: np.ndarray
    """w_1 at the nodes."""
    mean: float

    @classmethod
    def of(cls, knot: float, dimension: int) -> Hinge:
        """In the angle w_1 = sin φ, where the density is smooth in every dimension."""
        phi, weights = _panels(math.asin(knot), math.pi / 2, 2.0)
        # E abs(w_1) = 2·constant/(d − 1), since ∫ sin φ cos^{d−2} φ dφ over [0, π/2] = 1/(d − 1).
        constant = mean_size(dimension) * (dimension - 1)
        cosine = np.sin(phi)
        chances = constant * weights * np.cos(phi) ** (dimension - 2)
        mean = float(averaged_hinge(knot, 1.0, dimension))
        return cls(cosine - knot, chances, cosine, mean)

    @property
    def variance(self) -> float:
        """The variance of H."""
        return float(self.chances @ self.values**2) - self.mean**2

    def frame_variance(self, dimension: int) -> float:
        """d times the variance of the mean over a frame, to leading order: Var H less degree 2."""
        d = dimension
        legendre = (d * self.cosines**2 - 1) / (d - 1)
        # Its mean square is 2/((d − 1)(d + 2)).
        share = float(self.chances @ (self.values * legendre)) ** 2 * (d - 1) * (d + 2) / 2
        return max(self.variance - share, 1e-3 * self.variance)

    def log_mgf(self, theta: np.ndarray) -> np.ndarray:
        """ψ_b(θ), rounded up."""
        growth = np.multiply.outer(theta, self.values)
        grown = np.expm1(np.minimum(growth, 600.0)) @ self.chances
        grown = np.where(growth.max(axis=-1) < 600, grown, np.inf)
        size = np.abs(np.log1p(grown)) + np.abs(theta) * self.mean
        return np.log1p(grown) - theta * self.mean + QUADRATURE * size


def frame_log_mgf(theta: np.ndarray, dimension: int) -> np.ndarray:
    """Upper bound on log E exp(θ(F − E F)) for F = Σ_j abs(w_j·x) over one frame, ‖x‖ = 1.

    A table of bounds, with chords between its entries: the exact function is convex.
    """
    alone = dimension * Hinge.of(0.0, dimension).log_mgf(theta)
    at, bound = _frame_table(dimension)
    chord = np.interp(theta, at, bound, left=np.inf, right=np.inf)
    return np.minimum(alone, chord)


@cache
def _frame_table(d: int) -> tuple[np.ndarray, np.ndarray]:
    """Increasing θ and bounds there: the lower convex hull of what many tilts λ and s give.

    Every pair gives a bound, and so does every mean of two, the exact function being convex.
    """
    from scipy.special import log_ndtr

    size = np.geomspace(1e-4, 20.0, 150)
    mean = d * mean_size(d)
    around = mean + math.sqrt(1 - 3 / math.pi) * np.linspace(-10, 10, 61)
    lam, s = np.meshgrid(np.concatenate([-size, size]), around[(around > 0.2 * mean)])
    lam, s = lam.ravel(), s.ravel()
    folded = d * (math.log(2) + lam**2 / 2 + log_ndtr(lam))
    log_k, first, second = _chi(lam * s, d)
    theta = lam * first
    bound = folded - log_k + theta * (s - mean)
    bound += QUADRATURE * (np.abs(folded) + np.abs(log_k) + np.abs(theta) * mean)
    # Tilts that squeeze ρ into less than the panels resolve are not used.
    good = (second > 0.1) & np.isfinite(bound)
    theta, bound = np.append(theta[good], 0.0), np.append(bound[good], 0.0)
    return _lower_hull(theta, bound)


def _lower_hull(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points of the lower convex hull, x increasing."""
    hull: list[tuple[float, float]] = []
    for i in np.lexsort((y, x)):
        point = float(x[i]), float(y[i])
        if hull and point[0] == hull[-1][0]:
            continue
        while len(hull) > 1 and (hull[-1][0] - hull[-2][0]) * (point[1] - hull[-2][1]) <= (
            hull[-1][1] - hull[-2][1]
        ) * (point[0] - hull[-2][0]):
            hull.pop()
        hull.append(point)
    at, bound = np.array(hull).T
    return at, bound


def _chi(mu: np.ndarray, d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """K(μ) = log E exp(μρ) for ρ = ‖g‖, and its first two derivatives."""
    # The integrand is log-concave with curvature ≥ 1: 13 standard deviations lose nothing.
    mode = (mu + np.sqrt(mu**2 + 4 * (d - 1))) / 2
    x, w = _panels(-1.0, 1.0, 1.0)
    low = np.maximum(mode - 13, 0.0)
    half = (mode + 13 - low) / 2
    rho = (low + half)[:, None] + half[:, None] * x
    log_density = (d - 1) * np.log(np.maximum(rho, 1e-300)) - rho**2 / 2 + mu[:, None] * rho
    log_density -= (d / 2 - 1) * math.log(2) + math.lgamma(d / 2)
    top = log_density.max(axis=1)
    mass = np.exp(log_density - top[:, None]) * w * half[:, None]
    total = mass.sum(axis=1)
    first = (mass * rho).sum(axis=1) / total
    second = (mass * (rho - first[:, None]) ** 2).sum(axis=1) / total
    return top + np.log(total), first, second


def joint_exponent(
    primal: RadialSum, hinges: Sequence[Hinge], share: np.ndarray, tilt: np.ndarray
) -> np.ndarray:
    """G(μ) = Σ_k share_k·ψ_k(μ·a_k/share_k), by frames where the knot is 0."""
    d = primal.dimension
    total = np.zeros_like(tilt)
    for b, a, f, hinge in zip(primal.knots, primal.weights, share, hinges, strict=True):
        theta = tilt * a / f
        total += f * (frame_log_mgf(theta, d) / d if b == 0 else hinge.log_mgf(theta))
    return total
