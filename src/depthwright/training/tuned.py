"""Where the contender `tuned` starts: the construction's own weights, in a dtype that holds them.

Training then shows whether gradient descent keeps, improves or loses the constructed network
(VYS22's last open question, by experiment): a member's error before the first step, its best and
its last are in its record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthwright.networks.network import Network
from depthwright.refusal import Refusal
from depthwright.training.matching import PARAMETERS_LIMIT

if TYPE_CHECKING:
    from depthwright.networks.torch_network import Layers

TUNED = "tuned"
DEPTH_LIMIT = 5_000
"""Deepest construction from which training may start."""


def start(network: Network) -> Layers:
    """The maps of the dense form, in float32 where that holds every weight, else in float64.

    Refuses what is too large to train, and weights that no float64 holds.
    """
    import torch

    from depthwright.networks.torch_network import layers_of

    size = network.architecture
    if size.parameters > PARAMETERS_LIMIT or size.depth > DEPTH_LIMIT:
        raise Refusal(
            f"{size.parameters} parameters at depth {size.depth} are more than is trained "
            f"(limits {PARAMETERS_LIMIT} and {DEPTH_LIMIT}); leave training.tuned_noises empty"
        )
    layers = layers_of(network)
    held = all(torch.equal(t.float().double(), t) for layer in layers for t in layer)
    return [(w.float(), b.float()) for w, b in layers] if held else layers
