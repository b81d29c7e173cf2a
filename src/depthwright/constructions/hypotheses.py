"""What theorems presuppose, checked once for all of them; the one that fails is named."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from depthwright.distributions import Box
from depthwright.networks.architecture import Architecture
from depthwright.networks.arithmetic import SIGNIFICANT_BITS
from depthwright.networks.inputs import Inputs
from depthwright.refusal import Refusal, need_one_of, need_positive, need_probability
from depthwright.targets.declared import check_radial, check_single_ridge
from depthwright.targets.network import ReLUNetwork
from depthwright.targets.radial import Radial
from depthwright.targets.single_ridge import SingleRidge

DEPTH_LIMIT = 5_000_000
"""Layers; of deeper networks only the size is computed."""


LEAST_ACCURACY = 1e-290
"""For networks evaluated in float64: far above the accuracy of that arithmetic."""


def check_float_accuracy(accuracy: float) -> None:
    """0 < ε < ∞, and above the resolution of float64."""
    need_positive("accuracy", accuracy)
    if accuracy < LEAST_ACCURACY:
        raise Refusal(
            f"accuracy={accuracy} is below {LEAST_ACCURACY}, where float64 begins to lose digits; "
            "multiply target and accuracy by a large number"
        )


def check_inputs(
    target: ReLUNetwork,
    delta: float,
    grid: float | None,
    floats: str,
    density_bound: float | None,
) -> None:
    """Refuse wrong descriptions of a narrow construction's inputs."""
    need_probability("failure_probability", delta)
    if grid is not None and not (math.isfinite(grid) and grid > 0):
        raise Refusal(f"grid={grid} is no step; give a number above 0, such as 2^−10")
    if grid is not None and delta:
        raise Refusal(
            f"grid={grid} asks for a claim at every point of the grid, so failure_probability="
            f"{delta} would mean nothing; set it to 0, or leave grid out"
        )
    need_one_of("inputs", floats, SIGNIFICANT_BITS)
    if floats != "float64" and (delta or grid is not None):
        raise Refusal(
            f"inputs={floats} speaks of a claim for every such float, which failure_probability=0 "
            "without grid asks for"
        )
    if floats == "float32":
        check_floats(target.domain)
    if density_bound is not None:
        if not delta or grid is not None:
            raise Refusal(
                f"density_bound={density_bound} speaks of the law of a failure probability; "
                "ask for failure_probability above 0, without grid"
            )
        density_share(density_bound, target.domain)


def check_floats(box: Box) -> None:
    """Refuse a box that holds no float32, where a claim for every float32 would be empty."""
    inputs, low = Inputs(box.lower, box.upper, "float32"), np.array([box.lower])
    with np.errstate(over="ignore"):
        found = inputs.nearest(low)[0].tolist()
    for j, (x, lower, upper) in enumerate(zip(found, box.lower, box.upper, strict=True)):
        if not lower <= x <= upper:
            raise Refusal(
                f"inputs=float32: no float32 lies in [{lower}, {upper}], the interval of "
                f"coordinate {j}; give a wider box, or inputs=float64"
            )


def density_share(density_bound: float | None, box: Box) -> Fraction:
    """β times the box's volume, at least 1; 1 for the uniform law."""
    if density_bound is None:
        return Fraction(1)
    sides = (Fraction(b) - Fraction(a) for a, b in zip(box.lower, box.upper, strict=True))
    volume = math.prod(sides, start=Fraction(1))
    if not math.isfinite(density_bound) or density_bound * volume < 1:
        raise Refusal(
            f"density_bound={density_bound} is no bound of a density on a box of volume "
            f"{float(volume):.3g}, which integrates to 1; give at least one over the volume"
        )
    return max(Fraction(1), Fraction(density_bound) * volume)


def check_range(rounding: float) -> None:
    """Refuse a target whose values, and so their rounding, have no finite bound."""
    if not math.isfinite(rounding):
        raise Refusal(
            "the target's values may exceed 1.8e308, the largest float64; "
            "give smaller weights or a smaller box"
        )


def check_target(target: Any) -> None:
    """VYS22 narrows ReLU networks with at least one hidden layer."""
    if not isinstance(target, ReLUNetwork):
        raise Refusal(
            f"a {type(target).__name__} is not a ReLU network; the narrow constructions imitate "
            f"targets.Network or targets.RandomNetwork; {_cure(target)}"
        )
    if len(target.widths) < 3:
        raise Refusal("the target has depth 1, so it is affine already; give it a hidden layer")


def check_radial_target(target: Any, construction: str) -> None:
    """Approximations of radial functions need a radial target, whose declarations are trusted."""
    if not isinstance(target, Radial):
        raise Refusal(
            f"{construction} approximates radial targets, and {type(target).__name__} is none; "
            f"{_cure(target)}"
        )
    check_radial(target)


def check_single_ridge_target(target: Any) -> None:
    """The same for functions of one direction."""
    if not isinstance(target, SingleRidge):
        raise Refusal(
            f"SingleRidge approximates functions of one direction, and {type(target).__name__} "
            f"is none; {_cure(target)}"
        )
    check_single_ridge(target)


def _cure(target: Any) -> str:
    """The constructions that do take this target."""
    if isinstance(target, Radial):
        return "use Ridge, SparseRidge or RadialDepthThree for it"
    if isinstance(target, SingleRidge):
        return "use SingleRidge for it"
    if isinstance(target, ReLUNetwork):
        return "use one of the narrow constructions for it"
    return "no construction takes it; give a radial function, one of one direction, or a network"


def check_depth(architecture: Architecture) -> None:
    """Refuse a network that would be too deep, before anything is built."""
    if architecture.depth > DEPTH_LIMIT:
        raise Refusal(
            f"this network would have {architecture.depth} layers, and no more than {DEPTH_LIMIT} "
            "are built; architecture() gives its size all the same"
        )
