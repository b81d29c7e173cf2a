"""The inputs that a network was built for, and for which its claim holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, get_args

import numpy as np

from depthwright.refusal import Refusal

Numbers = Literal["real", "float64", "float32"]
NUMBERS: tuple[Numbers, ...] = get_args(Numbers)


@dataclass(frozen=True)
class Inputs:
    """The numbers of a kind, or the points of a grid, in a box."""

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    numbers: Numbers = "real"
    """"real": all, though only float64 can be given; "float64", "float32": those floats."""
    grid: float | None = None
    """Step h: only coordinates lower_j + h·k, k whole."""

    @classmethod
    def cube(cls, input_dim: int, radius: float) -> Inputs:
        """Everything in [−radius, radius]^input_dim."""
        return cls((-radius,) * input_dim, (radius,) * input_dim)

    @property
    def largest(self) -> float:
        """The largest abs(x_j)."""
        return max(map(abs, (*self.lower, *self.upper)))

    def outside(self, x: np.ndarray) -> np.ndarray:
        """Which rows of `x` (batch, d), float64, lie outside the box: booleans (batch,)."""
        return np.any((x < self.lower) | (x > self.upper), axis=1)

    def others(self, x: np.ndarray) -> np.ndarray:
        """Which rows of `x` (batch, d), float64, are off the grid or not in float32, exactly."""
        if self.grid is not None:
            return np.any(~on_grid(x, np.array(self.lower), self.grid), axis=1)
        if self.numbers == "float32":
            with np.errstate(over="ignore", under="ignore"):
                return np.any(x.astype(np.float32).astype(np.float64) != x, axis=1)
        return np.zeros(len(x), dtype=bool)

    def nearest(self, x: np.ndarray) -> np.ndarray:
        """Every row of `x` (batch, d), inside the box, moved to a covered input nearby."""
        low, high = np.array(self.lower), np.array(self.upper)
        if self.grid is not None:
            most = np.floor((high - low) / self.grid)
            moved = low + np.clip(np.rint((x - low) / self.grid), 0, most) * self.grid
            return np.where(moved > high, moved - self.grid, moved)
        if self.numbers == "float32":
            moved = x.astype(np.float32)
            up, down = (
                np.nextafter(moved, np.float32(np.inf)),
                np.nextafter(moved, np.float32(-np.inf)),
            )
            moved = np.where(moved < low, up, np.where(moved > high, down, moved))
            return moved.astype(np.float64)
        return x

    def __str__(self) -> str:
        box = sides_text(self.lower, self.upper)
        if self.grid is not None:
            first = number_text(self.lower[0]) if len(set(self.lower)) == 1 else "lower"
            return f"the points {first} + {number_text(self.grid)}·k of {box}".replace("-", "−")
        return box if self.numbers == "real" else f"every {self.numbers} of {box}"


def number_text(value: float) -> str:
    """The number itself, in as few digits as tell it from every other float64."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def sides_text(lower: Sequence[float], upper: Sequence[float]) -> str:
    """A box in words: [−1, 1]^3, [0, 1]^2 × [−3, 5], and so on."""
    runs = [(side, len(list(run))) for side, run in groupby(zip(lower, upper, strict=True))]
    parts = [
        f"[{number_text(low)}, {number_text(high)}]" + (f"^{count}" if count > 1 else "")
        for (low, high), count in runs[:3]
    ]
    rest = sum(count for _, count in runs[3:])
    more = [f"… ({rest} more)"] if rest else []
    return " × ".join([*parts, *more]).replace("-", "−")


def on_grid(x: np.ndarray, start: np.ndarray, step: float) -> np.ndarray:
    """Where x − start is a whole multiple of `step`, exactly: remainders of floats are floats."""
    a, b = np.fmod(x, step), np.fmod(start, step)
    difference = a - b
    # what the subtraction lost (Knuth): the difference is exact where this is 0
    virtual = difference - a
    lost = (a - (difference - virtual)) - (b + virtual)
    whole = (difference == 0) | (np.abs(difference) == step)
    return whole & (lost == 0)


def check_inputs(x: np.ndarray, input_dim: int, inputs: Inputs | None) -> None:
    """Check kind, shape, finiteness, that float64 holds them, and that they are among `inputs`."""
    if x.dtype.kind not in "fiub":
        raise Refusal(f"inputs of dtype {x.dtype} are not real numbers; give float64")
    if x.ndim != 2 or x.shape[1] != input_dim:
        raise Refusal(
            f"inputs of shape {x.shape} do not fit; this network reads (batch, {input_dim})"
        )
    bad = ~np.isfinite(x).all(axis=1)
    if bad.any():
        raise Refusal(f"row {int(bad.argmax())} of the inputs is not finite")
    bad = _rounded_by_float64(x).any(axis=1)
    if bad.any():
        raise Refusal(
            f"row {int(bad.argmax())} of the inputs, dtype {x.dtype}, holds a number that float64 "
            "does not; round it first"
        )
    if inputs is None:
        return
    exact = x.astype(np.float64)
    for bad in (inputs.outside(exact), inputs.others(exact)):
        if bad.any():
            row = int(bad.argmax())
            first = np.array2string(x[row], threshold=6, floatmode="unique")
            raise Refusal(
                f"{int(bad.sum())} of {len(x)} inputs are not among {inputs}, of which alone "
                f"something is claimed; the first is row {row} of the inputs, {first}; pass "
                "anywhere=True to evaluate them all the same"
            )


def _rounded_by_float64(x: np.ndarray) -> np.ndarray:
    """Where conversion to float64 changes the number (same shape)."""
    changed = np.zeros(x.shape, dtype=bool)
    if x.dtype.kind == "f" and x.dtype.itemsize > 8:
        with np.errstate(over="ignore", under="ignore"):
            changed = x.astype(np.float64) != x
    elif x.dtype.kind in "iu" and x.dtype.itemsize == 8:
        large = (x > 1 << 53) | (x < -(1 << 53) if x.dtype.kind == "i" else False)
        changed[large] = [int(float(v)) != v for v in x[large].tolist()]
    return changed
