"""Uniform laws: radius × direction, ball, box.

Under the uniform law on a ball of high dimension ‖x‖ ≈ 1, where every radial function is nearly
constant and an L2 error says nothing; uniform radius × direction is the default for radial
targets for that reason.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from depthwright.distributions.distribution import Centred, Distribution
from depthwright.distributions.domain import Ball, Box

if TYPE_CHECKING:
    import torch


def directions(
    count: int, input_dim: int, generator: torch.Generator, dtype: torch.dtype
) -> torch.Tensor:
    """Uniform points (count, input_dim) of the unit sphere: normalised Gaussians."""
    import torch

    z = torch.randn(count, input_dim, generator=generator, dtype=dtype, device=generator.device)
    return z / torch.linalg.vector_norm(z, dim=1, keepdim=True).clip(torch.finfo(dtype).tiny)


class Isotropic(Centred):
    """Uniform direction, and independent of it a norm in [0, radius]."""

    @property
    def domain(self) -> Ball:
        return Ball(self.input_dim, self.radius)

    @abstractmethod
    def quantile(self, u: torch.Tensor) -> torch.Tensor:
        """The u-quantile of the norm divided by radius."""

    def sample(
        self, count: int, generator: torch.Generator, dtype: torch.dtype | None = None
    ) -> torch.Tensor:
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
        """u^{1/d}: a ball of radius r has a share r^d of the volume."""
        return u ** (1 / self.input_dim)


@dataclass(frozen=True)
class UniformBox(Distribution):
    """Uniform on [−radius, radius]^d, or between `lower` and `upper`, which replace `radius`."""

    radius: float | None = None
    """1 where neither radius nor sides are given."""
    lower: Any = None
    """One number for all coordinates, or one per coordinate."""
    upper: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.domain

    @cached_property
    def domain(self) -> Box:
        return Box.of(self.input_dim, self.radius, self.lower, self.upper)

    @property
    def density_bound(self) -> float:
        """One over the volume; inf where that is below the range of floats."""
        volume = math.prod(2 * half for half in self.domain.half_sides.tolist())
        return 1 / volume if volume else math.inf

    def sample(
        self, count: int, generator: torch.Generator, dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        import torch

        dtype = dtype or torch.float64
        shape = (count, self.input_dim)
        u = torch.rand(shape, generator=generator, dtype=dtype, device=generator.device)
        box = self.domain
        centre, half = (torch.from_numpy(side).to(u) for side in (box.centre, box.half_sides))
        return box.project(centre + half * (2 * u - 1))


class UniformCube(UniformBox):
    """The same, by the name it has on VYS22's [−radius, radius]^d."""
