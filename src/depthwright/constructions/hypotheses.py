"""What theorems presuppose, checked once for all of them; the one that fails is named."""

from __future__ import annotations

import math
from typing import Any

from depthwright.networks.architecture import Architecture
from depthwright.refusal import Refusal
from depthwright.targets.network import ReLUNetwork

DEPTH_LIMIT = 5_000_000
"""Layers; deeper networks are sized but not built."""


LEAST_ACCURACY = 1e-290
"""Of networks evaluated in float64: far above where it loses digits."""


def check_float_accuracy(accuracy: float) -> None:
    """0 < ε < ∞, and not so small that float64 has no digits for it."""
    check_accuracy(accuracy)
    if accuracy < LEAST_ACCURACY:
        raise Refusal(
            f"accuracy={accuracy} is below {LEAST_ACCURACY}, where float64 begins to lose digits; "
            "multiply target and accuracy by a large number"
        )


def check_accuracy(accuracy: float) -> None:
    """Every theorem here wants 0 < ε < ∞."""
    if not (math.isfinite(accuracy) and accuracy > 0):
        raise Refusal(
            f"accuracy={accuracy} is not a positive number; ask for some ε > 0, for example 0.1"
        )


def check_probability(delta: float, grid: float | None) -> None:
    """0 < δ < 1, or 0 on a grid."""
    if not (math.isfinite(delta) and 0 <= delta < 1):
        raise Refusal(f"failure_probability={delta} is not in [0, 1); ask for example for 1e-3")
    if grid is not None and not (math.isfinite(grid) and grid > 0):
        raise Refusal(f"grid={grid} is not a positive step")
    if delta == 0 and grid is None:
        raise Refusal(
            "failure_probability=0 cannot be promised for real inputs, since no continuous "
            "network reads bits everywhere; ask for some δ > 0, or give grid=STEP for inputs "
            "−radius + STEP·k"
        )


def check_target(target: Any) -> None:
    """VYS22 narrows ReLU networks with at least one hidden layer."""
    if not isinstance(target, ReLUNetwork):
        raise Refusal(
            f"a {type(target).__name__} is not a ReLU network; the narrow constructions imitate "
            "targets.Network or targets.RandomNetwork"
        )
    if len(target.widths) < 3:
        raise Refusal("the target has depth 1, so it is affine already; give it a hidden layer")


def check_depth(architecture: Architecture) -> None:
    """Refuse before long work starts."""
    if architecture.depth > DEPTH_LIMIT:
        raise Refusal(
            f"this network would have {architecture.depth} layers, and no more than {DEPTH_LIMIT} "
            "are built; architecture() gives its size all the same"
        )
