"""Proved upper bounds of the sup error of depth-2 networks, also of trained ones.

Shapes and arithmetic. One output, radial target, at most MOST_INPUTS inputs. The bound holds for
the network as it is evaluated in its own arithmetic: the rounding error (n + d + 8)·u·S, with the
sizes S of branch_and_bound.py, is added to the bound of the real-number function.
"""

from __future__ import annotations

from depthwright.approximation.branch_and_bound import Search, sup_error
from depthwright.networks.arithmetic import UNIT_ROUNDOFF
from depthwright.networks.network import Network
from depthwright.refusal import Refusal
from depthwright.targets.declared import check_radial
from depthwright.targets.radial import Radial
from depthwright.targets.target import Target

MOST_INPUTS = 3
BOXES = 2_000_000
"""A few seconds for the networks of a comparison, which take a few thousand."""


def certified_sup(network: Network, target: Target) -> float | None:
    """An upper bound on sup over the ball of abs(N − f); None where none can be computed."""
    shape = network.architecture
    if not isinstance(target, Radial) or target.input_dim > MOST_INPUTS:
        return None
    if shape.depth != 2 or shape.output_dim != 1 or network.arithmetic not in UNIT_ROUNDOFF:
        return None
    check_radial(target)
    weight, bias, outer, offset = (
        p.detach().double().numpy() for p in network.to_torch().parameters()
    )
    parts = (outer[0], weight, bias, float(offset[0]))
    try:
        size = Search(*parts, target).size
        found = sup_error(*parts, target, boxes=BOXES)
    except Refusal:  # weights beyond float64
        return None
    n, d = weight.shape
    return found.upper + (n + d + 8) * UNIT_ROUNDOFF[network.arithmetic] * size
