"""Where inputs live: the ball of the radial theorems, the cube of VYS22."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Domain(ABC):
    """A centred convex set of R^input_dim, with its nearest-point map."""

    input_dim: int
    radius: float = 1.0

    @abstractmethod
    def project(self, x: torch.Tensor) -> torch.Tensor:
        """The nearest point of the domain, row by row; points inside stay as they are."""

    @abstractmethod
    def contains(self, x: torch.Tensor) -> torch.Tensor:
        """Which rows of `x` (batch, input_dim) lie inside, as booleans (batch,)."""


class Ball(Domain):
    """‖x‖₂ ≤ radius."""

    def project(self, x: torch.Tensor) -> torch.Tensor:
        """Scale the rows that are too long."""
        import torch

        norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        return torch.where(norm > self.radius, x * (self.radius / norm), x)

    def contains(self, x: torch.Tensor) -> torch.Tensor:
        """Compare norms, allowing what rounding a projected point costs."""
        import torch

        slack = 1 + 8 * torch.finfo(x.dtype).eps
        return torch.linalg.vector_norm(x, dim=1) <= self.radius * slack

    def __str__(self) -> str:
        return f"ball of radius {self.radius:g} in R^{self.input_dim}"


class Cube(Domain):
    """abs(x_j) ≤ radius for every j: VYS22's [−A, A]^d."""

    def project(self, x: torch.Tensor) -> torch.Tensor:
        """Clip every coordinate."""
        return x.clip(-self.radius, self.radius)

    def contains(self, x: torch.Tensor) -> torch.Tensor:
        """Compare coordinates; clipping is exact, so there is no slack."""
        return (x.abs() <= self.radius).all(dim=1)

    def __str__(self) -> str:
        return f"cube [−{self.radius:g}, {self.radius:g}]^{self.input_dim}"
