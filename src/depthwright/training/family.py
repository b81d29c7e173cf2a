"""Rivals of one shape and style: trained together, validated one by one, each one's best kept."""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any

import torch
from torch import nn

from depthwright.networks.styles import PLAIN
from depthwright.networks.torch_network import LayerNetwork, Layers
from depthwright.training.config import HE, TrainingConfig
from depthwright.training.ensemble import Ensemble, optimiser
from depthwright.training.losses import L2
from depthwright.training.result import Member
from depthwright.training.search import losers
from depthwright.training.step.executor import Executor, executor

DEAD = 1e-6
"""A network is dead when the spread of its values is below this share of the target's root mean
square: a constant up to rounding."""

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
    """The settings in which members of a family differ."""

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
        if not (noise == 0 and seed)  # unperturbed, all seeds start from the same weights
        for loss in config.losses
        for rate in config.learning_rates
    ]


class Family(nn.Module):
    """One ensemble: all trials of one shape and style, the best snapshot of each."""

    best_rmse: torch.Tensor
    best_sup: torch.Tensor

    def __init__(
        self,
        widths: Sequence[int],
        seeds: Sequence[int],
        runs: Sequence[Trial],
        dtype: torch.dtype,
        style: str = PLAIN,
        layers: Layers | None = None,
        config: TrainingConfig | None = None,
    ) -> None:
        """`seeds` are those of the initialisations; `layers`, if given, where all start."""
        super().__init__()
        self.runs = list(runs)
        config = config or TrainingConfig()
        self.criterion = config.criterion
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
        rates = torch.tensor([run.learning_rate for run in runs], dtype=dtype)
        self.adam = optimiser(config, self.ensemble.parameters(), rates)
        self.limit: list[float] = []
        """Errors above which a member has diverged; known after the first validation."""
        self.first = [math.nan] * len(self.runs)
        self.current = [math.nan] * len(self.runs)
        """Root mean squared errors before the first step, and at the last validation."""
        self.dead = [False] * len(self.runs)
        self.diverged_at: list[int | None] = [None] * len(self.runs)
        self.stopped_at: list[int | None] = [None] * len(self.runs)
        """The rung of the search at which a member was dropped."""
        self.seconds = 0.0
        self._executor: Executor | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        return self.ensemble.widths

    @property
    def style(self) -> str:
        return self.ensemble.style

    @property
    def dtype(self) -> torch.dtype:
        return self.ensemble.dtype

    @property
    def alive(self) -> list[int]:
        ends = zip(self.diverged_at, self.stopped_at, strict=True)
        return [k for k, end in enumerate(ends) if end == (None, None)]

    @property
    def lowest(self) -> torch.Tensor:
        """The best errors of the members, by the criterion of selection."""
        return self.best_rmse if self.criterion == "l2" else self.best_sup

    def executor(self, device: torch.device) -> Executor:
        """Takes the steps; made once and compiled before any time is measured."""
        if self._executor is None:
            losses = [run.loss for run in self.runs]
            self._executor = executor(self.ensemble, self.adam, losses, device)
        return self._executor

    def train_on(self, x: torch.Tensor, y: torch.Tensor, factors: Sequence[float]) -> None:
        """One step per batch of `x` (steps, batch, input_dim), without waiting for the device."""
        steps = self.executor(x.device)
        steps.prepare(x.shape[1])
        start = _now(x.device)
        steps.train(x.to(self.dtype), y.to(self.dtype), factors)
        self.seconds += _now(x.device) - start

    @torch.no_grad()
    def validate(self, x: torch.Tensor, y: torch.Tensor, step: int) -> None:
        """Measure every member, keep better snapshots, drop members that have diverged."""
        measured = self.executor(x.device)
        start = _now(x.device)
        rmse, sup, value_range = (found.to(x.device) for found in measured.errors(x, y))
        self._keep_better(rmse, sup)
        size = float(y.double().square().mean().sqrt())
        errors, ranges = torch.stack([rmse, value_range]).tolist()  # a GPU is asked once
        for k in self.alive or range(len(self.runs)):
            self.current[k] = errors[k]
            self.dead[k] = ranges[k] <= DEAD * size
        if not self.limit:
            self.first = list(self.current)
            self.limit = [EXPLOSION * max(error, size) for error in self.current]
        diverged = [k for k in self.alive if not self.current[k] <= self.limit[k]]
        self._drop(diverged, self.diverged_at, step)
        for k in diverged:
            run = self.runs[k]
            warnings.warn(
                f"the {self.style} rival of widths {self.widths} with seed {run.seed} and learning "
                f"rate {run.learning_rate:g} diverged by step {step} and is dropped; the others "
                "go on",
                stacklevel=2,
            )
        self.seconds += _now(x.device) - start

    def _keep_better(self, rmse: torch.Tensor, sup: torch.Tensor) -> None:
        """Copy the weights and errors of members that are better than before."""
        better = ((rmse if self.criterion == "l2" else sup) < self.lowest) & self.adam.alive
        for kept, now in ((self.best_rmse, rmse), (self.best_sup, sup)):
            kept.copy_(torch.where(better, now, kept))
        mask = better.view(-1, 1, 1)
        for kept, now in zip(self.best.parameters(), self.ensemble.parameters(), strict=True):
            kept.copy_(torch.where(mask, now, kept))

    def halve(self, step: int, halving: int) -> None:
        """One rung of successive halving: only the best member in `halving` goes on."""
        self._drop(losers(self.lowest.tolist(), self.alive, halving), self.stopped_at, step)

    def _drop(self, members: Sequence[int], ends: list[int | None], step: int) -> None:
        if not members:
            return
        mark = torch.zeros(len(self.runs), dtype=torch.bool)
        mark[list(members)] = True
        self.adam.drop(mark.to(self.adam.alive.device))
        for k in members:
            ends[k] = step

    def now(self) -> float:
        """The lowest error of living members at the last validation; inf if there are none."""
        return min((self.current[k] for k in self.alive), default=math.inf)

    def winner(self) -> tuple[float, int]:
        """(lowest error of any snapshot by the criterion, its member), without diverged members."""
        kept = self.lowest.tolist()
        fit = [k for k, end in enumerate(self.diverged_at) if end is None]
        return min(((kept[k], k) for k in fit), default=(math.inf, -1))

    def network(self, member: int) -> LayerNetwork:
        """The member's best snapshot."""
        return self.best.member(member)

    def records(self) -> list[Member]:
        return [self._record(k, run) for k, run in enumerate(self.runs)]

    def _record(self, k: int, run: Trial) -> Member:
        ends = (self.diverged_at[k], self.stopped_at[k], self.adam.steps)
        return Member(
            widths=self.widths,
            style=self.style,
            seed=run.seed,
            learning_rate=run.learning_rate,
            best_rmse=float(self.best_rmse[k]),
            final_rmse=self.current[k],
            diverged_at=self.diverged_at[k],
            loss=run.loss,
            initialisation=run.initialisation,
            noise=run.noise,
            first_rmse=self.first[k],
            best_sup=float(self.best_sup[k]),
            steps=next(end for end in ends if end is not None),
            dead=self.dead[k],
        )

    def state(self) -> dict[str, Any]:
        """The checkpoint's part beside the tensors; plain lists and numbers."""
        found = {name: getattr(self, name) for name in _STATE}
        return found | {"seconds": self.seconds, "steps": self.adam.steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state`; ValueError where it is not one of this family."""
        for name, kinds in _STATE.items():
            values = state[name]
            if [type(value) in kinds for value in values] != [True] * len(self.runs):
                raise ValueError(f"{name} is no list of {len(self.runs)} as it should be")
            setattr(self, name, values)
        self.seconds, self.adam.steps = float(state["seconds"]), int(state["steps"])


_STATE: dict[str, tuple[type, ...]] = {
    "limit": (float,),
    "first": (float,),
    "current": (float,),
    "dead": (bool,),
    "diverged_at": (int, NoneType),
    "stopped_at": (int, NoneType),
}
"""The state of each member in a checkpoint, and its types."""


def _now(device: torch.device) -> float:
    """Time in seconds, after the device has finished all work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
