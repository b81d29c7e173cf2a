"""Lower bounds on the sup error: sampled, and attacked. They can refute a claim, never prove it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthwright.networks.network import Network
from depthwright.targets.target import Target

if TYPE_CHECKING:
    import torch

ATTACK_ELEMENTS = 1 << 26
"""Largest starts × width array of an attack."""


def residuals(network: Network, target: Target, x: torch.Tensor) -> torch.Tensor:
    """N(x) − f(x), (points, outputs) in float64, N in the network's own arithmetic."""
    import torch

    return network.evaluate(x).to(torch.float64) - target(x.to(torch.float64))


def attack(
    network: Network, target: Target, starts: torch.Tensor, steps: int, step_size: float = 0.05
) -> float:
    """The largest abs(N − f) met by projected gradient ascent from `starts` (points, input_dim).

    Every start climbs abs(N − f) along the normalised gradient, in float64, with steps of
    `step_size` times the domain's half sides that shrink geometrically to a thousandth of it. What
    is reported is measured at the best points in the network's own arithmetic.
    """
    import torch

    # Memory: starts × hidden neurons, at most.
    share = max(1, ATTACK_ELEMENTS // network.architecture.width)
    if len(starts) > share:
        return max(attack(network, target, s, steps, step_size) for s in starts.split(share))
    domain = target.domain
    x = domain.project(starts.to(torch.float64))
    highest = torch.full((len(x),), -torch.inf, dtype=torch.float64, device=x.device)
    at = x.clone()
    sides = torch.from_numpy(domain.half_sides).to(x)
    rate, decay = step_size, 1e-3 ** (1 / max(steps - 1, 1))
    for _ in range(steps):
        x = x.detach().requires_grad_(True)
        gap = (network.forward(x) - target(x)).abs().amax(dim=1)
        (gradient,) = torch.autograd.grad(gap.sum(), x)
        with torch.no_grad():
            higher = gap > highest
            highest = torch.where(higher, gap, highest)
            at = torch.where(higher[:, None], x, at)
            uphill = gradient * sides  # in coordinates in which the domain is as wide as long
            norm = torch.linalg.vector_norm(uphill, dim=1, keepdim=True)
            step = rate * uphill / norm.clip(torch.finfo(x.dtype).tiny)
            x = domain.project(x + step * sides)
        rate *= decay
    final = torch.cat([at, x.detach()])
    return float(residuals(network, target, final).abs().max())
