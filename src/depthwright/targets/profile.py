"""A radial target with a profile of one's own: points of a broken line, a file of them, a function.

What a function declares of itself (`lipschitz`, `breaks`, `curvature`) is what claims rely on.
Samples are held against it, and can refute it; whoever declares it answers for the rest.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depthwright.files import read_text
from depthwright.refusal import Refusal, clipped
from depthwright.targets.declared import check_radial
from depthwright.targets.radial import MOST_PIECES, PiecewiseLinear, Radial
from depthwright.targets.target import FILE, KEY

if TYPE_CHECKING:
    import torch

BYTE_ORDER_MARK = codecs.BOM_UTF8.decode()
"""Before the text of some spreadsheets' files."""
_PROBE = np.array([0.0, 0.25, 0.5, 1.0])
_STEP = 2.0**-20
"""Of the difference quotient that stands for the derivative of a function unknown to torch."""


@dataclass(frozen=True, eq=False)
class Table(PiecewiseLinear):
    """The broken line through given points."""

    at: np.ndarray = field(kw_only=True)
    heights: np.ndarray = field(kw_only=True)

    @property
    def breaks(self) -> np.ndarray:
        return self.at

    @property
    def values(self) -> np.ndarray:
        return self.heights


@dataclass(frozen=True, eq=False)
class Profile(Radial):
    """f(x) = ϕ(‖x‖) on the unit ball for a ϕ of one's own.

    `Profile(values, at=radii)`: linear between the points; without `at` the radii are equally
    spaced. `Profile(points)`: pairs (radius, value). `Profile(file="profile.csv")`: such pairs, one
    a line, under a header or none. Radii rise from 0 to 1.

    `Profile(function, lipschitz=L)`: any function of radii in [0, 1], on arrays, tensors or single
    numbers; abs(ϕ'') ≤ `curvature` between the `breaks`, where that is known (it makes networks
    smaller and bounds tighter). Raises Refusal for a declaration that samples refute.
    """

    given: Any = field(default=None, metadata={KEY: "values"})
    """Values, points or a function."""
    at: Any = None
    file: Any = field(default=None, metadata={FILE: True})
    lipschitz: Any = field(default=None, kw_only=True, metadata={KEY: None})
    breaks: Any = field(default=None, kw_only=True, metadata={KEY: None})
    curvature: Any = field(default=None, kw_only=True, metadata={KEY: None})
    input_dim: int = field(default=5, kw_only=True)
    _line: Table | None = field(default=None, init=False, repr=False)
    _call: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if callable(self.given):
            table, facts = None, self._declared()
            object.__setattr__(self, "_call", _way(self.given))
        else:
            table = self._table()
            facts = {"at": None, "breaks": table.breaks, "curvature": 0.0}
            facts["lipschitz"] = table.lipschitz
        for name, value in {**facts, "_line": table}.items():
            object.__setattr__(self, name, value)
        check_radial(self)

    def _declared(self) -> dict[str, Any]:
        """What the user says of a function, as numbers."""
        if self.at is not None or self.file is not None:
            raise Refusal("at and file belong to points; a function is given with lipschitz=…")
        if self.lipschitz is None:
            raise Refusal(
                "a function needs lipschitz=…, how steep it is at most, on which every claim rests"
            )
        curvature = math.inf if self.curvature is None else self.curvature
        breaks = [] if self.breaks is None else self.breaks
        return {
            "lipschitz": _number("lipschitz", self.lipschitz),
            "curvature": _number("curvature", curvature),
            "breaks": np.union1d([0.0, 1.0], _numbers("breaks", breaks, 1)),
        }

    def _table(self) -> Table:
        """The points, checked."""
        for name in ("lipschitz", "breaks", "curvature"):
            if getattr(self, name) is not None:
                raise Refusal(f"{name} follows from the points; it is given with a function alone")
        if (self.given is None) == (self.file is None):
            raise Refusal(
                "a profile needs points: target.values='[[0,0],[0.5,0.4],[1,0]]' or a "
                "target.file=profile.csv of two columns; in Python a function will do as well"
            )
        if self.file is not None:
            rows = read_points(Path(self.file))
            return _through(rows[:, 0], rows[:, 1], f"{self.file}: ")
        values = _numbers("values", self.given, 2 if self.at is None else 1)
        if self.at is not None:
            return _through(_numbers("at", self.at, 1), values)
        if values.ndim == 2:
            return _through(values[:, 0], values[:, 1])
        return _through(np.linspace(0.0, 1.0, len(values)), values)

    @property
    def values(self) -> np.ndarray | None:
        """At the breaks, for points; None for a function."""
        return None if self._line is None else self._line.values

    @property
    def norms(self) -> Mapping[str, float]:
        """Of a broken line; none of a function is known."""
        return {} if self._line is None else self._line.norms

    def _facts(self) -> list[Any]:
        """The points; of a function what it declares, and its values at a thousand radii."""
        breaks = self.breaks.tolist()
        if self.values is not None:
            return ["Profile", self.input_dim, breaks, self.values.tolist()]
        values = self.profile(np.linspace(0.0, 1.0, 1025)).tolist()
        return ["Profile", self.input_dim, breaks, self.lipschitz, self.curvature, values]

    def profile(self, r: Any) -> Any:
        return self._call(r) if self._line is None else self._line.profile(r)


