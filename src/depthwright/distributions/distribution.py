"""The contract of every law of the inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from depthwright.distributions.domain import MOST_INPUTS, Domain
from depthwright.refusal import need_positive, need_whole

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Distribution(ABC):
    """A law on R^input_dim, supported in its `domain`."""

    input_dim: int

    def __post_init__(self) -> None:
        need_whole("input_dim", self.input_dim, 1, MOST_INPUTS)

    @property
    @abstractmethod
    def domain(self) -> Domain:
        """The support."""

    @property
    @abstractmethod
    def density_bound(self) -> float:
        """VYS22's β: the largest value of the density; inf where it is unbounded."""

    @abstractmethod
    def sample(
        self, count: int, generator: torch.Generator, dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        """Independent points (count, input_dim), on the generator's device; default float64."""


@dataclass(frozen=True)
class Centred(Distribution):
    """A law around the origin, which `radius` scales."""

    radius: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        need_positive("radius", self.radius)
