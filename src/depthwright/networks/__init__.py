"""What a ReLU network is: architectures, values, files."""

from depthwright.networks.architecture import Architecture, Block
from depthwright.networks.calculus import Builder, Linear
from depthwright.networks.dyadic import Dyadic
from depthwright.networks.exact import ExactNetwork, Layer
from depthwright.networks.files import load
from depthwright.networks.network import Arithmetic, Network

__all__ = [
    "Architecture",
    "Arithmetic",
    "Block",
    "Builder",
    "Dyadic",
    "ExactNetwork",
    "Layer",
    "Linear",
    "Network",
    "load",
]
