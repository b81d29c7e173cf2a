"""Radial targets f(x) = ϕ(‖x‖) on the unit ball (SES19), given by their profile ϕ.

`norms` are those of ϕ: "sup" on [0, 1], "l1", "l2" and "mean" under a uniform radius.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from depthwright.distributions.domain import MOST_INPUTS, Ball
from depthwright.networks.points import as_points
from depthwright.refusal import Refusal, need_seed, need_whole
from depthwright.targets.target import Target

MOST_PIECES = 100_000
"""Of a profile; its samples are held against what it declares."""
MOST_POWER = 1000

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)  # or what has more than input_dim would equal all its kind
class Radial(Target):
    """f(x) = ϕ(‖x‖) on the unit ball of R^input_dim."""

    input_dim: int = 5

    def __post_init__(self) -> None:
        need_whole("input_dim", self.input_dim, 1, MOST_INPUTS)

    @property
    def domain(self) -> Ball:
        return Ball(self.input_dim)

    @abstractmethod
    def profile(self, r: Any) -> Any:
        """ϕ(r) for radii in [0, 1], elementwise on a numpy array or a torch tensor."""

    @property
    def even_polynomial(self) -> tuple[int, ...] | None:
        """Coefficients a_j where ϕ(r) = Σ_j a_j r^{2j} exactly; None for other profiles."""
        return None

    @property
    def values(self) -> np.ndarray | None:
        """(m + 1,) ϕ at the breaks where it is linear between them; None for other profiles."""
        return None

    @property
    def breaks(self) -> np.ndarray:
        """Radii 0 = r_0 < … < r_m = 1 between which ϕ is as smooth as `curvature` says."""
        return np.array([0.0, 1.0])

    @property
    def curvature(self) -> float:
        """A bound on abs(ϕ'') between the breaks; inf where none is known."""
        return math.inf

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        import torch

        x = as_points(x, self.input_dim)
        return self.profile(torch.linalg.vector_norm(x, dim=1, keepdim=True))


class PiecewiseLinear(Radial):
    """A profile given by its values at breaks 0 = r_0 < r_1 < … < r_m = 1."""

    @property
    @abstractmethod
    def breaks(self) -> np.ndarray:
        """(m + 1,) radii."""

    @property
    @abstractmethod
    def values(self) -> np.ndarray:
        """(m + 1,) values of ϕ there."""

    @cached_property
    def _slopes(self) -> np.ndarray:
        return np.diff(self.values) / np.diff(self.breaks)

    @property
    def curvature(self) -> float:
        """0: linear between the breaks."""
        return 0.0

    @property
    def lipschitz(self) -> float:
        return float(np.abs(self._slopes).max())

    def profile(self, r: Any) -> Any:
        """Evaluates the piece that contains r, so that rounding does not add up over the pieces."""
        at: Any = self.breaks
        values: Any = self.values
        slopes: Any = self._slopes
        if hasattr(r, "detach"):
            import torch

            at, values, slopes = (
                torch.as_tensor(table, dtype=r.dtype, device=r.device)
                for table in (at, values, slopes)
            )
            piece = torch.bucketize(r.detach(), at[1:-1].contiguous(), right=True)
        else:
            piece = np.searchsorted(at[1:-1], r, side="right")
        return values[piece] + slopes[piece] * (r - at[piece])

    @property
    def norms(self) -> Mapping[str, float]:
        a, b, h = self.values[:-1], self.values[1:], np.diff(self.breaks)
        crossing = a * b < 0
        span = np.where(crossing, np.abs(a) + np.abs(b), 1.0)
        l1 = np.where(crossing, (a * a + b * b) / (2 * span), (np.abs(a) + np.abs(b)) / 2)
        return {
            "sup": float(np.abs(self.values).max()),
            "mean": float(h @ (a + b)) / 2,
            "l1": float(h @ l1),
            "l2": math.sqrt(float(h @ (a * a + a * b + b * b)) / 3),
        }


@dataclass(frozen=True)
class Cone(PiecewiseLinear):
    """ϕ(r) = r: the 1-Lipschitz profile that every other one is compared with."""

    @property
    def breaks(self) -> np.ndarray:
        return np.array([0.0, 1.0])

    @property
    def values(self) -> np.ndarray:
        return np.array([0.0, 1.0])


@dataclass(frozen=True)
class Hat(PiecewiseLinear):
    """ϕ(r) = max(0, 1 − slope·r)/slope, 1-Lipschitz, supported on [0, 1/slope]; SES19 Theorem 5."""

    slope: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.slope) and self.slope > 1):
            raise Refusal(
                f"slope={self.slope} leaves no room for the flat part; Hat needs slope > 1"
            )

    @property
    def breaks(self) -> np.ndarray:
        return np.array([0.0, 1 / self.slope, 1.0])

    @property
    def values(self) -> np.ndarray:
        """1/slope at 0, and 0 from 1/slope on."""
        return np.array([1 / self.slope, 0.0, 0.0])


@dataclass(frozen=True)
class RandomProfile(PiecewiseLinear):
    """A random 1-Lipschitz profile: `pieces` equal pieces, slopes uniform on [−1, 1], ϕ(0) = 0.

    The steepest slope is scaled to ±1, so the Lipschitz constant is 1 and not merely at most 1.
    """

    seed: int = 0
    pieces: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        need_whole("pieces", self.pieces, 1, MOST_PIECES)
        need_seed("seed", self.seed)

    @property
    def breaks(self) -> np.ndarray:
        return np.linspace(0.0, 1.0, self.pieces + 1)

    @cached_property
    def _values(self) -> np.ndarray:
        slopes = np.random.default_rng(self.seed).uniform(-1, 1, self.pieces)
        slopes /= np.abs(slopes).max()
        return np.concatenate([[0.0], np.cumsum(slopes) / self.pieces])

    @property
    def values(self) -> np.ndarray:
        return self._values


@dataclass(frozen=True)
class Monomial(Radial):
    """ϕ(r) = r^{2k}, that is ‖x‖^{2k}: SES19 Theorem 3."""

    power: int = 2
    """k, half the degree."""

    def __post_init__(self) -> None:
        super().__post_init__()
        need_whole("power", self.power, 1, MOST_POWER)

    @property
    def lipschitz(self) -> float:
        """2k, attained on the sphere."""
        return 2.0 * self.power

    @property
    def curvature(self) -> float:
        """2k(2k − 1), attained on the sphere."""
        return 2.0 * self.power * (2 * self.power - 1)

    def profile(self, r: Any) -> Any:
        return r ** (2 * self.power)

    @property
    def even_polynomial(self) -> tuple[int, ...]:
        return (0,) * self.power + (1,)

    @property
    def norms(self) -> Mapping[str, float]:
        k = self.power
        return {
            "sup": 1.0,
            "mean": 1 / (2 * k + 1),
            "l1": 1 / (2 * k + 1),
            "l2": 1 / math.sqrt(4 * k + 1),
        }
