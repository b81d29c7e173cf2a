"""Functions to approximate. A new target is one class and one line in the registry below."""

from depthwright.targets.network import Network, RandomNetwork, ReLUNetwork
from depthwright.targets.profile import Profile
from depthwright.targets.radial import Cone, Hat, Monomial, Radial, RandomProfile
from depthwright.targets.single_ridge import SineRidge
from depthwright.targets.target import Target
from depthwright.targets.waves import Sine, ZigZag

REGISTRY: dict[str, type[Target]] = {
    "cone": Cone,
    "hat": Hat,
    "random_profile": RandomProfile,
    "monomial": Monomial,
    "profile": Profile,
    "network": Network,
    "random_network": RandomNetwork,
    "zigzag": ZigZag,
    "sine": Sine,
    "sine_ridge": SineRidge,
}

__all__ = [
    "REGISTRY",
    "Cone",
    "Hat",
    "Monomial",
    "Network",
    "Profile",
    "Radial",
    "RandomNetwork",
    "RandomProfile",
    "ReLUNetwork",
    "Sine",
    "SineRidge",
    "Target",
    "ZigZag",
]
