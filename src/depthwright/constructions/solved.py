"""Networks that descend from a construction, with what can still be proved of them.

Statement. Ours: the neurons of a sparse ridge network (sparse_ridge.py), one for each sign of a
direction, or even directions with two sorts of kinks, are a start from which all parameters
descend (`approximation.starts`, `approximation.descent`): the mean square where least squares or
a small network are asked for, then the largest error. Where only the largest error counts, a large
network begins as the levelled construction: of 1,500 neurons for Cone in d = 100 it came to 0.0993
from there, and to 0.110 from two sorts of kinks. On a GPU where torch sees one.

Builds. depth 2, width as asked for.

Claim. None by the proof of the start. For d ≤ MOST_CERTIFIED a bound of the sup error of the
network itself, by boxes (`approximation.branch_and_bound`): terms boxes and rounding.

Shapes and arithmetic. (batch, d) → (batch, 1); float64. Rounding: that of a sum of n terms of d
products each, in any order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from depthwright.approximation.branch_and_bound import sup_error
from depthwright.approximation.descent import descend
from depthwright.approximation.goals import BOTH, LARGEST, MEAN_SQUARE
from depthwright.approximation.levelling import Hinges
from depthwright.approximation.neurons import Neurons, one_sided
from depthwright.approximation.starts import is_small, starts
from depthwright.networks.arithmetic import FLOAT64_ROUNDOFF
from depthwright.progress import Bar
from depthwright.targets.radial import Radial

if TYPE_CHECKING:
    from depthwright.networks.torch_network import ModuleNetwork

MOST_CERTIFIED = 3
"""Largest dimension in which boxes are looked at."""
BOXES = 2_000_000


def solve(
    hinges: list[Hinges], offset: float, target: Radial, width: int, seed: int, goal: str
) -> tuple[ModuleNetwork, dict[str, float]]:
    """The network of `width` neurons, and the terms of its claim; none where nothing is proved.

    `goal`: "least_squares" or "minimax".
    """
    rng = np.random.default_rng(seed)
    own = one_sided(hinges, offset, width, rng)
    with Bar("solving") as bar:
        begun = [own]
        if goal == "least_squares" or is_small(own):
            begun = [descend(starts(own, target, rng), target, seed, MEAN_SQUARE, bar)]
        last = BOTH if goal == "least_squares" else LARGEST
        neurons = descend(begun, target, seed, last, bar)
    return _network(neurons), _proved(neurons, target)


def _network(neurons: Neurons) -> ModuleNetwork:
    import torch

    from depthwright.networks.torch_network import ModuleNetwork

    weight, bias, outer = map(torch.from_numpy, (neurons.weight, neurons.bias, neurons.outer))
    offset = torch.tensor([neurons.offset], dtype=torch.float64)
    return ModuleNetwork.of([(weight, bias), (outer[None], offset)])


def _proved(neurons: Neurons, target: Radial) -> dict[str, float]:
    n, d = neurons.weight.shape
    if d > MOST_CERTIFIED:
        return {}
    parts = neurons.outer, neurons.weight, neurons.bias, neurons.offset
    found = sup_error(*parts, target, boxes=BOXES)
    return {"boxes": found.upper, "rounding": (n + d + 8) * FLOAT64_ROUNDOFF * found.size}
