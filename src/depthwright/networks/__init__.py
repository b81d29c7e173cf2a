"""What a ReLU network is: architectures, values, files."""

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
    "Network",
    "load",
]
