"""Lower bounds, computed: what no network of a kind can pass, and each network against its own."""

from depthwright.bounds.counting import least_narrow
from depthwright.bounds.daniely import GegenbauerTail, neuron_norms, of_radial
from depthwright.bounds.norm_floor import (
    PathNorm,
    has_floor,
    mass_floor,
    path_norm,
    report,
    rotation_average,
    width_floor,
)
from depthwright.bounds.random_features import fewest, mean_square_floor, orbit

__all__ = [
    "GegenbauerTail",
    "PathNorm",
    "fewest",
    "has_floor",
    "least_narrow",
    "mass_floor",
    "mean_square_floor",
    "neuron_norms",
    "of_radial",
    "orbit",
    "path_norm",
    "report",
    "rotation_average",
    "width_floor",
]
