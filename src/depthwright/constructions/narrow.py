"""What the narrow constructions that read inputs bit by bit share: hypotheses, claim, bad set.

Each of them reads a number of bits of every coordinate and then computes a value within `accuracy`
of the target. A continuous ramp cannot read a bit of all real numbers: for some inputs, the *bad
set*, a bit is read wrong. `failure_probability=0` puts that set between the floats, where no input
lies; δ > 0 lets it have probability δ; `grid` leaves only inputs that are far from it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from depthwright.constructions.bits.cells import Floats
from depthwright.constructions.construction import Built, Claim, Construction
from depthwright.constructions.hypotheses import (
    check_inputs,
    check_range,
    check_target,
    density_share,
)
from depthwright.networks.exact.network import ExactNetwork
from depthwright.networks.inputs import Inputs, Numbers
from depthwright.refusal import Refusal, need_positive
from depthwright.targets.network import ReLUNetwork


@dataclass(frozen=True)
class NarrowConstruction(Construction):
    """A narrow network within `accuracy` of a ReLU network, where bits are read correctly."""

    target: ReLUNetwork
    accuracy: float
    failure_probability: float = 0.0
    """δ of a claim of norm "probability"; 0 claims for every float instead."""
    grid: float | None = None
    """Step h: the claim then holds for every float64 x with coordinates lower_j + h·k, k whole."""
    inputs: Floats = "float64"
    """For which floats a claim of norm "floats" holds."""
    density_bound: float | None = None
    """VYS22's β of the law that a claim of norm "probability" is about; None: it is uniform."""

    def __post_init__(self) -> None:
        check_target(self.target)
        need_positive("accuracy", self.accuracy)
        check_inputs(
            self.target, self.failure_probability, self.grid, self.inputs, self.density_bound
        )

    @property
    def covered(self) -> Inputs:
        box = self.target.domain
        numbers: Numbers = "real" if self.failure_probability or self.grid else self.inputs
        return Inputs(box.lower, box.upper, numbers, self.grid)

    @property
    def density_share(self) -> Fraction:
        """How much more probable than under the uniform law a set may be: β·volume, at least 1."""
        return density_share(self.density_bound, self.target.domain)

    @property
    @abstractmethod
    def bad_set_probability(self) -> Fraction:
        """Of the bad set, under the law that the claim refers to."""

    @abstractmethod
    def in_bad_set(self, x: np.ndarray) -> np.ndarray:
        """Which rows of `x` (batch, d) lie in the bad set, exactly: booleans (batch,)."""

    @property
    @abstractmethod
    def error_terms(self) -> dict[str, float]:
        """Each source of error with its bound, without the roundings at both ends."""

    @property
    @abstractmethod
    def final_rounding(self) -> float:
        """At least half a unit in the last place of the largest value, error included."""

    @property
    def error_left(self) -> float:
        """What `error_terms` may use of the accuracy; refused where rounding uses all of it."""
        rounding = self.final_rounding + self.target.reading_error
        check_range(rounding)
        # The terms of the claim are rounded up once more, which counts among subnormals.
        left = (self.accuracy - rounding) * (1 - 1e-12) - 8 * 2.0**-1074
        if left <= 0:
            raise Refusal(
                f"accuracy={self.accuracy} is below the rounding of the result to float64, "
                f"{rounding:.3g}; give a larger accuracy"
            )
        return left

    @property
    def claim(self) -> Claim:
        """Terms that sum to at most the accuracy."""
        terms = self.error_terms | {"final rounding to float64": self.final_rounding}
        terms |= self.target.reading_terms
        domain, delta = str(self.covered), self.failure_probability
        if not delta:
            norm = "floats" if self.grid is None else "sup"
            return Claim(self.accuracy, norm, domain, terms, "exact")  # type: ignore[arg-type]
        probability = min(math.nextafter(float(self.bad_set_probability), 1.0), delta)
        return Claim(
            self.accuracy, "probability", domain, terms, "exact", probability, self.density_bound
        )

    def _built(self, network: ExactNetwork) -> Built:
        return Built(network, self.claim, self.in_bad_set if self.failure_probability else None)
