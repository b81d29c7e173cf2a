"""Proved upper bounds of the sup error of depth-2 networks, also of trained ones.

Shapes and arithmetic. One output, radial target, at most MOST_INPUTS inputs. The bound holds for
the network as it is evaluated in its own arithmetic: the rounding error (n + d + 8)·u·S, with the
size S of branch_and_bound.py, is added to the bound of the real-number function. It also covers
what the layers of a ridge network round of its directions and weights; its values are looked up,
and `rounding_bound` is added for that.
"""

from __future__ import annotations

from depthwright.approximation.branch_and_bound import sup_error
from depthwright.networks.arithmetic import UNIT_ROUNDOFF
from depthwright.networks.network import Network
from depthwright.networks.ridge import RidgeNetwork
from depthwright.refusal import Refusal
from depthwright.targets.declared import check_radial
from depthwright.targets.radial import Radial
from depthwright.targets.target import Target

MOST_INPUTS = 3
BOXES = 2_000_000
"""A few seconds for the networks of a comparison, which take a few thousand."""


def certified_sup(network: Network, target: Target) -> float | None:
    """An upper bound on sup over the ball of abs(N − f); None where none can be computed."""
    from depthwright.networks.torch_network import layers_of

    shape = network.architecture
    if not isinstance(target, Radial) or target.input_dim > MOST_INPUTS:
        return None
    if shape.depth != 2 or shape.output_dim != 1 or network.arithmetic not in UNIT_ROUNDOFF:
        return None
    check_radial(target)  # refused here, and not taken for weights beyond float64
    (weight, bias), (outer, offset) = ((w.numpy(), b.numpy()) for w, b in layers_of(network))
    try:
        found = sup_error(outer[0], weight, bias, float(offset[0]), target, boxes=BOXES)
    except Refusal:  # weights beyond float64
        return None
    n, d = weight.shape
    rounding = (n + d + 8) * UNIT_ROUNDOFF[network.arithmetic] * found.size
    if isinstance(network, RidgeNetwork):
        rounding += network.rounding_bound(network.arithmetic)
    return found.upper + rounding
