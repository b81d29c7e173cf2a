"""Depth 2 against products of spheres: D17's floor through Gegenbauer tails.

Statement
    Let u, v be independent and uniform on S^{d−1}, d ≥ 3, f(u, v) = φ(u·v), and let every g_i be a
    function of (v_i·u, v_i'·v) alone, as a hidden neuron of a depth-2 network is, and as its
    constant is. With P_n φ the part of φ of degree ≥ n in L2(μ_d), dμ_d(t) ∝ (1 − t²)^{(d−3)/2}dt,
    and N_{d,n} = (2n + d − 2)(n + d − 3)!/(n!(d − 2)!), for every n,

        ‖f − Σ_i g_i‖² ≥ ‖P_n φ‖·(‖P_n φ‖ − 2·Σ_i‖g_i‖/√N_{d,n}).

    (D17 Theorem 3; D17 Theorem 1 as printed lacks the square on its left side.)

Builds
    Nothing. Read as a floor on the error for given norms (`error_floor`), on the norms for a given
    error (`norms_needed`), and on the width of networks with bounded weights (`width_needed`).

Claim
    L2 error over the pair law. Through x = (u + v)/2, ‖x‖² = (1 + u·v)/2, a radial function of x
    is a function of u·v, and its sup error over the unit ball is at least this L2 error.
    Any n may be used; the best of the first ones is.

Shapes and arithmetic
    The tail is ‖φ‖² less the squares of the first coefficients, by Gauss–Gegenbauer quadrature in
    float64 with orthonormal polynomials; a tail below √eps·‖φ‖ is rounding and is not used.

Not in the paper
    m in place of d³ (`Sine.frequency`), so that the floor is seen at d = 10 to 30.

Source
    D17 Theorem 3; SES19 Theorem 4 for the reduction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from depthwright.bounds.path_norm import as_network, neurons_of
from depthwright.networks.network import Network
from depthwright.refusal import Refusal
from depthwright.targets.radial import Radial

if TYPE_CHECKING:
    import torch

MOST_DEGREES = 400
"""Degrees n that are tried."""
QUADRATURE_NODES = 2000
"""Exact up to degree 3999; φ must be resolved by that many nodes on [−1, 1]."""
NORM_NODES, NORM_ALLOWANCE = 96, 0.01
SMALLEST_SHARE = 1e-7
"""Tails ‖P_n φ‖ below this share of ‖φ‖ are rounding."""


def log_dimension(dimension: int, degree: int) -> float:
    """Log N_{d,n}: how many spherical harmonics of degree n there are on S^{d−1}."""
    d, n = dimension, degree
    if n == 0:
        return 0.0
    factorials = math.lgamma(n + d - 2) - math.lgamma(n + 1) - math.lgamma(d - 1)
    return math.log(2 * n + d - 2) + factorials


def gauss_nodes(dimension: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss nodes on [−1, 1] and probabilities for μ_d."""
    from scipy.special import roots_gegenbauer, roots_legendre

    if dimension == 3:
        t, w = roots_legendre(count)
    else:
        t, w = roots_gegenbauer(count, (dimension - 2) / 2)
    return t, w / w.sum()


