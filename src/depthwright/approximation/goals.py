"""What a descent of depth-2 networks aims at, and what it may take (`approximation.descent`)."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_POWER = 20.0
"""Of the norm at the climbers, at the beginning."""


@dataclass(frozen=True)
class Goal:
    """Some numbers are by device: a GPU takes more."""

    share: float
    """Weight of the root mean square beside the largest error; 0 leaves it out."""
    law: dict[str, int]
    climbers: dict[str, int]
    """Points of a step; the climbers' number is a multiple of `descent.LIFE`."""
    work: dict[str, float]
    """Most multiply-adds."""
    rate: float
    """Adam's, as a part of the inner weights' root mean square."""
    power: float = FIRST_POWER
    """Of the norm at the climbers, at the end."""
    few: int = 1
    """Most directions in a sum where climbers begin: in many dimensions two or three of them lead
    to larger errors than one."""


NO_POINTS = {"cpu": 0, "cuda": 0}
LAW = {"cpu": 256, "cuda": 4096}
MEAN_SQUARE = Goal(1.0, LAW, NO_POINTS, {"cpu": 4e11, "cuda": 2e13}, 0.05)
BOTH = Goal(16.0, LAW, {"cpu": 500, "cuda": 8000}, {"cpu": 6e10, "cuda": 2e13}, 0.01, 90.0)
"""Most of a minute on either device, as the mean square."""
LARGEST = Goal(
    0.0, NO_POINTS, {"cpu": 2000, "cuda": 8000}, {"cpu": 4e12, "cuda": 2e13}, 0.005, 250.0, few=3
)
"""Minutes on a processor: the largest error falls for as long as it is worked on."""
