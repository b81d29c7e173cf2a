"""What a ReLU network is: architectures, values, files."""

from depthwright.networks.architecture import Architecture, Block
from depthwright.networks.files import load
from depthwright.networks.network import Arithmetic, Network

__all__ = ["Architecture", "Arithmetic", "Block", "Network", "load"]