@dataclass(frozen=True)
class GegenbauerTail:
    """φ on [−1, 1], seen by L2(μ_d)."""

    phi: Callable[[np.ndarray], np.ndarray]
    dimension: int

    def __post_init__(self) -> None:
        if self.dimension < 3:
            raise Refusal(f"dimension={self.dimension} is below 3, where D17's floor starts")

    @cached_property
    def _nodes(self) -> tuple[np.ndarray, np.ndarray]:
        return gauss_nodes(self.dimension, QUADRATURE_NODES)

    @cached_property
    def squares(self) -> np.ndarray:
        """(MOST_DEGREES + 1,) squared coefficients of φ, degree by degree."""
        t, w = self._nodes
        values = np.asarray(self.phi(t), dtype=np.float64)
        half = (self.dimension - 2) / 2
        # Orthonormal: t·p_n = b_{n+1}·p_{n+1} + b_n·p_{n−1}.
        previous, current, b = np.zeros_like(t), np.ones_like(t), 0.0
        found = []
        for n in range(MOST_DEGREES + 1):
            found.append(float(w @ (values * current)) ** 2)
            k = n + 1
            above = math.sqrt(k * (k + 2 * half - 1) / (4 * (k + half) * (k + half - 1)))
            previous, current = current, (t * current - b * previous) / above
            b = above
        return np.array(found)

    @cached_property
    def norm(self) -> float:
        """‖φ‖ in L2(μ_d)."""
        t, w = self._nodes
        return math.sqrt(float(w @ np.asarray(self.phi(t)) ** 2))

    @cached_property
    def tails(self) -> np.ndarray:
        """(MOST_DEGREES + 1,) ‖P_n φ‖ for n = 0, 1, …; 0 where rounding has eaten them.

        Summed from the small end, over the degrees that were computed: never too large.
        """
        tails = np.sqrt(np.cumsum(self.squares[::-1])[::-1])
        return np.where(tails > SMALLEST_SHARE * self.norm, tails, 0.0)

    @cached_property
    def _root_dimensions(self) -> np.ndarray:
        """√N_{d,n}; inf where float64 ends, which no floor here minds."""
        logs = np.array([log_dimension(self.dimension, n) for n in range(MOST_DEGREES + 1)]) / 2
        return np.exp(np.minimum(logs, 700.0))

    def error_floor(self, norms: float) -> float:
        """The smallest ‖f − Σ g_i‖ that Σ‖g_i‖ = `norms` allows."""
        squares = self.tails * (self.tails - 2 * norms / self._root_dimensions)
        return math.sqrt(max(0.0, float(squares.max())))

    def norms_needed(self, error: float) -> float:
        """The smallest Σ‖g_i‖ with which ‖f − Σ g_i‖ ≤ `error` is possible."""
        useful = self.tails > error
        if not useful.any():
            return 0.0
        tails, roots = self.tails[useful], self._root_dimensions[useful]
        return float(((tails - error**2 / tails) * roots / 2).max())

    def width_needed(self, error: float, weights: float) -> float:
        """The fewest hidden neurons, all weights and biases at most `weights` in size.

        A neuron a·σ(w·x − b) of x = (u + v)/2 in the unit ball has norm at most
        weights·(weights·√d + weights); the constant counts as one neuron more.
        """
        largest = max(weights, weights**2 * (math.sqrt(self.dimension) + 1))
        return max(0.0, self.norms_needed(error) / largest - 1)


def of_radial(target: Radial) -> GegenbauerTail:
    """φ(t) = ϕ(√((1 + t)/2)): a radial target seen through x = (u + v)/2."""
    return GegenbauerTail(
        lambda t: np.asarray(target.profile(np.sqrt((1 + t) / 2))), target.input_dim
    )


def neuron_norms(network: Network | torch.nn.Sequential) -> float:
    """Σ‖g_i‖ of a depth-2 network over the pair law, its constant included, rounded up.

    A neuron sees w·x = ‖w‖·(u_1 + v_1)/2, so its norm is an integral over two coordinates, by a
    product Gauss rule whose error at the kink NORM_ALLOWANCE covers.
    """
    network = as_network(network)
    neurons = neurons_of(network)
    t, w = gauss_nodes(network.architecture.input_dim, NORM_NODES)
    at = ((t[:, None] + t) / 2).ravel()
    chances = np.outer(w, w).ravel()
    total = abs(neurons.offset)
    for part in np.array_split(np.arange(len(neurons.outer)), max(1, len(neurons.outer) // 500)):
        values = np.maximum(neurons.inner[part, None] * at + neurons.bias[part, None], 0.0)
        total += float(np.abs(neurons.outer[part]) @ np.sqrt(values**2 @ chances))
    return total * (1 + NORM_ALLOWANCE)
