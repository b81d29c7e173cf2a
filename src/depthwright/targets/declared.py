"""A target's declarations of its profile, compared with samples: they can refute, never prove.

Theorems rely on a Lipschitz constant, a curvature, breaks. A user's class may declare them wrongly,
and every claim would then be false; two values of the profile that differ too much refute them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from depthwright.networks.arithmetic import EPS
from depthwright.refusal import Refusal
from depthwright.targets.radial import Radial
from depthwright.targets.single_ridge import SingleRidge

SAMPLES = 4097
LARGEST = 1e100
"""Values and constants above this are refused: their squares and quotients leave float64."""
PROFILE_ROUNDING = 16 * EPS
"""What a profile itself may round, which samples are allowed and claims count: relative to its
largest value, and to its argument, whose rounding the profile magnifies by its Lipschitz constant.
"""


def check_radial(target: Radial) -> None:
    """Refuse what samples of ϕ on [0, 1] contradict."""
    name, breaks = type(target).__name__, np.asarray(target.breaks, dtype=np.float64)
    rising = breaks.ndim == 1 and len(breaks) > 1 and bool((np.diff(breaks) > 0).all())
    if not (rising and breaks[0] == 0 and breaks[-1] == 1):
        raise Refusal(
            f"the breaks of {name}, {np.array2string(breaks, threshold=6)}, do not rise from 0 to 1"
        )
    values = target.values
    if values is not None and np.shape(values) != breaks.shape:
        raise Refusal(
            f"{name} has values of shape {np.shape(values)} at {len(breaks)} breaks; "
            "give one value at each"
        )
    near = 2.0 ** -np.arange(13, 41)
    at = np.unique(np.concatenate([np.linspace(0, 1, SAMPLES), near, 1 - near, breaks]))
    phi = _sampled(name, target.profile, at)
    _check(name, "r", at, phi, breaks, float(target.lipschitz), float(target.curvature))
    if values is not None:
        gap = np.abs(np.interp(at, breaks, values) - phi)
        if gap.max() > 2 * PROFILE_ROUNDING * float(np.abs(phi).max() + target.lipschitz):
            r = at[gap.argmax()]
            raise Refusal(
                f"the line through the values of {name} is off its profile by {gap.max():.3g} at "
                f"r = {r:.6g}; declare None where the profile is not linear between its breaks"
            )
    if (exact := target.even_polynomial) is not None:
        coefficients = np.array([float(a) for a in exact])
        gap = np.abs(np.polynomial.polynomial.polyval(at * at, coefficients) - phi)
        size = float(np.abs(coefficients).sum() + np.abs(phi).max())
        if gap.max() > (len(exact) + 1) * PROFILE_ROUNDING * size:
            r = at[gap.argmax()]
            raise Refusal(
                f"even_polynomial of {name} is off its profile by {gap.max():.3g} at r = {r:.6g}; "
                "declare None where the profile is no even polynomial"
            )


def check_single_ridge(target: SingleRidge) -> None:
    """Refuse what samples of g on [−reach, reach] contradict."""
    name, direction = type(target).__name__, np.asarray(target.direction, dtype=np.float64)
    if not (np.isfinite(direction).all() and 0 < target.reach <= LARGEST):
        raise Refusal(
            f"the direction of {name} has sizes that add up to {target.reach:g}; "
            f"give one that is not 0, of at most {LARGEST:g}"
        )
    at = np.unique(np.linspace(-target.reach, target.reach, SAMPLES))
    g = _sampled(name, target.profile, at)
    # f is as steep as g in the direction w, so g rises by at most lipschitz/‖w‖ a unit.
    steepest = float(target.lipschitz) / float(np.linalg.norm(direction)) * (1 + 1e-9)
    _check(name, "w·x", at, g, at[[0, -1]], steepest, float(target.curvature))


def _sampled(name: str, profile: Any, at: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):  # values that are not finite are refused here
        values = np.broadcast_to(np.asarray(profile(at), dtype=np.float64), at.shape)
    bad = ~(np.abs(values) <= LARGEST)
    if bad.any():
        where = int(bad.argmax())
        raise Refusal(
            f"the profile of {name} is {values[where]:g} at {at[where]:.6g}; "
            f"give one whose values are finite and at most {LARGEST:g} in size"
        )
    return values


def _check(
    name: str,
    letter: str,
    at: np.ndarray,
    values: np.ndarray,
    breaks: np.ndarray,
    lipschitz: float,
    curvature: float,
) -> None:
    if not 0 <= lipschitz <= LARGEST:
        raise Refusal(
            f"lipschitz={lipschitz:g} of {name} is not in [0, {LARGEST:g}]; "
            "divide the target by a constant, or declare how steep it is"
        )
    if not curvature >= 0:
        raise Refusal(f"curvature={curvature:g} of {name} is no bound; declare one ≥ 0, or inf")
    rounding = PROFILE_ROUNDING * float(np.abs(values).max() + lipschitz * np.abs(at).max())
    step, rise = np.diff(at), np.diff(values)
    excess = np.abs(rise) - 2 * rounding - lipschitz * step * (1 + 1e-9)
    if excess.max() > 0:
        k = int(excess.argmax())
        raise Refusal(
            f"lipschitz={lipschitz:g} is not true of {name}: between {letter} = {at[k]:.9g} and "
            f"{at[k + 1]:.9g} its profile changes by {abs(rise[k]):.3g}; declare at least "
            f"{abs(rise[k]) / step[k]:.3g}"
        )
    if math.isfinite(curvature):
        span = at[2:] - at[:-2]
        with np.errstate(over="ignore"):
            second = 2 * np.abs(rise[1:] / step[1:] - rise[:-1] / step[:-1]) / span
            allowed = 4 * rounding * (1 / step[1:] + 1 / step[:-1]) / span
        smooth = ~np.isin(at[1:-1], breaks)
        excess = np.where(smooth, second - allowed - curvature * (1 + 1e-9), -math.inf)
        if excess.max() > 0:
            k = int(excess.argmax())
            raise Refusal(
                f"curvature={curvature:g} is not true of {name}: near {letter} = "
                f"{at[k + 1]:.9g} its samples bend by {second[k]:.3g}; declare a break there, a "
                "curvature that holds everywhere, or inf"
            )
