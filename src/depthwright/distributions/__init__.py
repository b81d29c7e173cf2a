"""Laws of the inputs. A new law is one class and one line in the registry below."""

from depthwright.distributions.distribution import Distribution
from depthwright.distributions.domain import Ball, Box, Domain
from depthwright.distributions.es16 import EldanShamir, SpherePairs
from depthwright.distributions.uniform import UniformBall, UniformBox, UniformCube, UniformRadius

REGISTRY: dict[str, type[Distribution]] = {
    "uniform_radius": UniformRadius,
    "uniform_ball": UniformBall,
    "uniform_box": UniformBox,
    "uniform_cube": UniformCube,
    "eldan_shamir": EldanShamir,
    "sphere_pairs": SpherePairs,
}

__all__ = [
    "REGISTRY",
    "Ball",
    "Box",
    "Distribution",
    "Domain",
    "EldanShamir",
    "SpherePairs",
    "UniformBall",
    "UniformBox",
    "UniformCube",
    "UniformRadius",
]
