"""What a ReLU network is: architectures, values, files.

`ModuleNetwork(module)` and `ModuleNetwork.of([(W_1, b_1), …])` make one of float layers; it is
imported with torch, on first use.
"""

from __future__ import annotations

from typing import Any

from depthwright.networks.architecture import Architecture, Block
from depthwright.networks.arithmetic import Arithmetic
from depthwright.networks.exact.calculus import Builder, Linear
from depthwright.networks.exact.dyadic import Dyadic
from depthwright.networks.exact.layer import Layer
from depthwright.networks.exact.network import ExactNetwork
from depthwright.networks.files import load
from depthwright.networks.network import Network

__all__ = [
    "Architecture",
    "Arithmetic",
    "Block",
    "Builder",
    "Dyadic",
    "ExactNetwork",
    "Layer",
    "Linear",
    "ModuleNetwork",
    "Network",
    "load",
]


def __getattr__(name: str) -> Any:
    """PEP 562."""
    if name == "ModuleNetwork":
        from depthwright.networks.torch_network import ModuleNetwork

        return ModuleNetwork
    raise AttributeError(f"module 'depthwright.networks' has no attribute {name!r}")
