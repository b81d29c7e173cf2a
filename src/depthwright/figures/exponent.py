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
    from scipy import stats

    points = [(a, b) for a, b in zip(x, y, strict=True) if b]
    fit = stats.linregress(*np.log(np.array(points)).T)
    free, slope = len(points) - 2, float(fit.slope)
    half = float(stats.t.ppf(0.975, free) * fit.stderr) if free else math.inf
    return Exponent(slope, slope - half, slope + half)
