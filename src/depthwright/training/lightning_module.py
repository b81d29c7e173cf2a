"""All rivals of a run in one training: every family and member on the same batches.

One Lightning step is a chunk of many optimiser steps, after which every member is validated; so
Lightning's overhead and the transfer of errors to the host occur once per chunk. Points are drawn
on the device, fresh for every step. The seeds of the points, of each initialisation and of the
validation points are separate streams of the run's one seed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn

from depthwright.distributions.distribution import Distribution
from depthwright.networks.styles import PLAIN, effective
from depthwright.networks.torch_network import Layers
from depthwright.targets.target import Target
from depthwright.training.config import TrainingConfig
from depthwright.training.family import Family, schedule, trials
from depthwright.training.result import Rival, TrainingDiverged
from depthwright.training.search import planned_steps, rungs

OnValidation = Callable[[int, Mapping[str, float]], None]
"""Called with the step and each contender's lowest error there."""

Widths = tuple[int, ...]

Kind = tuple[Widths, str]
"""A family's shape and style."""

_STREAMS = {"points": 0, "validation": 1, "initialisation": 2}


def stream(seed: int, name: str, index: int = 0) -> int:
    """The seed of one of a run's independent streams."""
    return int(np.random.SeedSequence([seed, _STREAMS[name], index]).generate_state(1)[0])


