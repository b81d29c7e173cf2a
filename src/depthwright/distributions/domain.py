"""Where inputs live: the ball of the radial theorems, the boxes of the narrow ones."""

from __future__ import annotations

import math
import reprlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from depthwright.networks.inputs import Inputs, sides_text
from depthwright.networks.points import as_points
from depthwright.refusal import Refusal

if TYPE_CHECKING:
    import torch

MOST_INPUTS = 1_000_000
"""Of a target or of a law."""
Sides = float | Sequence[float] | np.ndarray
"""A number for every coordinate, or one each."""


class Domain(ABC):
    """A convex set of R^input_dim, with its nearest-point map."""

    input_dim: int

    @property
    @abstractmethod
    def centre(self) -> np.ndarray:
        """(input_dim,) of the smallest box around it."""

    @property
    @abstractmethod
    def half_sides(self) -> np.ndarray:
        """(input_dim,) of the smallest box around it."""

    @abstractmethod
    def project(self, x: torch.Tensor) -> torch.Tensor:
        """The nearest point of the domain, row by row; points inside stay as they are."""

    @abstractmethod
    def contains(self, x: torch.Tensor) -> torch.Tensor:
        """Which rows of `x` (batch, input_dim) lie inside, as booleans (batch,)."""


@dataclass(frozen=True)
class Ball(Domain):
    """‖x‖₂ ≤ radius."""

    input_dim: int
    radius: float = 1.0

    @property
    def centre(self) -> np.ndarray:
        return np.zeros(self.input_dim)

    @property
    def half_sides(self) -> np.ndarray:
        return np.full(self.input_dim, self.radius)

    def project(self, x: torch.Tensor) -> torch.Tensor:
        import torch

        norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        return torch.where(norm > self.radius, x * (self.radius / norm), x)

    def contains(self, x: torch.Tensor) -> torch.Tensor:
        """Compare norms, with a tolerance for the rounding of projected points."""
        import torch

        x = as_points(x, self.input_dim)
        slack = 1 + 8 * torch.finfo(x.dtype).eps
        return torch.linalg.vector_norm(x, dim=1) <= self.radius * slack

    def __str__(self) -> str:
        return f"ball of radius {self.radius:g} in R^{self.input_dim}"


@dataclass(frozen=True)
class Box(Domain):
    """lower_j ≤ x_j ≤ upper_j for every j; VYS22's cube is [−A, A]^d."""

    lower: tuple[float, ...]
    upper: tuple[float, ...]

    @classmethod
    def of(
        cls,
        input_dim: int,
        radius: float | None = None,
        lower: Sides | None = None,
        upper: Sides | None = None,
    ) -> Box:
        """[−radius, radius]^input_dim, or the box between `lower` and `upper`; else radius 1.

        Raises Refusal for anything but a box, and for sides of which both ends are nearly one
        float.
        """
        if lower is None and upper is None:
            radius = _radius(1.0 if radius is None else radius)
            return cls((-radius,) * input_dim, (radius,) * input_dim)
        if radius is not None:
            raise Refusal(
                f"radius={radius} comes with lower and upper, and both say where inputs live; "
                "give one of them"
            )
        if lower is None or upper is None:
            missing = "lower" if lower is None else "upper"
            raise Refusal(f"{missing} is not given; a box needs both lower and upper")
        box = cls(_side("lower", lower, input_dim), _side("upper", upper, input_dim))
        for j, (low, high) in enumerate(zip(box.lower, box.upper, strict=True)):
            if not low < high:
                raise Refusal(
                    f"input {j} runs from lower={low} to upper={high}; lower must be below upper "
                    "(an input that never changes belongs into the bias)"
                )
            if high - low < sys.float_info.min:
                raise Refusal(
                    f"input {j} runs from lower={low} to upper={high}, less than "
                    f"{sys.float_info.min:.3g} apart, under which floats lose digits; "
                    "give a wider box"
                )
        return box

    @property
    def input_dim(self) -> int:  # type: ignore[override]
        return len(self.lower)

    @property
    def inputs(self) -> Inputs:
        """All inputs in the box, as the inputs of a network."""
        return Inputs(self.lower, self.upper)

    @property
    def centre(self) -> np.ndarray:
        """Rounded to float64."""
        return np.array(self.lower) / 2 + np.array(self.upper) / 2

    @property
    def half_sides(self) -> np.ndarray:
        """Rounded to float64."""
        return np.array(self.upper) / 2 - np.array(self.lower) / 2

    def project(self, x: torch.Tensor) -> torch.Tensor:
        """Clip every coordinate, to bounds rounded inwards where the dtype of `x` lacks them."""
        import torch

        low, high = (torch.tensor(side, dtype=torch.float64).to(x) for side in self._sides)
        outwards = torch.full_like(low, torch.inf)
        low = torch.where(low.double() < self._like(x, 0), torch.nextafter(low, outwards), low)
        high = torch.where(high.double() > self._like(x, 1), torch.nextafter(high, -outwards), high)
        return torch.minimum(torch.maximum(x, low), high)

    def contains(self, x: torch.Tensor) -> torch.Tensor:
        """Compare coordinates; clipping is exact, so there is no slack."""
        x = as_points(x, self.input_dim)
        return ((x >= self._like(x, 0)) & (x <= self._like(x, 1))).all(dim=1)

    @property
    def _sides(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.lower, self.upper

    def _like(self, x: torch.Tensor, which: int) -> torch.Tensor:
        """A side in float64, on the device of `x`."""
        import torch

        return torch.tensor(self._sides[which], dtype=torch.float64, device=x.device)

    def __str__(self) -> str:
        cube = set(self.upper) == {-low for low in self.lower}
        return f"{'cube' if cube else 'box'} {sides_text(self.lower, self.upper)}"


def _radius(radius: Any) -> float:
    """A positive number within the range of float64."""
    if not isinstance(radius, (int, float, np.number)) or not 0 < radius <= sys.float_info.max:
        shown = reprlib.repr(radius)
        raise Refusal(f"radius={shown} is not a positive number; inputs live in [−radius, radius]")
    if radius < sys.float_info.min:
        raise Refusal(
            f"radius={radius} is below {sys.float_info.min:.3g}, under which floats lose digits; "
            "give a larger radius"
        )
    return float(radius)


def _side(name: str, given: Any, input_dim: int) -> tuple[float, ...]:
    """One finite number per coordinate."""
    if hasattr(given, "detach"):
        given = given.detach().cpu()
    try:
        values = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise Refusal(
            f"{name}={reprlib.repr(given)} is neither a number nor one number per input"
        ) from error
    if values.shape not in ((), (input_dim,)):
        raise Refusal(
            f"{name} has shape {values.shape} and there are {input_dim} inputs; "
            "give one number, or one per input"
        )
    side = tuple(np.broadcast_to(values, input_dim).tolist())
    for j, value in enumerate(side):
        if not math.isfinite(value):
            raise Refusal(f"{name}={value} of input {j} is not a finite number")
    return side
