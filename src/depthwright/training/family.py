"""Rivals of one shape and style: trained together, validated one by one, each one's best kept."""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from depthwright.networks.styles import PLAIN
from depthwright.networks.torch_network import (
    LayerNetwork,
    Layers,
    buffer_bytes,
    full_precision,
)
from depthwright.training.compiled import Compiled, compile_for, takes
from depthwright.training.config import HE, TrainingConfig
from depthwright.training.ensemble import Ensemble, EnsembleAdam
from depthwright.training.losses import L2
from depthwright.training.recorded import RecordedStep
from depthwright.training.result import Member
from depthwright.training.search import losers

DEAD = 1e-6
"""A network is dead when its values spread no further than this share of the target's root mean
square: a constant, but for rounding."""

EXPLOSION = 1e3
"""A member has diverged when its error is not finite, or this many times the larger of its first
error and the target's root mean square."""


def schedule(step: int, steps: int, warmup: float) -> float:
    """Linear from 0 over the first `warmup` share of the steps, then half a cosine down to 0."""
    rising = warmup * steps
    if step + 1 <= rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


@dataclass(frozen=True)
class Trial:
    """What tells a member of a family from the others."""

    seed: int
    """Index of the initialisation."""
    learning_rate: float
    loss: str = L2
    initialisation: str = HE
    noise: float | None = None


CONSTRUCTED = "constructed"
"""Initialisation of members that start from given weights."""


def trials(config: TrainingConfig, noises: Sequence[float] = ()) -> list[Trial]:
    """Every seed with every kind of start (`noises`: from given weights), loss and rate."""
    starts: list[tuple[str, float | None]] = [(name, None) for name in config.initialisations]
    if noises:
        starts = [(CONSTRUCTED, noise) for noise in noises]
    return [
        Trial(seed, rate, loss, name, noise)
        for seed in range(config.seeds)
        for name, noise in starts
        if not (noise == 0 and seed)  # unperturbed, all seeds start alike
        for loss in config.losses
        for rate in config.learning_rates
    ]


