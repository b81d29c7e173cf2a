"""Radial targets that go up and down: what depth 2 pays for most."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from depthwright.refusal import need_whole
from depthwright.targets.radial import MOST_PIECES, PiecewiseLinear, Radial


@dataclass(frozen=True)
class ZigZag(PiecewiseLinear):
    """`teeth` equal teeth of slopes ∓1: ϕ(r) = abs(teeth·r mod 1 − 1/2)/teeth, 1-Lipschitz."""

    teeth: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        need_whole("teeth", self.teeth, 1, MOST_PIECES)

    @property
    def breaks(self) -> np.ndarray:
        return np.arange(2 * self.teeth + 1) / (2 * self.teeth)

    @property
    def values(self) -> np.ndarray:
        """1/(2·teeth) and 0 in turn, high at both ends."""
        return np.where(np.arange(2 * self.teeth + 1) % 2, 0.0, 1 / (2 * self.teeth))


@dataclass(frozen=True)
class Sine(Radial):
    """ϕ(r) = sin(2πm·r²)/(4πm), m = `frequency`: SES19 Theorem 4 (m = d³), made 1-Lipschitz."""

    frequency: int = 2
    """m, the periods of the sine in ‖x‖²."""

    def __post_init__(self) -> None:
        super().__post_init__()
        need_whole("frequency", self.frequency, 1, MOST_PIECES)

    @property
    def lipschitz(self) -> float:
        """ϕ'(r) = r·cos(2πm·r²), which is 1 on the sphere."""
        return 1.0

    @property
    def curvature(self) -> float:
        """By ϕ''(r) = cos(2πm·r²) − 4πm·r²·sin(2πm·r²)."""
        return 1 + 4 * math.pi * self.frequency

    def profile(self, r: Any) -> Any:
        angle = 2 * math.pi * self.frequency * r * r
        sine = angle.sin() if hasattr(angle, "sin") else np.sin(angle)
        return sine / (4 * math.pi * self.frequency)

    @property
    def norms(self) -> Mapping[str, float]:
        """By Fresnel's integrals S and C."""
        from scipy.special import fresnel

        m = self.frequency
        height, s, c = 1 / (4 * math.pi * m), 2 * math.sqrt(m), math.sqrt(8 * m)
        return {
            "sup": height,
            "mean": height * float(fresnel(s)[0]) / s,
            "l2": height * math.sqrt((1 - float(fresnel(c)[1]) / c) / 2),
        }
