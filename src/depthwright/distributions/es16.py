"""ES16's measure γ, for which one radial function separates depth 2 from depth 3.

Density φ(x)² with φ(x) = (R_d/‖x‖)^{d/2}·J_{d/2}(2πR_d‖x‖), the Fourier transform of the
indicator of the ball of volume 1, R_d = π^{−1/2}·Γ(d/2 + 1)^{1/d} its radius. The direction is
uniform, and z = 2πR_d‖x‖ has density 2ν·J_ν(z)²/z, ν = d/2, whose distribution function is

    F(z) = J_ν(z)² + 2·Σ_{k ≥ 1} J_{ν+k}(z)²

(the derivative telescopes to J_ν·(J_{ν−1} + J_{ν+1}) = 2ν·J_ν²/z). The tail falls like 1/z: no
moment of order 1 or more exists, and none should be estimated.

Sampling. Up to z = Z by inverting F, tabulated at CELLS + 1 points and linear between them (off by
less than 1e-6). Beyond it, exactly, by rejection from the density Z/z²: z·J_ν(z)² is at most
z·(J_ν(z)² + Y_ν(z)²), which decreases (Nicholson).

Source: ES16 Theorem 1, SES19 Theorem 5.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from depthwright.distributions.distribution import Centred
from depthwright.distributions.domain import Ball
from depthwright.distributions.uniform import directions

if TYPE_CHECKING:
    import torch

CELLS = 1 << 15
BEYOND = 60.0
"""z lies this far beyond ν, where J_ν has oscillated for a while."""


def density(z: np.ndarray, order: float) -> np.ndarray:
    """2ν·J_ν(z)²/z for ν = `order`."""
    from scipy.special import jv

    z = np.maximum(z, 1e-8)
    return 2 * order * jv(order, z) ** 2 / z


@cache
def _table(order: float) -> tuple[np.ndarray, np.ndarray]:
    """Points z and F there, by Simpson's rule on every cell: errors below 1e-11."""
    z = np.linspace(0.0, order + BEYOND, CELLS + 1)
    ends, middles = density(z, order), density((z[1:] + z[:-1]) / 2, order)
    steps = np.diff(z) * (ends[1:] + 4 * middles + ends[:-1]) / 6
    return z, np.concatenate([[0.0], np.cumsum(steps)])


class EldanShamir(Centred):
    """γ of ES16, dilated by `radius` (1 is theirs); all of R^input_dim is its support."""

    @property
    def domain(self) -> Ball:
        return Ball(self.input_dim, math.inf)

    @property
    def density_bound(self) -> float:
        """φ(0)² = 1, since φ integrates the indicator of a set of volume 1 against phases."""
        return self.radius**-self.input_dim

    @property
    def scale(self) -> float:
        """‖x‖/z = radius/(2πR_d)."""
        d = self.input_dim
        return self.radius / (2 * math.sqrt(math.pi) * math.exp(math.lgamma(d / 2 + 1) / d))

    def sample(
        self, count: int, generator: torch.Generator, dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        import torch

        dtype = dtype or torch.float64
        where = generator.device
        u = directions(count, self.input_dim, generator, dtype)
        level = torch.rand(count, generator=generator, dtype=torch.float64, device=where)
        z, f = (torch.as_tensor(a, device=where) for a in _table(self.input_dim / 2))
        cell = torch.searchsorted(f, level, right=True).clip(1, CELLS)
        share = (level - f[cell - 1]) / (f[cell] - f[cell - 1]).clip(1e-300)
        found = z[cell - 1] + share.clip(0, 1) * (z[cell] - z[cell - 1])
        far = (level >= f[-1]).nonzero()[:, 0]
        found[far] = self._tail(len(far), float(z[-1]), generator)
        return u * (self.scale * found[:, None]).to(dtype)

    def _tail(self, count: int, start: float, generator: torch.Generator) -> torch.Tensor:
        """`count` independent values of z, given z > `start`."""
        import torch
        from scipy.special import jv, yv

        order, where = self.input_dim / 2, generator.device
        most = start * (jv(order, start) ** 2 + yv(order, start) ** 2)
        kept: list[torch.Tensor] = []
        missing = count
        while missing > 0:
            size = (2, 3 * missing + 16)
            draws = torch.rand(size, generator=generator, dtype=torch.float64, device=where)
            z = start / (1 - draws[0])
            at = z.cpu().numpy()
            accepted = torch.as_tensor(at * jv(order, at) ** 2, device=where) > most * draws[1]
            kept.append(z[accepted][:missing])
            missing -= len(kept[-1])
        return torch.cat(kept) if kept else torch.empty(0, dtype=torch.float64, device=where)


class SpherePairs(Centred):
    """x = radius·(u + v)/2, u and v independent and uniform on the sphere: the pair law.

    ‖x‖² = (1 + u·v)/2 at radius 1, so a radial function of x is a function of u·v (D17, SES19
    Theorem 4); in high dimension ‖x‖ is close to 1/√2.
    """

    @property
    def domain(self) -> Ball:
        return Ball(self.input_dim, self.radius)

    @property
    def density_bound(self) -> float:
        """Proportional to (1 − r²)^{(d−3)/2}/r, unbounded at the centre."""
        return math.inf

    def sample(
        self, count: int, generator: torch.Generator, dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        import torch

        dtype = dtype or torch.float64
        u = directions(count, self.input_dim, generator, dtype)
        v = directions(count, self.input_dim, generator, dtype)
        return self.radius / 2 * (u + v)
