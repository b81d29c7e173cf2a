"""The three ways to take a family's steps, and which of them a family gets."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Protocol

import torch

from depthwright.training.ensemble import Ensemble, EnsembleAdam
from depthwright.training.step.batched import Batched, recorded
from depthwright.training.step.compiled import Compiled, compile_for, takes


class Executor(Protocol):
    """Takes the steps of one ensemble by one Adam, and measures its members."""

    def prepare(self, batch: int) -> None:
        """Compile what batches of this size need, so that no measured time contains it."""

    def train(self, x: torch.Tensor, y: torch.Tensor, factors: Sequence[float]) -> None:
        """One step per batch of `x` (steps, batch, input_dim), `y` (steps, batch, output_dim).

        Step k is taken at `factors[k]` times each member's learning rate. Both in the ensemble's
        dtype.
        """

    def errors(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Three tensors (members,) of float64, over `x` (points, input_dim) and all outputs.

        Root mean square and largest absolute value of each member's error, and the range of its
        values, largest less smallest. `y` (points, output_dim) may be of a wider dtype.
        """


def executor(
    ensemble: Ensemble, adam: EnsembleAdam, losses: Sequence[str], device: torch.device
) -> Executor:
    """Compiled on a processor, except for networks that torch is faster for.

    On a GPU by Triton where it is installed, for networks that its kernels take and Adam itself;
    ready to run.
    """
    if takes(ensemble, device):
        compile_for(ensemble.dtype)
        return Compiled(ensemble, adam, losses)
    if device.type != "cuda":
        return Batched(ensemble, adam, losses)
    if type(adam) is EnsembleAdam and find_spec("triton") is not None:
        from depthwright.training.step import triton

        if triton.takes(ensemble):
            return triton.Fused(ensemble, adam, losses, recorded)
    return Batched(ensemble, adam, losses, recorded)