class Family(nn.Module):
    """One ensemble: all trials of one shape and style, the best snapshot of each."""

    best_rmse: torch.Tensor
    best_sup: torch.Tensor
    rates: torch.Tensor

    def __init__(
        self,
        widths: Sequence[int],
        seeds: Sequence[int],
        runs: Sequence[Trial],
        dtype: torch.dtype,
        style: str = PLAIN,
        layers: Layers | None = None,
        criterion: str = "l2",
    ) -> None:
        """`seeds` are those of the initialisations; `layers`, if given, where all start."""
        super().__init__()
        self.runs = list(runs)
        self.number = dtype
        self.criterion = criterion
        self.ensemble = Ensemble(
            widths,
            [seeds[run.seed] for run in runs],
            dtype,
            style,
            [run.initialisation for run in runs],
            layers,
            [run.noise or 0.0 for run in runs],
        )
        self.best = copy.deepcopy(self.ensemble).requires_grad_(False)
        for name in ("best_rmse", "best_sup"):
            self.register_buffer(name, torch.full((len(self.runs),), math.inf).double())
        self.register_buffer("rates", torch.tensor([r.learning_rate for r in runs], dtype=dtype))
        self.limit: list[float] = []
        self.first = [math.nan] * len(self.runs)
        self.current = [math.nan] * len(self.runs)
        """Root mean squared errors before the first step, and at the last validation."""
        self.dead = [False] * len(self.runs)
        self.diverged_at: list[int | None] = [None] * len(self.runs)
        self.stopped_at: list[int | None] = [None] * len(self.runs)
        """The rung of the search at which a member was dropped."""
        self.steps_done = 0
        self.seconds = 0.0
        self._compiled: Compiled | None = None
        self._recorded: RecordedStep | None = None

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
        """Members that are still trained."""
        ends = zip(self.diverged_at, self.stopped_at, strict=True)
        return [k for k, end in enumerate(ends) if end == (None, None)]

    def optimiser(self) -> EnsembleAdam:
        """Adam on the device where the weights are now."""
        return EnsembleAdam(self.ensemble.parameters(), self.rates)

    def compiled(self, device: torch.device) -> Compiled | None:
        """The compiled form, where there is one, ready to run."""
        if self._compiled is None and takes(self.ensemble, device):
            compile_for(self.number)
            self._compiled = Compiled(self.ensemble)
        return self._compiled

    def train_on(
        self, x: torch.Tensor, y: torch.Tensor, optimiser: EnsembleAdam, factors: Sequence[float]
    ) -> None:
        """One step per batch of `x` (steps, batch, input_dim), no wait for the device inside."""
        compiled = self.compiled(x.device)
        start = _now(x.device)
        x, y = x.to(self.number), y.to(self.number)
        losses = [run.loss for run in self.runs]
        if compiled is not None:
            compiled.train(x, y, optimiser, factors, losses)
        else:
            if self._recorded is None:
                self._recorded = RecordedStep(self.ensemble, optimiser, losses)
            self._recorded.train(x, y, factors)
        self.steps_done += len(x)
        self.seconds += _now(x.device) - start

    @torch.no_grad()
    def errors(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Of each member, over points and outputs: root mean square and largest absolute value of
        its error, and the spread of its values (largest less smallest), (members,) each."""
        compiled = self.compiled(x.device)
        if compiled is not None:
            return compiled.errors(x, y)
        row = x.dtype.itemsize * max(self.widths) * self.ensemble.members
        rows = max(1, buffer_bytes(x.device) // row)
        total, top = torch.zeros_like(self.best_rmse), torch.zeros_like(self.best_rmse)
        highest, lowest = top - math.inf, top + math.inf
        with full_precision():
            for xs, ys in zip(x.split(rows), y.split(rows), strict=True):
                values = self.ensemble(xs.to(self.number)).double()
                gap = values - ys
                total += gap.square().sum(dim=(1, 2))
                top = torch.maximum(top, gap.abs().amax(dim=(1, 2)))
                highest = torch.maximum(highest, values.amax(dim=(1, 2)))
                lowest = torch.minimum(lowest, values.amin(dim=(1, 2)))
        return (total / y.numel()).sqrt(), top, highest - lowest

    @torch.no_grad()
    def validate(
        self, x: torch.Tensor, y: torch.Tensor, step: int, optimiser: EnsembleAdam
    ) -> None:
        """Measure every member, keep the snapshots that are better, drop who has diverged."""
        self.compiled(x.device)
        start = _now(x.device)
        errors, sups, spread = self.errors(x, y)
        errors, sups = errors.to(self.best_rmse.device), sups.to(self.best_rmse.device)
        alive = optimiser.param_groups[0]["alive"]
        found, best = (errors, self.best_rmse) if self.criterion == "l2" else (sups, self.best_sup)
        better = (found < best) & alive
        for kept, now in ((self.best_rmse, errors), (self.best_sup, sups)):
            kept.copy_(torch.where(better, now, kept))
        mask = better.view(-1, 1, 1)
        for kept, now in zip(self.best.parameters(), self.ensemble.parameters(), strict=True):
            kept.copy_(torch.where(mask, now, kept))
        size = float(y.double().square().mean().sqrt())
        for k in self.alive or range(len(self.runs)):
            self.current[k] = float(errors[k])
            self.dead[k] = float(spread[k]) <= DEAD * size
        if not self.limit:
            self.first = list(self.current)
            self.limit = [EXPLOSION * max(error, size) for error in self.current]
        lost = [k for k in self.alive if not self.current[k] <= self.limit[k]]
        self._drop(lost, self.diverged_at, step, optimiser)
        for k in lost:
            run = self.runs[k]
            warnings.warn(
                f"the {self.style} rival of widths {self.widths} with seed {run.seed} and learning "
                f"rate {run.learning_rate:g} diverged by step {step} and is dropped; the others "
                "go on",
                stacklevel=2,
            )
        self.seconds += _now(x.device) - start

    def halve(self, step: int, halving: int, optimiser: EnsembleAdam) -> None:
        """A rung of the search: only the best one in `halving` goes on."""
        found = self.best_rmse if self.criterion == "l2" else self.best_sup
        self._drop(losers(found.tolist(), self.alive, halving), self.stopped_at, step, optimiser)

    def _drop(
        self, lost: Sequence[int], ends: list[int | None], step: int, optimiser: EnsembleAdam
    ) -> None:
        if not lost:
            return
        mark = torch.zeros(len(self.runs), dtype=torch.bool)
        mark[list(lost)] = True
        optimiser.drop(mark.to(optimiser.param_groups[0]["alive"].device))
        for k in lost:
            ends[k] = step

    def now(self) -> float:
        """The lowest error among the living at the last validation; inf where none lives."""
        return min((self.current[k] for k in self.alive), default=math.inf)

    def winner(self) -> tuple[float, int]:
        """(lowest error of any snapshot by the criterion, whose it is), the diverged left out."""
        kept = (self.best_rmse if self.criterion == "l2" else self.best_sup).tolist()
        fit = [k for k, end in enumerate(self.diverged_at) if end is None]
        return min(((kept[k], k) for k in fit), default=(math.inf, -1))

    def network(self, member: int) -> LayerNetwork:
        """The member's best snapshot."""
        return self.best.member(member)

    def records(self) -> list[Member]:
        """What became of every member."""
        rmse, sup = self.best_rmse.tolist(), self.best_sup.tolist()
        found = []
        for k, run in enumerate(self.runs):
            end = self.diverged_at[k]
            if end is None:
                end = self.stopped_at[k]
            found.append(
                Member(
                    self.widths,
                    self.style,
                    run.seed,
                    run.learning_rate,
                    rmse[k],
                    self.current[k],
                    self.diverged_at[k],
                    run.loss,
                    run.initialisation,
                    run.noise,
                    self.first[k],
                    sup[k],
                    self.steps_done if end is None else end,
                    self.dead[k],
                )
            )
        return found

    _STATE = (
        "limit", "first", "current", "dead", "diverged_at", "stopped_at", "steps_done", "seconds",
    )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds beside the tensors."""
        return {name: copy.copy(getattr(self, name)) for name in self._STATE}

    def resume(self, state: dict[str, Any]) -> None:
        """Take it back."""
        for name in self._STATE:
            setattr(self, name, copy.copy(state[name]))


def _now(device: torch.device) -> float:
    """Seconds, after all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
