"""The contract of every ReLU network, constructed or trained: both are measured in the same way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from depthwright.networks.architecture import Architecture
from depthwright.networks.arithmetic import SIGNIFICANT_BITS, Arithmetic
from depthwright.networks.inputs import Inputs
from depthwright.networks.points import as_points
from depthwright.refusal import Refusal

if TYPE_CHECKING:
    import torch


class Network(ABC):
    """A function R^input_dim → R^output_dim computed by affine maps and σ(z) = max(0, z)."""

    arithmetic: Arithmetic = "float64"
    """The arithmetic for which its claim holds, in which it is measured."""
    inputs: Inputs | None = None
    """The inputs it was built for, where it refuses others."""

    @property
    def differentiable(self) -> bool:
        """Whether `forward` is close enough to the network for its gradient to be useful."""
        return True

    @property
    @abstractmethod
    def architecture(self) -> Architecture:
        """Counted on what was built, nonzeros included."""

    suffix: ClassVar[str] = ".safetensors"
    """Suffix of the files that `save` writes."""

    @property
    def weight_bits(self) -> int:
        """Significant bits of the longest weight."""
        return SIGNIFICANT_BITS[self.arithmetic]

    @abstractmethod
    def evaluate(self, x: torch.Tensor, arithmetic: Arithmetic | None = None) -> torch.Tensor:
        """Values at `x` (batch, input_dim) → (batch, output_dim), no gradient.

        `x` is a torch tensor, a numpy array or nested lists; values are a torch tensor.

        `arithmetic` says how every intermediate number is held ("exact": no rounding before
        the end, where the result is rounded once to float64); None means the network's own.
        """

    def __call__(self, x: Any) -> Any:
        """Values in the network's own arithmetic at a batch (batch, input_dim), or at one point.

        Torch tensors give torch tensors; numpy arrays and lists give numpy arrays.
        """
        points = as_points(x)
        values = self.evaluate(points[None])[0] if points.ndim == 1 else self.evaluate(points)
        return values if points is x else values.cpu().numpy()

    def __repr__(self) -> str:
        shape, name = self.architecture, type(self).__name__
        known = f"\n  inputs: {self.inputs}" if self.inputs is not None else ""
        return (
            f"{name}: {shape.input_dim} → {shape.output_dim}, width {shape.width:,}, depth "
            f"{shape.depth:,}\n  {shape.parameters:,} parameters ({shape.nonzeros:,} not 0), "
            f"weights of at most {self.weight_bits:,} bits, arithmetic {self.arithmetic}{known}"
        )

    @abstractmethod
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same values by differentiable torch operations, in the dtype of `x`."""

    @abstractmethod
    def to_torch(self, dtype: torch.dtype | None = None) -> torch.nn.Sequential:
        """A plain `torch.nn.Sequential` of `Linear` and `ReLU` (default float64).

        Refused by trained networks that have no such form (layer norms).
        """

    @abstractmethod
    def to_exact(self) -> Network:
        """The plain form as data with dyadic entries: every float is one. Saved as .jsonl.gz."""

    def unfit(self, dtype: torch.dtype) -> str | None:
        """Why floats of this dtype cannot hold the network; None if they can."""
        return None

    def save(self, path: str | Path) -> None:
        """Write a file that `depthwright.networks.load` reads back to the same values.

        The suffix is the network's own, or .onnx where floats hold its values.
        """
        if Path(path).suffix == ".onnx":
            self._save_onnx(Path(path))
        else:
            self._save(path)

    def _save_onnx(self, path: Path) -> None:
        """In the dtype of the network's own arithmetic, whose rounding the claim includes."""
        import torch

        from depthwright.networks import onnx_writer

        dtype = torch.float32 if self.arithmetic == "float32" else torch.float64
        onnx_writer.check(path, self.architecture.parameters * dtype.itemsize)
        if complaint := self.unfit(dtype):
            raise Refusal(
                f"{path.name} holds floats, in which this network cannot be trusted: {complaint}; "
                "save it in the open exact format, .jsonl.gz"
            )
        onnx_writer.save(self.to_torch(dtype), path)

    @abstractmethod
    def _save(self, path: str | Path) -> None:
        """Write the network's own format."""

    def kink_points(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Up to `count` inputs (·, input_dim) at which this network has kinks.

        The attack on the sup error starts there as well as from random points. None by default.
        """
        import torch

        return torch.empty(0, self.architecture.input_dim, dtype=torch.float64)
