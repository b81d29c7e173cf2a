"""The contract of every function to approximate: it declares its truth."""

from __future__ import annotations

import hashlib
import json
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depthwright.distributions.domain import Domain
from depthwright.networks.points import as_points

if TYPE_CHECKING:
    import torch

KEY, FILE = "key", "file"
"""In the metadata of a class's field: its name in configs, where that is another (None: configs do
not set it); and that it is the path of a file, whose content makes a run what it is."""


class Target(ABC):
    """A function on a domain, with the facts that theorems need.

    Subclasses are frozen dataclasses; a config file may set their fields.
    """

    input_dim: int
    output_dim: int = 1

    def __init_subclass__(cls, **keywords: Any) -> None:
        """What has no __repr__ of its own inherits one; otherwise a dataclass makes it another."""
        super().__init_subclass__(**keywords)
        cls.__repr__ = cls.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        named = [f.name for f in _fields(self) if f.init and getattr(self, f.name) is not None]
        told = ", ".join(f"{name}={short(getattr(self, name))}" for name in named)
        return f"{type(self).__name__}({told})"

    @property
    @abstractmethod
    def domain(self) -> Domain:
        """The domain of the approximation."""

    @property
    @abstractmethod
    def lipschitz(self) -> float:
        """A Lipschitz constant on the domain, in the Euclidean norm."""

    @property
    def norms(self) -> Mapping[str, float]:
        """Norms known in closed form, by name; tested against samples."""
        return {}

    @property
    def digest(self) -> str:
        """SHA-256 of what the function is, in a form that others can make.

        That is the JSON, as Python writes it with sorted keys, of [class, {field: value, …}]; of a
        network, of ["ReLUNetwork", [[W_1, b_1], …], lower, upper], the layers as they were read.
        """
        return hashlib.sha256(json.dumps(self._facts(), sort_keys=True).encode()).hexdigest()

    def _facts(self) -> list[Any]:
        named = [field.name for field in _fields(self) if field.init]
        return [type(self).__name__, {name: _plain(getattr(self, name)) for name in named}]

    def described(self) -> dict[str, Any]:
        """For files about it: its class, its digest, and that of the file it was read from."""
        found: dict[str, Any] = {"class": type(self).__name__, "digest": self.digest}
        for field in _fields(self):
            given = getattr(self, field.name)
            if field.metadata.get(FILE) and isinstance(given, str | Path) and Path(given).is_file():
                found["file"] = hashlib.sha256(Path(given).read_bytes()).hexdigest()
        return found

    @abstractmethod
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Values at `x` (batch, input_dim) → (batch, output_dim), differentiable by torch.

        `x` is a torch tensor, a numpy array or nested lists; values are a torch tensor.
        """

    def truth(self, x: torch.Tensor) -> torch.Tensor:
        """The values that claims refer to, float64, as accurate as this target can compute them.

        By default what calling it gives; a target known exactly rounds once.
        """
        import torch

        return self(as_points(x, self.input_dim).to(torch.float64))


def _fields(target: Target) -> tuple[Field[Any], ...]:
    return fields(target) if is_dataclass(target) else ()


def short(value: Any) -> str:
    """A value in a few words: long arrays by their ends, and by its type what has many lines."""
    if isinstance(value, np.ndarray):
        constant = value.size and (value == value.flat[0]).all()
        return f"{value.flat[0]:g}" if constant else reprlib.repr(value.tolist())
    if isinstance(value, str | int | float | list | tuple | Path | Target | None):
        return repr(value) if isinstance(value, Target) else reprlib.repr(value)
    return f"a {type(value).__name__}"


def _plain(value: Any) -> Any:
    """As JSON holds it; of anything else, such as a function, the type alone."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if isinstance(value, str | int | float | None) else type(value).__name__
