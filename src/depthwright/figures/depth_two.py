"""What depth 2 must pay for a radial function, in three panels, drawn from its minimal mass.

- the profile, the average over rotations of the cheapest networks, and networks that were built
- where the hinges of that average sit, and how much weight each has
- the reason: the dual measure μ, and ∫ T h_b dμ over all knots b, which no feasible μ lets leave
  [−1, 1]; only where it touches the border a hinge is worth its weight
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from depthwright.approximation.averaged_hinge import averaged_hinge
from depthwright.approximation.mass import Minimum
from depthwright.figures.chart import Panel, Series

if TYPE_CHECKING:
    from depthwright.comparison.glance import Glance
    from depthwright.targets.radial import Radial

POINTS = 201
KNOTS = np.linspace(0.0, 0.999, 400)


def places(target: Radial) -> np.ndarray:
    """Radii at which the profile is drawn, its breaks among them."""
    return np.union1d(np.linspace(0.0, 1.0, POINTS), target.breaks)


def slices(
    target: Radial, accuracy: float, least: Minimum | None, built: Sequence[Glance] = ()
) -> Panel:
    """ϕ within its ±ε, the averaged network of least mass, and what was built, along a ray."""
    at = places(target)
    phi = np.asarray(target.profile(at), dtype=np.float64)
    lines = [
        Series(
            "ϕ, and ε around it",
            _numbers(at),
            _numbers(phi),
            "target",
            "target",
            low=_numbers(phi - accuracy),
            high=_numbers(phi + accuracy),
            band=True,
        )
    ]
    if least is not None:
        mean = "depth 2 of least mass, averaged over rotations"
        lines.append(Series(mean, _numbers(at), _numbers(least.primal(at)), "line", "constructed"))
    for one, colour in zip(built, ("#c8553d", "#e09f3e", "#4c956c"), strict=False):
        if one.values:
            lines.append(Series(one.name, _numbers(at), one.values, "line", colour))
    return Panel("radius r", "value", tuple(lines))


def knots(least: Minimum) -> Panel:
    """The weights of the averaged hinges, by their knots."""
    primal = least.primal
    stems = Series(
        f"hinges (total weight {primal.mass:.3g})",
        _numbers(primal.knots),
        _numbers(primal.weights),
        "stems",
        "constructed",
    )
    return Panel("knot b", "weight", (stems,), x_range=(-0.02, 1.0))


def measure(least: Minimum) -> Panel:
    """μ, scaled to be feasible: the highest and lowest of ∫ T h_b dμ is ±1."""
    _, scale = tested(least)
    stems = Series(
        "dual measure μ", _numbers(least.radii), _numbers(least.measure / scale), "stems", "floor"
    )
    return Panel("radius r", "weight of μ", (stems,), x_range=(-0.02, 1.02))


def constraint(least: Minimum) -> Panel:
    """∫ T h_b dμ over all b, with the knots of the program on it."""
    values, scale = tested(least)
    at = least.primal.knots
    touching = _integral(least, at) / scale
    return Panel(
        "knot b",
        "∫ T h<sub>b</sub> dμ",
        (
            Series("any hinge", _numbers(KNOTS), _numbers(values / scale), "line", "floor"),
            Series(
                "the hinges that are used",
                _numbers(at),
                _numbers(touching),
                "points",
                "constructed",
            ),
        ),
        lines=(("its limit", 1.0), ("", -1.0)),
    )


def tested(least: Minimum) -> tuple[np.ndarray, float]:
    """∫ T h_b dμ at KNOTS, and the largest size among them and the knots; 1 where all vanish."""
    values = _integral(least, KNOTS)
    largest = float(np.abs(np.append(values, _integral(least, least.primal.knots))).max())
    return values, largest or 1.0


def _integral(least: Minimum, at: np.ndarray) -> np.ndarray:
    columns = averaged_hinge(at[:, None], least.radii, least.primal.dimension)
    return np.asarray(columns @ least.measure)


def _numbers(values: np.ndarray) -> tuple[float, ...]:
    return tuple(values.tolist())
