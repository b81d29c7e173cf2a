"""How often the error is above the accuracy: P(abs(N − f) > ε), with Clopper–Pearson bounds.

VYS22's theorems speak of probability 1 − δ, so this is the error they are measured by. A pure
function of an error sample; points must be independent draws from the law of the inputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from depthwright.refusal import Refusal


@dataclass(frozen=True)
class Exceedance:
    """`count` of `total` sampled points are above the accuracy."""

    count: int
    total: int
    lower: float
    """P ≥ lower with the given confidence (one-sided)."""
    upper: float
    """P ≤ upper with the given confidence (one-sided)."""

    @property
    def share(self) -> float:
        """The sampled estimate."""
        return self.count / self.total


def exceedance(errors: Any, accuracy: float, confidence: float = 0.999) -> Exceedance:
    """From errors (batch,) or (batch, outputs), where a point counts if any output exceeds.

    An error that is not a number counts as above.
    """
    sample = np.abs(np.asarray(errors, dtype=np.float64))
    if sample.ndim == 2:
        sample = sample.max(axis=1)
    if sample.ndim != 1 or not len(sample):
        raise Refusal(f"errors of shape {sample.shape} are no sample; give (batch,) with batch ≥ 1")
    if not 0 < confidence < 1:
        raise Refusal(f"confidence={confidence} is not between 0 and 1; give one such as 0.999")
    if math.isnan(accuracy):
        raise Refusal("accuracy is not a number; give the ε that errors are held against")
    count = int((~(sample <= accuracy)).sum())
    return Exceedance(count, len(sample), *clopper_pearson(count, len(sample), confidence))


def clopper_pearson(count: int, total: int, confidence: float) -> tuple[float, float]:
    """One-sided lower and upper bounds of a binomial's probability, each with `confidence`."""
    from scipy.stats import beta

    tail = 1 - confidence
    lower = float(beta.ppf(tail, count, total - count + 1)) if count else 0.0
    upper = float(beta.isf(tail, count + 1, total - count)) if count < total else 1.0
    return lower, upper
