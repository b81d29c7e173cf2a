"""The contract of every function to approximate: it declares its truth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from depthwright.distributions.domain import Domain
from depthwright.networks.points import as_points

if TYPE_CHECKING:
    import torch


class Target(ABC):
    """A function on a domain, with the facts that theorems need.

    Subclasses are frozen dataclasses; a config file may set their fields.
    """

    input_dim: int
    output_dim: int = 1

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
