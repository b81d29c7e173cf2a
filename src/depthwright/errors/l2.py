"""L2 error under a distribution, with a confidence interval: a measurement, never a claim."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

NORMAL_QUANTILE = 1.959963984540054
"""97.5 % point: intervals cover 95 %."""


@dataclass(frozen=True)
class L2Error:
    """√E‖N − f‖² from independent samples."""

    value: float
    low: float
    """95 % interval, by the central limit theorem for the mean of the squares."""
    high: float
    relative: float
    """Divided by the standard deviation of the target: 1 means "learned the mean"."""


def l2_error(residuals: np.ndarray, target_values: np.ndarray) -> L2Error:
    """From residuals and target values (points, outputs) at independent points."""
    squares = (residuals**2).sum(axis=1)
    mean, spread = float(squares.mean()), float(squares.std(ddof=1)) / math.sqrt(len(squares))
    deviation = math.sqrt(float(target_values.var(axis=0).sum()))
    value = math.sqrt(mean)
    return L2Error(
        value=value,
        low=math.sqrt(max(mean - NORMAL_QUANTILE * spread, 0.0)),
        high=math.sqrt(mean + NORMAL_QUANTILE * spread),
        relative=value / deviation if deviation else math.inf,
    )