class RivalTraining(pl.LightningModule):
    """Trains all families; `contenders` names the shapes that each may use, in every style.

    `starts` maps contenders to weights from which all their members start instead, perturbed by
    the config's `tuned_noises`, in the dtype of those weights.
    """

    def __init__(
        self,
        contenders: Mapping[str, Sequence[Widths]],
        target: Target,
        distribution: Distribution,
        config: TrainingConfig,
        seed: int = 0,
        starts: Mapping[str, Layers] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.contenders: dict[str, tuple[Kind, ...]] = {
            name: _kinds(shapes, config.styles) for name, shapes in contenders.items()
        }
        self.target = target
        self.distribution = distribution
        self.config = config
        self.seed = seed
        self.on_validated: OnValidation | None = None
        self.number = torch.float32 if config.dtype == "float32" else torch.float64
        """The dtype of points, and of initial weights."""
        self.steps = planned_steps(config, len(trials(config)))
        """Steps of a member that is trained to the end."""
        self.rungs = set(rungs(config, self.steps))
        families = self._new_families(starts or {})
        self.index = {kind: k for k, kind in enumerate(families)}
        self.families = nn.ModuleList(families.values())
        self.identity = (
            f"{target!r} {target.digest} on {distribution!r} seed {seed} {config!r} "
            f"{self.contenders!r} starts {_digest(starts or {})}"
        )
        """Identity of this training: checkpoints of others are refused."""
        self.steps_done = 0
        self.history: dict[str, list[tuple[int, float]]] = {name: [] for name in self.contenders}
        self.generator = torch.Generator().manual_seed(stream(seed, "points"))
        """Generator of the points; replaced by one of the device before the first step."""

    def _new_families(self, starts: Mapping[str, Layers]) -> dict[Kind, Family]:
        """Families of the contenders, and of `starts`, which become contenders as well."""
        config = self.config
        seeds = [stream(self.seed, "initialisation", k) for k in range(config.seeds)]
        runs = trials(config)
        families = {
            (shape, style): Family(shape, seeds, runs, self.number, style, config=config)
            for kinds in self.contenders.values()
            for shape, style in kinds
        }
        for name, layers in starts.items():
            shape = (layers[0][0].shape[1], *(len(bias) for _, bias in layers))
            kind = (shape, name)  # a separate family: no style has this name
            dtype, tuned = layers[0][0].dtype, trials(config, config.tuned_noises)
            self.contenders[name] = (kind,)
            families[kind] = Family(shape, seeds, tuned, dtype, PLAIN, layers, config)
        return families

    def family(self, shape: Widths, style: str = PLAIN) -> Family:
        found = self.families[self.index[shape, style]]
        assert isinstance(found, Family)
        return found

    def _all(self) -> list[Family]:
        return [self.family(*kind) for kind in self.index]

    def train_dataloader(self) -> range:
        """One entry for each remaining chunk: the points are drawn on the device."""
        return range(math.ceil((self.steps - self.steps_done) / self.config.chunk_steps))

    def configure_optimizers(self) -> None:
        """Nothing of Lightning's: each family has its own."""

    def state(self) -> dict[str, Any]:
        """The checkpoint's part beside the tensors; plain lists, texts and numbers."""
        return {
            "steps_done": self.steps_done,
            "history": self.history,
            "families": [family.state() for family in self._all()],
        }

    def restore(self, state: Mapping[str, Any], generator: torch.Generator) -> None:
        """Continue from a `state`, with the generator of the points; raises if it does not fit."""
        for family, saved in zip(self._all(), state["families"], strict=True):
            family.restore(saved)
        self.history = {
            name: [(int(step), float(error)) for step, error in state["history"][name]]
            for name in self.contenders
        }
        self.steps_done, self.generator = int(state["steps_done"]), generator

    def replay(self) -> None:
        """Report the curves so far: the listener has not received what was restored."""
        steps: dict[int, dict[str, float]] = {}
        for name, points in self.history.items():
            for step, error in points:
                steps.setdefault(step, {})[name] = error
        for step, errors in sorted(steps.items()):
            if self.on_validated is not None:
                self.on_validated(step, errors)

    def on_fit_start(self) -> None:
        """Draw the validation points (on the CPU: equal on all devices), seed the generators."""
        generator = torch.Generator().manual_seed(stream(self.seed, "validation"))
        points = self.distribution.sample(self.config.validation_points, generator, self.number)
        self.validation_x = points.to(self.device)
        self.validation_y = self._truth(self.validation_x)
        if self.generator.device.type != self.device.type:
            self.generator = torch.Generator(self.device).manual_seed(stream(self.seed, "points"))

    def _truth(self, x: torch.Tensor) -> dict[torch.dtype, torch.Tensor]:
        """Values at `x`, by the dtype of the families that are compared with them.

        The points are rounded to the family's dtype, the values have the wider of its dtype and
        theirs: a family of float64 is not compared with float32's rounding of the target, and the
        values for one of float32 do not depend on the other families.
        """
        return {
            number: self.target(x.to(number).to(torch.promote_types(number, self.number)))
            for number in {family.dtype for family in self._all()}
        }

    def on_train_start(self) -> None:
        """The errors before the first step."""
        if not self.steps_done:
            self._validate()

    def training_step(self, batch: Any, batch_idx: int) -> None:
        config, first = self.config, self.steps_done
        count = min(config.chunk_steps, self.steps - first)
        with torch.no_grad():
            x = self.distribution.sample(count * config.batch_size, self.generator, self.number)
            truth = self._truth(x)
        x = x.view(count, config.batch_size, -1)
        batches = {number: y.view(count, config.batch_size, -1) for number, y in truth.items()}
        factors = [schedule(k, self.steps, config.warmup) for k in range(first, first + count)]
        for family in self._all():
            if family.alive:
                family.train_on(x, batches[family.dtype], factors)
        self.steps_done += count
        self._validate()
        if self.steps_done in self.rungs:
            for family in self._all():
                family.halve(self.steps_done, config.halving)

    def _validate(self) -> None:
        for family in self._all():
            if family.alive:
                truth = self.validation_y[family.dtype]
                family.validate(self.validation_x, truth, self.steps_done)
        if not any(family.alive for family in self._all()):
            rates = ", ".join(f"{rate:g}" for rate in self.config.learning_rates)
            raise TrainingDiverged(
                f"every rival diverged by step {self.steps_done} (learning rates {rates}); "
                "lower the learning rates"
            )
        now = {name: self._lowest(name) for name in self.contenders}
        now = {name: error for name, error in now.items() if math.isfinite(error)}
        for name, error in now.items():
            self.history[name].append((self.steps_done, error))
        if self.on_validated is not None:
            self.on_validated(self.steps_done, now)

    def _lowest(self, name: str) -> float:
        return min(self.family(*kind).now() for kind in self.contenders[name])

    def rival(self, name: str) -> Rival | None:
        """The contender's best member; None where all were dropped."""
        families = [self.family(*kind) for kind in self.contenders[name]]
        best = min(families, key=lambda family: family.winner()[0])
        error, member = best.winner()
        if not math.isfinite(error):
            return None
        members = tuple(record for family in families for record in family.records())
        return Rival(
            network=best.network(member),
            member=best.records()[member],
            members=members,
            history=tuple((int(step), error) for step, error in self.history[name]),
            train_seconds=sum(family.seconds for family in families),
            network_steps=sum(record.steps for record in members),
        )


def _kinds(shapes: Sequence[Widths], styles: Sequence[str]) -> tuple[Kind, ...]:
    """Every shape in every style; styles that change nothing count as plain."""
    found = ((shape, effective(shape, style)) for shape in shapes for style in styles)
    return tuple(dict.fromkeys(found))


def _digest(starts: Mapping[str, Layers]) -> str:
    """Of the weights from which members start, values and dtypes."""
    found = hashlib.sha256()
    parts = (part for layers in starts.values() for layer in layers for part in layer)
    for array in (part.detach().cpu().numpy() for part in parts):
        found.update(f"{array.dtype} {array.shape} ".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
