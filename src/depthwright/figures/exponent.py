"""The exponent of a power law, for figures' sentences."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def exponent(x: Iterable[float], y: Iterable[float | None]) -> float:
    """The slope of log y against log x by least squares; points without y are left out."""
    points = [(a, b) for a, b in zip(x, y, strict=True) if b]
    at, value = np.log(np.array(points)).T
    return float(np.polyfit(at, value, 1)[0])
