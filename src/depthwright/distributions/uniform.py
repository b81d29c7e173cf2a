"""Uniform laws: radius × direction, ball, cube.

Under the uniform law on a ball of high dimension ‖x‖ ≈ 1, where every radial function is nearly
constant and an L2 error says nothing; uniform radius × direction is the default for radial
targets for that reason.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING

from depthwright.distributions.distribution import Distribution
from depthwright.distributions.domain import Ball, Cube

if TYPE_CHECKING:
    import torch


def directions(
    count: int, input_dim: int, generator: torch.Generator, dtype: torch.dtype
) -> torch.Tensor:
    """Uniform points (count, input_dim) of the unit sphere: normalised Gaussians."""
    import torch

    z = torch.randn(count, input_dim, generator=generator, dtype=dtype, device=generator.device)
    return z / torch.linalg.vector_norm(z, dim=1, keepdim=True).clip(torch.finfo(dtype).tiny)


class Isotropic(Distribution):
    """Uniform direction, and independent of it a norm in [0, radius]."""

    @property
    def domain(self) -> Ball:
        """The ball."""
        return Ball(self.input_dim, self.radius)

    @abstractmethod
    def quantile(self, u: torch.Tensor) -> torch.Tensor:
        """The norm, over radius, that a share `u` of the law stays below."""

    def sample(
        self, count: int, generator: torch.Generator, dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        """Independent points (count, input_dim), on the generator's device."""
        import torch

        dtype = dtype or torch.float64
        w = directions(count, self.input_dim, generator, dtype)
        u = torch.rand(count, 1, generator=generator, dtype=dtype, device=generator.device)
        return w * (self.radius * self.quantile(u))


class UniformRadius(Isotropic):
    """‖x‖ uniform on [0, radius], direction uniform and independent of it."""

    @property
    def density_bound(self) -> float:
        """1/(2·radius) on the line; unbounded near 0 from two dimensions on."""
        return 1 / (2 * self.radius) if self.input_dim == 1 else math.inf

    def quantile(self, u: torch.Tensor) -> torch.Tensor:
        """u."""
        return u


class UniformBall(Isotropic):
    """Uniform on the ball: ‖x‖ = radius·U^{1/d}."""

    @property
    def density_bound(self) -> float:
        """One over the volume π^{d/2} radius^d / Γ(d/2 + 1)."""
        d = self.input_dim
        return math.exp(
            math.lgamma(d / 2 + 1) - d / 2 * math.log(math.pi) - d * math.log(self.radius)
        )

    def quantile(self, u: torch.Tensor) -> torch.Tensor:
        """u^{1/d}."""
        return u ** (1 / self.input_dim)


class UniformCube(Distribution):
    """Uniform on [−radius, radius]^d."""

    @property
    def domain(self) -> Cube:
        """The cube."""
        return Cube(self.input_dim, self.radius)

    @property
    def density_bound(self) -> float:
        """One over the volume (2·radius)^d."""
        return (2 * self.radius) ** -self.input_dim

    def sample(
        self, count: int, generator: torch.Generator, dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        """Independent points (count, input_dim), on the generator's device."""
        import torch

        dtype = dtype or torch.float64
        shape = (count, self.input_dim)
        u = torch.rand(shape, generator=generator, dtype=dtype, device=generator.device)
        return self.radius * (2 * u - 1)
