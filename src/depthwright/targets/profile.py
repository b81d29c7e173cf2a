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
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depthwright.files import read_text
from depthwright.refusal import Refusal, clipped
from depthwright.targets.declared import LARGEST, check_radial
from depthwright.targets.radial import MOST_PIECES, PiecewiseLinear, Radial
from depthwright.targets.target import FILE, KEY, short

if TYPE_CHECKING:
    import torch

BYTE_ORDER_MARK = codecs.BOM_UTF8.decode()
"""Before the text of some spreadsheets' files."""
_PROBE = np.array([0.25, 1.0, 0.0, 0.5])
"""In no order, so that a function that sorts or accumulates is found out."""
_SAME = 1e-6
"""Relative: values of one radius, alone and among others, differ by float32 rounding at most."""
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
        if self.given is not None and self.file is not None:
            raise Refusal(f"values and file={self.file} both give points; give one of them")
        if self.given is None and self.file is None:
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

    def __repr__(self) -> str:
        dimension = f"input_dim={self.input_dim}"
        if self._line is not None:
            return f"Profile({len(self.breaks)} points, {dimension})"
        told = f"lipschitz={self.lipschitz:g}, curvature={self.curvature:g}"
        return f"Profile({short(self.given)}, {told}, {dimension})"

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
        scaled = f", and divide the radii by {at.max():g}" if at.max() > 1 else ""
        raise Refusal(
            f"{where}radius {at[k + 1]:g} comes after {at[k]:g}; sort the points by radius, "
            f"each radius once{scaled}"
        )
    if at[0] != 0 or at[-1] != 1:
        raise Refusal(
            f"{where}the radii run from {at[0]:g} to {at[-1]:g}; a profile needs a value at 0 and "
            "one at 1 (divide by the largest, add the ends)"
        )
    if (size := np.abs(values)).max() > LARGEST:
        raise Refusal(
            f"{where}the value {values[size.argmax()]:g} at radius {at[size.argmax()]:g} is above "
            f"{LARGEST:g} in size; divide all values by a constant"
        )
    with np.errstate(over="ignore"):
        slopes = np.abs(np.diff(values) / np.diff(at))
    if slopes.max() > LARGEST:
        k = int(slopes.argmax())
        raise Refusal(
            f"{where}between the radii {at[k]:g} and {at[k + 1]:g} the values rise or fall by more "
            f"than {LARGEST:g} a unit; leave out one of the two points"
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
            with np.errstate(all="ignore"):
                together = call(_PROBE)
                alone = np.concatenate([call(_PROBE[k : k + 1]) for k in range(len(_PROBE))])
        except Refusal:
            raise
        except Exception as error:
            failures.append(f"{type(error).__name__}: {clipped(str(error))}")
        else:
            _need_elementwise(together, alone)
            return _Both(function, call)
    raise Refusal(
        f"the profile cannot be called on radii, {failures[0]}; give a function of a number or of "
        "an array of them"
    )


def _same(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Elementwise, whether two computations of the profile agree."""
    finite = others[np.isfinite(others)]
    allowed = _SAME * float(np.abs(finite).max(initial=0.0))
    return np.isclose(values, others, rtol=_SAME, atol=allowed, equal_nan=True)


def _need_elementwise(together: np.ndarray, alone: np.ndarray) -> None:
    """Raises Refusal where the value at a radius depends on the other radii, or on chance."""
    if not (same := _same(together, alone)).all():
        k = int((~same).argmax())
        raise Refusal(
            f"the profile at radius {_PROBE[k]:g} is {alone[k]:.6g} alone and {together[k]:.6g} in "
            "an array of radii; compute each value from its own radius (np.maximum, not np.max), "
            "without chance"
        )


def _shaped(found: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Values as float64, one for each radius; a single one is that of all radii."""
    found = np.asarray(found)
    if found.dtype.kind == "c":
        raise Refusal("the profile has complex values; give real ones, such as their real part")
    if found.shape not in ((), shape):
        raise Refusal(
            f"the profile gives values of shape {found.shape} for radii of shape {shape}; give one "
            "value for each radius"
        )
    return np.broadcast_to(found.astype(np.float64), shape).copy()


def _on_arrays(function: Callable[[Any], Any]) -> Callable[[np.ndarray], np.ndarray]:
    def call(r: np.ndarray) -> np.ndarray:
        return _shaped(function(r), r.shape)

    return call


def _on_tensors(function: Callable[[Any], Any]) -> Callable[[np.ndarray], np.ndarray]:
    def call(r: np.ndarray) -> np.ndarray:
        import torch

        found = torch.as_tensor(function(torch.from_numpy(r.copy())))
        return _shaped(found.detach().cpu().numpy(), r.shape)

    return call


def _one_by_one(function: Callable[[Any], Any]) -> Callable[[np.ndarray], np.ndarray]:
    return np.vectorize(lambda r: float(_shaped(function(float(r)), ())), otypes=[float])


@dataclass(frozen=True)
class _Both:
    """A function that takes arrays and tensors of any shape, from one that takes rows of some."""

    function: Callable[[Any], Any]
    in_rows: Callable[[np.ndarray], np.ndarray]

    def on_arrays(self, r: np.ndarray) -> np.ndarray:
        return self.in_rows(r.ravel()).reshape(r.shape)

    def __call__(self, r: Any) -> Any:
        if not hasattr(r, "detach"):
            return self.on_arrays(np.asarray(r, dtype=np.float64))
        if self._takes_tensors and (found := self._tensor(r)) is not None:
            return found
        return self._differenced(r)

    def _tensor(self, r: torch.Tensor) -> torch.Tensor | None:
        """What the function itself makes of a tensor; None where that is no tensor of values."""
        import torch

        try:
            found = self.function(r.reshape(-1))
        except Exception:  # written for arrays or for single numbers
            return None
        if not isinstance(found, torch.Tensor) or found.shape != (r.numel(),):
            return None
        return found.to(r).reshape(r.shape) if found.requires_grad == r.requires_grad else None

    @cached_property
    def _takes_tensors(self) -> bool:
        """Whether it gives the values of arrays for tensors."""
        import torch

        found = self._tensor(torch.from_numpy(_PROBE.copy()))
        return found is None or bool(_same(found.numpy(), self.in_rows(_PROBE)).all())

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
