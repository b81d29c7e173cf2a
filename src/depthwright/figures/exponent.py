"""The exponent of a power law, for figures' sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Exponent:
    """The slope of log y against log x with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if not math.isfinite(self.high):
            return f"{self.value:.2f}"
        return f"{self.value:.2f} (95 %: {self.low:.2f} to {self.high:.2f})"


def exponent(x: Iterable[float], y: Iterable[float | None]) -> float:
    """The slope of log y against log x by least squares; points without y are left out."""
    return interval(x, y).value


def interval(x: Iterable[float], y: Iterable[float | None]) -> Exponent:
    """The same with the interval of Student's t for independent normal deviations of log y, the
    usual one of a regression; two points have an infinite one."""
    from scipy.stats import t as student

    points = [(a, b) for a, b in zip(x, y, strict=True) if b]
    at, value = np.log(np.array(points)).T
    slope, offset = np.polyfit(at, value, 1)
    free = len(points) - 2
    if not free:
        return Exponent(float(slope), -math.inf, math.inf)
    left = value - slope * at - offset
    error = math.sqrt(float(left @ left) / free / float(((at - at.mean()) ** 2).sum()))
    half = float(student.ppf(0.975, free)) * error
    return Exponent(float(slope), float(slope) - half, float(slope) + half)
