"""Lower bounds, computed: what no network of a kind can pass, and each network against its own."""

from depthwright.bounds.counting import least_narrow
from depthwright.bounds.daniely import GegenbauerTail, neuron_norms, of_radial
from depthwright.bounds.path_norm import PathNorm, mass_floor, path_norm, report, rotation_average

__all__ = [
    "GegenbauerTail",
    "PathNorm",
    "least_narrow",
    "mass_floor",
    "neuron_norms",
    "of_radial",
    "path_norm",
    "report",
    "rotation_average",
]
