"""Rivals of one shape and style: trained together, validated one by one, each one's best kept."""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Sequence

import torch
from torch import nn

from depthwright.networks.styles import PLAIN
from depthwright.networks.torch_network import LayerNetwork, buffer_bytes, full_precision
from depthwright.training.ensemble import Ensemble, EnsembleAdam
from depthwright.training.result import Member

EXPLOSION = 1e3
"""A member has diverged when its error is not finite, or this many times the larger of its first
error and the target's root mean square."""


def schedule(step: int, steps: int, warmup: float) -> float:
    """Linear from 0 over the first `warmup` share of the steps, then half a cosine down to 0."""
    rising = warmup * steps
    if step + 1 <= rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


class Family(nn.Module):
    """One ensemble: every seed at every learning rate, the best snapshot of each member."""

    best_rmse: torch.Tensor
    rates: torch.Tensor

    def __init__(
        self,
        widths: Sequence[int],
        seeds: Sequence[int],
        learning_rates: Sequence[float],
        dtype: torch.dtype,
        style: str = PLAIN,
    ) -> None:
        """`seeds` are those of the initialisations, each used at every learning rate."""
        super().__init__()
        self.runs = [(k, rate) for k in range(len(seeds)) for rate in learning_rates]
        self.ensemble = Ensemble(widths, [seeds[k] for k, _ in self.runs], dtype, style)
        self.best = copy.deepcopy(self.ensemble).requires_grad_(False)
        self.register_buffer("best_rmse", torch.full((len(self.runs),), math.inf).double())
        self.register_buffer("rates", torch.tensor([r for _, r in self.runs], dtype=dtype))
        self.limit: list[float] = []
        self.current = [math.nan] * len(self.runs)
        """Errors at the last validation."""
        self.diverged_at: list[int | None] = [None] * len(self.runs)
        self.seconds = 0.0

    @property
    def widths(self) -> tuple[int, ...]:
        """The shape."""
        return self.ensemble.widths

    @property
    def style(self) -> str:
        """How its maps are joined."""
        return self.ensemble.style

    @property
    def alive(self) -> list[int]:
        """Members that have not been dropped."""
        return [k for k, step in enumerate(self.diverged_at) if step is None]

    def optimiser(self) -> EnsembleAdam:
        """Adam on the device where the weights are now."""
        return EnsembleAdam(self.ensemble.parameters(), self.rates)

    def train_on(
        self, x: torch.Tensor, y: torch.Tensor, optimiser: EnsembleAdam, factors: Sequence[float]
    ) -> None:
        """One step per batch of `x` (steps, batch, input_dim), no wait for the device inside."""
        start = _now(x.device)
        for batch, values, factor in zip(x, y, factors, strict=True):
            optimiser.zero_grad()
            loss = (self.ensemble(batch) - values).square().sum() / values.numel()
            loss.backward()
            optimiser.step(factor=factor)
        self.seconds += _now(x.device) - start

    @torch.no_grad()
    def errors(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Root mean square of each member's error, over points and outputs, (members,)."""
        row = x.dtype.itemsize * max(self.widths) * self.ensemble.members
        rows = max(1, buffer_bytes(x.device) // row)
        total = torch.zeros_like(self.best_rmse)
        with full_precision():
            for xs, ys in zip(x.split(rows), y.split(rows), strict=True):
                total += (self.ensemble(xs) - ys).double().square().sum(dim=(1, 2))
        return (total / y.numel()).sqrt()

    @torch.no_grad()
    def validate(
        self, x: torch.Tensor, y: torch.Tensor, step: int, optimiser: EnsembleAdam
    ) -> None:
        """Measure every member, keep the snapshots that are better, drop who has diverged."""
        start = _now(x.device)
        errors = self.errors(x, y)
        alive = optimiser.param_groups[0]["alive"]
        better = (errors < self.best_rmse) & alive
        self.best_rmse.copy_(torch.where(better, errors, self.best_rmse))
        mask = better.view(-1, 1, 1)
        for kept, now in zip(self.best.parameters(), self.ensemble.parameters(), strict=True):
            kept.copy_(torch.where(mask, now, kept))
        self.current = errors.tolist()
        if not self.limit:
            size = float(y.double().square().mean().sqrt())
            self.limit = [EXPLOSION * max(error, size) for error in self.current]
        lost = [k for k in self.alive if not self.current[k] <= self.limit[k]]
        if lost:
            mark = torch.zeros(len(self.runs), dtype=torch.bool)
            mark[lost] = True
            optimiser.drop(mark.to(alive.device))
        for k in lost:
            self.diverged_at[k] = step
            seed, rate = self.runs[k]
            warnings.warn(
                f"the {self.style} rival of widths {self.widths} with seed {seed} and learning "
                f"rate {rate:g} diverged by step {step} and is dropped; the others go on",
                stacklevel=2,
            )
        self.seconds += _now(x.device) - start

    def now(self) -> float:
        """The lowest error among the living at the last validation; inf where none lives."""
        return min((self.current[k] for k in self.alive), default=math.inf)

    def winner(self) -> tuple[float, int]:
        """(lowest error of any snapshot of the living, whose it is)."""
        kept = self.best_rmse.tolist()
        return min(((kept[k], k) for k in self.alive), default=(math.inf, -1))

    def network(self, member: int) -> LayerNetwork:
        """The member's best snapshot."""
        return self.best.member(member)

    def records(self) -> list[Member]:
        """What became of every member."""
        return [
            Member(self.widths, self.style, seed, rate, kept, current, dropped)
            for (seed, rate), kept, current, dropped in zip(
                self.runs, self.best_rmse.tolist(), self.current, self.diverged_at, strict=True
            )
        ]


def _now(device: torch.device) -> float:
    """Seconds, after all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
