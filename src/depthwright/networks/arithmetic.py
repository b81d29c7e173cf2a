"""In which arithmetic numbers are held, and how much each of them rounds."""

from __future__ import annotations

from typing import Literal

Arithmetic = Literal["float32", "float64", "exact"]

SIGNIFICANT_BITS = {"float32": 24, "float64": 53}
"""Of a normal number's significand."""
UNIT_ROUNDOFF = {name: 2.0**-bits for name, bits in SIGNIFICANT_BITS.items()}
"""Largest relative error of one rounding, no underflow."""
FLOAT64_ROUNDOFF = UNIT_ROUNDOFF["float64"]
EPS = 2 * FLOAT64_ROUNDOFF
"""Distance from 1 to the next float64: at least twice the relative error of one rounding."""
EXPONENTS = {"float32": (-149, 128), "float64": (-1074, 1024)}
"""Every finite value is a multiple of 2^first and below 2^second in size."""
