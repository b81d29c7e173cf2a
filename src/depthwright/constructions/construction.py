"""The contract of every construction: sizes without building, a network with its claim."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import wraps
from typing import Any

from depthwright.constructions.built import Built
from depthwright.constructions.claim import Claim
from depthwright.networks.architecture import Architecture
from depthwright.networks.inputs import Inputs
from depthwright.progress import Bar
from depthwright.refusal import Refusal
from depthwright.targets.target import Target, short

__all__ = ["Built", "Claim", "Construction"]


@dataclass(frozen=True, repr=False)
class Construction(ABC):
    """A recipe that builds a network from a target, after one theorem.

    Subclasses are frozen dataclasses whose fields are the theorem's parameters; creating one
    checks the hypotheses and raises `Refusal` naming the one that fails.
    """

    target: Target

    def __init_subclass__(cls, **keywords: Any) -> None:
        """What any of them builds says what it is a network for, and after which construction."""
        super().__init_subclass__(**keywords)
        cls.__repr__ = cls.__repr__  # type: ignore[method-assign] # a dataclass leaves it alone
        if "build" in vars(cls):
            cls.build = _signed(cls.build)  # type: ignore[method-assign, assignment]
        if "architecture" in vars(cls):
            cls.architecture = _timed(cls.architecture)  # type: ignore[method-assign, assignment]

    def __repr__(self) -> str:
        others = [f for f in fields(self) if f.init and f.name != "target"]
        given = {f.name: getattr(self, f.name) for f in others}
        told = [f"{f.name}={short(given[f.name])}" for f in others if given[f.name] != f.default]
        return f"{type(self).__name__}({', '.join([repr(self.target), *told])})"

    def need(self, **own: float) -> None:
        """Refusal where one of its fields, if it has it, differs from that of the run.

        A run has one ε and one δ: those of its claims, rows, exceedances and floors.
        """
        for field, value in own.items():
            given = getattr(self, field, value)
            if given != value:
                raise Refusal(
                    f"construction.{field}={given:g} is not that of the run ({value:g}); "
                    f"say {field}={given:g} instead, which the construction follows"
                )

    @abstractmethod
    def architecture(self) -> Architecture:
        """The size, from formulas; no network is built."""

    @property
    def sizing_seconds(self) -> float:
        """What its sizes took so far; what was found then is not looked for again by `build`."""
        return float(vars(self).get(_SIZING, 0.0))

    @property
    def covered(self) -> Inputs | None:
        """The inputs for which the claim holds; None: all of the target's domain.

        Where it is all real numbers of a box, a bad set is excluded: no network reads their bits.
        """
        return None

    @property
    def density_bound(self) -> float | None:
        """Bound on the density of the law behind a bad set's probability; None: it is uniform."""
        return None

    @abstractmethod
    def build(self) -> Built:
        """The network and its claim."""


def _signed(build: Callable[[Any], Built]) -> Callable[[Any], Built]:
    @wraps(build)
    def signed(self: Construction) -> Built:
        name = type(self).__name__
        with Bar(f"building {name}"):
            built = build(self)
        return replace(built, target=self.target, construction=name)

    return signed


_SIZING = "_sizing_seconds"


def _timed(size: Callable[[Any], Architecture]) -> Callable[[Any], Architecture]:
    @wraps(size)
    def timed(self: Construction) -> Architecture:
        start = time.perf_counter()
        try:
            with Bar(f"sizing {type(self).__name__}"):
                return size(self)
        finally:  # no field: it tells no construction from another
            vars(self)[_SIZING] = self.sizing_seconds + time.perf_counter() - start

    return timed