def read_points(path: Path) -> np.ndarray:
    """(n, 2) radii and values: two numbers a line, divided by a comma, a semicolon or space.

    Empty lines and what follows a # are skipped, and so is a header.
    """
    if not path.is_file():
        raise Refusal(f"{path} is not there")
    if (text := read_text(path)) is None:
        raise Refusal(f"{path} is no text file of at most 16 MB; give two columns of numbers")
    rows: list[list[float]] = []
    first = True
    for number, line in enumerate(text.removeprefix(BYTE_ORDER_MARK).splitlines(), 1):
        words = [word for word in re.split(r"[,;\s]+", line.partition("#")[0]) if word]
        try:
            row = [float(word) for word in words]
        except ValueError:
            row = []
        if len(row) == 2:
            rows.append(row)
        elif words and (row or not first):
            raise Refusal(
                f"{path}, line {number}: {clipped(line.strip())!r} is no pair of numbers; write "
                "a radius, a comma and a value"
            )
        first = first and not words
    return np.array(rows).reshape(-1, 2)


def _through(at: np.ndarray, values: np.ndarray, where: str = "") -> Table:
    """The broken line; radii that do not rise from 0 to 1 are refused here, by their numbers."""
    if at.shape != values.shape or len(at) < 2:
        raise Refusal(
            f"{where}{len(at)} radii and {len(values)} values are no profile; give as many of "
            "one as of the other, and at least two"
        )
    if len(at) > MOST_PIECES + 1:
        raise Refusal(f"{where}{len(at)} points are above {MOST_PIECES + 1}; give fewer")
    for name, numbers in {"radii": at, "values": values}.items():
        if not (finite := np.isfinite(numbers)).all():
            raise Refusal(f"{where}the {name} hold {numbers[~finite][0]}, no finite number")
    rising = np.diff(at) > 0
    if not rising.all():
        k = int((~rising).argmax())
        raise Refusal(
            f"{where}radius {at[k + 1]:g} comes after {at[k]:g}; sort the points by radius, "
            "each radius once"
        )
    if at[0] != 0 or at[-1] != 1:
        raise Refusal(
            f"{where}the radii run from {at[0]:g} to {at[-1]:g}; a profile needs a value at 0 and "
            "one at 1 (divide by the largest, add the ends)"
        )
    return Table(input_dim=1, at=at, heights=values)


def _numbers(name: str, given: Any, most: int) -> np.ndarray:
    """Finite float64 numbers in a row, or (n, 2) of them where `most` is 2."""
    if hasattr(given, "detach"):
        given = given.detach().cpu()
    try:
        found = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise Refusal(
            f"{name}={clipped(str(given))} are not numbers, as many in each row"
        ) from None
    if found.ndim != 1 and not (found.ndim == most == 2 and found.shape[1] == 2):
        pairs = " or pairs (radius, value)" if most == 2 else ""
        raise Refusal(f"{name} has shape {found.shape}; give numbers in a row{pairs}")
    return found


def _number(name: str, given: Any) -> float:
    try:
        return float(given)
    except (TypeError, ValueError, OverflowError):
        raise Refusal(f"{name}={clipped(str(given))} is no number") from None


# ── a user's function, whatever it is written with ─────────────────────────────────────────────


def _way(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function on numpy arrays and on torch tensors, however it may be called itself."""
    failures = []
    for on_arrays in (_on_arrays, _on_tensors, _one_by_one):
        call = on_arrays(function)
        try:
            np.broadcast_to(np.asarray(call(_PROBE), dtype=np.float64), _PROBE.shape)
        except Exception as error:
            failures.append(f"{type(error).__name__}: {clipped(str(error))}")
        else:
            return _Both(function, call)
    raise Refusal(
        f"the profile cannot be called on radii, {failures[0]}; give a function of a number or of "
        "an array of them"
    )


def _on_arrays(function: Callable[[Any], Any]) -> Callable[[np.ndarray], np.ndarray]:
    def call(r: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.asarray(function(r), dtype=np.float64), np.shape(r)).copy()

    return call


def _on_tensors(function: Callable[[Any], Any]) -> Callable[[np.ndarray], np.ndarray]:
    def call(r: np.ndarray) -> np.ndarray:
        import torch

        found = torch.as_tensor(function(torch.from_numpy(np.asarray(r, dtype=np.float64).copy())))
        return np.broadcast_to(found.detach().numpy(), np.shape(r)).copy()

    return call


def _one_by_one(function: Callable[[Any], Any]) -> Callable[[np.ndarray], np.ndarray]:
    return np.vectorize(lambda r: function(float(r)), otypes=[float])


@dataclass(frozen=True)
class _Both:
    """A function that takes arrays and tensors, from one that takes something."""

    function: Callable[[Any], Any]
    on_arrays: Callable[[Any], Any]

    def __call__(self, r: Any) -> Any:
        if not hasattr(r, "detach"):
            return self.on_arrays(np.asarray(r, dtype=np.float64))
        import torch

        try:
            found = self.function(r)
        except Exception:  # written for arrays or for single numbers
            found = None
        if isinstance(found, torch.Tensor) and found.requires_grad == r.requires_grad:
            return found.to(r).expand_as(r)
        return self._differenced(r)

    def _differenced(self, r: torch.Tensor) -> torch.Tensor:
        """Values by numpy; the gradient, which only searches use, from a difference quotient."""
        import torch

        at = r.detach().cpu().double().numpy()

        def tensor(values: Any) -> torch.Tensor:
            return torch.as_tensor(np.array(values, dtype=np.float64)).to(r)

        value = tensor(self.on_arrays(at))
        if not r.requires_grad:
            return value
        low, high = np.maximum(at - _STEP, 0.0), np.minimum(at + _STEP, 1.0)
        low = np.minimum(low, high - _STEP)  # past the sphere, where rounding may lead
        slope = tensor((self.on_arrays(high) - self.on_arrays(low)) / (high - low))
        return value + slope * (r - r.detach())
