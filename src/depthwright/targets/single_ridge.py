"""Functions of one direction, f(x) = g(w·x): cheap for depth 2, expensive for random first layers.

`norms` are those under the uniform law on the cube.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from depthwright.distributions.domain import MOST_INPUTS, Box
from depthwright.networks.points import as_points
from depthwright.refusal import Refusal, need_positive, need_whole
from depthwright.targets.target import Target

if TYPE_CHECKING:
    import torch


class SingleRidge(Target):
    """f(x) = g(w·x) on [−1, 1]^input_dim."""

    @property
    def domain(self) -> Box:
        return Box.of(self.input_dim)

    @property
    @abstractmethod
    def direction(self) -> np.ndarray:
        """(input_dim,) w."""

    @property
    @abstractmethod
    def curvature(self) -> float:
        """Upper bound of abs(g'')."""

    @abstractmethod
    def profile(self, t: Any) -> Any:
        """g(t), elementwise on a numpy array or a torch tensor."""

    @property
    def reach(self) -> float:
        """Largest w·x on the cube."""
        return float(np.abs(self.direction).sum())

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        import torch

        x = as_points(x, self.input_dim)
        w = torch.as_tensor(self.direction, dtype=x.dtype, device=x.device)
        return self.profile(x @ w)[:, None]


@dataclass(frozen=True)
class SineRidge(SingleRidge):
    """f(x) = height·√2·sin(π·Σ_{i ≤ terms} x_i), of L2 norm `height` (HSSV21's f at 4ε).

    The x_i have no correlation with it, nor has any product of fewer than `terms` of them.
    """

    input_dim: int = 10
    terms: int = 2
    """Number of inputs it depends on."""
    height: float = 1.0

    def __post_init__(self) -> None:
        need_whole("input_dim", self.input_dim, 1, MOST_INPUTS)
        if not 1 <= self.terms <= self.input_dim:
            raise Refusal(
                f"terms={self.terms} is not in [1, input_dim={self.input_dim}]; "
                "SineRidge adds up that many of its inputs"
            )
        need_positive("height", self.height)

    @property
    def direction(self) -> np.ndarray:
        """1 in the first `terms` coordinates, otherwise 0."""
        return (np.arange(self.input_dim) < self.terms).astype(np.float64)

    @property
    def lipschitz(self) -> float:
        """Attained where the sine is 0."""
        return self.height * math.sqrt(2 * self.terms) * math.pi

    @property
    def curvature(self) -> float:
        """sup abs(g''), not of f."""
        return self.height * math.sqrt(2) * math.pi**2

    def profile(self, t: Any) -> Any:
        sine = (math.pi * t).sin() if hasattr(t, "sin") else np.sin(math.pi * t)
        return self.height * math.sqrt(2) * sine

    @property
    def norms(self) -> Mapping[str, float]:
        """E sin² = (1 − E cos(2πΣ))/2 = 1/2, since E exp(2πi·x_1) = 0."""
        return {"sup": self.height * math.sqrt(2), "mean": 0.0, "l2": self.height}
