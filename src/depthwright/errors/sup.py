"""Lower bounds on the sup error: sampled, and attacked. They can refute a claim, never prove it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthwright.networks.inputs import Inputs
from depthwright.networks.network import Network
from depthwright.refusal import Refusal
from depthwright.targets.target import Target

if TYPE_CHECKING:
    import torch

ATTACK_ELEMENTS = 1 << 26
"""Largest starts × width array of an attack."""


def residuals(network: Network, target: Target, x: torch.Tensor) -> torch.Tensor:
    """N(x) − f(x), (points, outputs) in float64, N in the network's own arithmetic."""
    import torch

    return network.evaluate(x).to(torch.float64) - target(x.to(torch.float64))


def moved(x: torch.Tensor, inputs: Inputs | None) -> torch.Tensor:
    """Every row of `x` moved to the nearest of `inputs`; with None, unchanged."""
    import torch

    if inputs is None:
        return x
    nearest = inputs.nearest(x.detach().cpu().double().numpy())
    wrong = inputs.outside(nearest) | inputs.others(nearest)
    if wrong.any():
        raise Refusal(
            f"{int(wrong.sum())} of {len(x)} points have no float64 nearby among {inputs}; "
            "give a grid whose points are floats"
        )
    return torch.from_numpy(nearest).to(x)


def attack(
    network: Network,
    target: Target,
    starts: torch.Tensor,
    steps: int,
    step_size: float = 0.05,
    inputs: Inputs | None = None,
) -> float:
    """The largest abs(N − f) found by projected gradient ascent from `starts` (points, input_dim).

    Every start climbs abs(N − f) along the normalised gradient, in float64, with steps of
    `step_size` times the domain's half sides that shrink geometrically to a thousandth of it. The
    result is measured in the network's own arithmetic at the best points, moved to `inputs`.
    """
    import torch

    # Memory: starts × hidden neurons, at most.
    share = max(1, ATTACK_ELEMENTS // network.architecture.width)
    if len(starts) > share:
        parts = starts.split(share)
        return max(attack(network, target, part, steps, step_size, inputs) for part in parts)
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
            uphill = gradient * sides  # in coordinates in which all sides of the domain are equal
            norm = torch.linalg.vector_norm(uphill, dim=1, keepdim=True)
            step = rate * uphill / norm.clip(torch.finfo(x.dtype).tiny)
            x = domain.project(x + step * sides)
        rate *= decay
    final = moved(torch.cat([at, x.detach()]), inputs)
    return float(residuals(network, target, final).abs().max())
