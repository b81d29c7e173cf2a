"""All rivals of a run in one training: every family and member on the same batches.

One Lightning step is a chunk of many optimiser steps, after which every member is validated; so
Lightning's overhead and the host's look at the numbers are paid once a chunk. Points are drawn
on the device, fresh for every step. The seeds of the points, of each initialisation and of the
validation points are separate streams of the run's one seed.
"""

from __future__ import annotations

import hashlib
import logging
import math
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from torch import nn

from depthwright.distributions.distribution import Distribution
from depthwright.networks.styles import PLAIN, effective
from depthwright.networks.torch_network import Layers
from depthwright.refusal import Refusal
from depthwright.targets.network import ReLUNetwork
from depthwright.targets.target import Target
from depthwright.training.bar import StepsBar
from depthwright.training.checkpoint import SaveChunks, check_moments, resumable, warn_damaged
from depthwright.training.config import TrainerConfig, TrainingConfig
from depthwright.training.ensemble import EnsembleAdam
from depthwright.training.family import Family, schedule, trials
from depthwright.training.memory import keep_freed_memory, return_freed_memory
from depthwright.training.result import Rival, TrainingDiverged, TrainingResult
from depthwright.training.search import planned_steps, rungs

OnValidation = Callable[[int, Mapping[str, float]], None]
"""Called with the step and each contender's lowest error there."""

Widths = tuple[int, ...]

Kind = tuple[Widths, str]
"""Of a family: its shape and style."""

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
        on_validation: OnValidation | None = None,
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
        self.on_validated = on_validation
        self.number = torch.float32 if config.dtype == "float32" else torch.float64
        """The dtype of points, and of weights that are drawn."""
        seeds = [stream(seed, "initialisation", k) for k in range(config.seeds)]
        runs = trials(config)
        self.steps = planned_steps(config, len(runs))
        """Of whoever is trained to the end."""
        self.rungs = set(rungs(config, self.steps))
        kinds = dict.fromkeys(kind for kinds in self.contenders.values() for kind in kinds)
        families = [
            Family(shape, seeds, runs, self.number, style, criterion=config.criterion)
            for shape, style in kinds
        ]
        for name, layers in (starts or {}).items():
            shape = (layers[0][0].shape[1], *(len(bias) for _, bias in layers))
            kind = (shape, name)  # a family of its own: no style is called so
            self.contenders[name], kinds[kind] = (kind,), None
            dtype, tuned = layers[0][0].dtype, trials(config, config.tuned_noises)
            families.append(Family(shape, seeds, tuned, dtype, PLAIN, layers, config.criterion))
        self.index = {kind: k for k, kind in enumerate(kinds)}
        self.families = nn.ModuleList(families)
        self.identity = (
            f"{target!r} on {distribution!r} seed {seed} {config!r} {self.contenders!r} "
            f"weights {_digest(target, starts or {})}"
        )
        """Of this training: a checkpoint of another is none of ours."""
        self.steps_done = 0
        self.history: dict[str, list[tuple[int, float]]] = {name: [] for name in self.contenders}
        self._points_state: torch.Tensor | None = None
        self.started = False
        """Whether all that a checkpoint holds, if there is one, has been taken back."""

    def family(self, shape: Widths, style: str = PLAIN) -> Family:
        """The family of a shape and style."""
        found = self.families[self.index[shape, style]]
        assert isinstance(found, Family)
        return found

    @property
    def chunks(self) -> int:
        """Lightning steps in all."""
        return math.ceil(self.steps / self.config.chunk_steps)

    def train_dataloader(self) -> range:
        """One entry a chunk: the points are drawn on the device."""
        return range(self.chunks)

    def configure_optimizers(self) -> list[EnsembleAdam]:
        """One per family."""
        return [self.family(*kind).optimiser() for kind in self.index]

    def _optimisers(self) -> list[EnsembleAdam]:
        found: Any = self.optimizers(use_pl_optimizer=False)
        return found if isinstance(found, list) else [found]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What Lightning does not know of."""
        checkpoint["training"] = {
            "identity": self.identity,
            "steps_done": self.steps_done,
            "history": {name: list(points) for name, points in self.history.items()},
            "generator": self.generator.get_state(),
            "families": [self.family(*kind).state() for kind in self.index],
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it back; the generator is made later, on the device."""
        found = checkpoint["training"]
        self.steps_done, self.history = found["steps_done"], found["history"]
        self._points_state = found["generator"]
        self._moments, _ = checkpoint["optimizer_states"], checkpoint["loops"]  # both are needed
        for kind, state in zip(self.index, found["families"], strict=True):
            self.family(*kind).resume(state)

    def _retell(self) -> None:
        """The curves so far to whoever watches: it has seen nothing of what was taken back."""
        steps: dict[int, dict[str, float]] = {}
        for name, points in self.history.items():
            for step, error in points:
                steps.setdefault(step, {})[name] = error
        for step, errors in sorted(steps.items()):
            if self.on_validated is not None:
                self.on_validated(step, errors)

    def on_fit_start(self) -> None:
        """Draw the validation points (on the CPU: the same on every device), seed the others."""
        generator = torch.Generator().manual_seed(stream(self.seed, "validation"))
        points = self.distribution.sample(self.config.validation_points, generator, self.number)
        self.validation_x = points.to(self.device)
        self.validation_y = self._truth(self.validation_x)
        self.generator = torch.Generator(self.device).manual_seed(stream(self.seed, "points"))
        if self._points_state is not None:
            self.generator.set_state(self._points_state.cpu())

    def _truth(self, x: torch.Tensor) -> dict[torch.dtype, torch.Tensor]:
        """Values at `x`, by the dtype of the families that are held against them.

        The points are those that such a family sees, the values in the wider of its dtype and
        theirs: a family of float64 is not held against float32's rounding of the target, and what
        one of float32 is held against does not depend on its company.
        """
        return {
            number: self.target(x.to(number).to(torch.promote_types(number, self.number)))
            for number in {self.family(*kind).number for kind in self.index}
        }

    def on_train_start(self) -> None:
        """Where everybody starts from."""
        if self._points_state is None:
            self.started = True
            self._validate()
        else:
            check_moments(self._moments, self._optimisers())
            self.started = True
            self._retell()

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One chunk."""
        config, first = self.config, self.steps_done
        count = min(config.chunk_steps, self.steps - first)
        with torch.no_grad():
            x = self.distribution.sample(count * config.batch_size, self.generator, self.number)
            truth = self._truth(x)
        x = x.view(count, config.batch_size, -1)
        batches = {number: y.view(count, config.batch_size, -1) for number, y in truth.items()}
        factors = [schedule(k, self.steps, config.warmup) for k in range(first, first + count)]
        for kind, optimiser in zip(self.index, self._optimisers(), strict=True):
            family = self.family(*kind)
            if family.alive:
                family.train_on(x, batches[family.number], optimiser, factors)
        self.steps_done += count
        self._validate()
        if self.steps_done in self.rungs:
            for kind, optimiser in zip(self.index, self._optimisers(), strict=True):
                self.family(*kind).halve(self.steps_done, config.halving, optimiser)

    def _validate(self) -> None:
        for kind, optimiser in zip(self.index, self._optimisers(), strict=True):
            family = self.family(*kind)
            if family.alive:
                truth = self.validation_y[family.number]
                family.validate(self.validation_x, truth, self.steps_done, optimiser)
        if not any(self.family(*kind).alive for kind in self.index):
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
        """The contender's best; None where all its members were dropped."""
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
    """Every shape in every style, those that change nothing as plain."""
    found = ((shape, effective(shape, style)) for shape in shapes for style in styles)
    return tuple(dict.fromkeys(found))


def _digest(target: Target, starts: Mapping[str, Layers]) -> str:
    """Of weights that no `repr` shows, values and dtypes: of a network target and the starts."""
    found = hashlib.sha256()
    arrays = [*target.weights, *target.biases] if isinstance(target, ReLUNetwork) else []
    for layers in starts.values():
        arrays += [part.detach().cpu().numpy() for layer in layers for part in layer]
    for array in arrays:
        found.update(f"{array.dtype} {array.shape} ".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's banners and tips, and the warnings it draws upon itself."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Torch's threads set to `count`, and back; 0 leaves them."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _fit(engine: pl.Trainer, module: RivalTraining, resume: Path | None) -> None:
    """Fit; Ctrl-C stays Ctrl-C (Lightning makes an exit of it, and is deaf to the next one)."""
    before = signal.getsignal(signal.SIGINT)  # in the background a shell has it ignored
    try:
        # our own file, which holds a generator's state and optimisers beside the weights
        engine.fit(module, ckpt_path=resume, weights_only=False)
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise  # somebody else's: submitit's, say, who queues a preempted job again
        signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from error


def _accelerator(name: str) -> str:
    if name == "auto":
        return "gpu" if torch.cuda.is_available() else "cpu"
    if name == "gpu" and not torch.cuda.is_available():
        raise Refusal("accelerator='gpu': torch sees no CUDA GPU here; use auto or cpu")
    if name == "mps" and not torch.backends.mps.is_available():
        raise Refusal("accelerator='mps': torch sees no Apple GPU here; use auto or cpu")
    return name


def _check(
    matches: Mapping[str, Sequence[Widths]],
    target: Target,
    distribution: Distribution,
    seed: int,
    starts: bool,
) -> None:
    if not isinstance(seed, Integral) or seed < 0:
        raise Refusal(f"seed={seed} is no whole number from 0 on; seeds start at 0")
    if distribution.input_dim != target.input_dim:
        raise Refusal(
            f"the distribution has input_dim={distribution.input_dim} and the target "
            f"{target.input_dim}; make them equal"
        )
    if not any(matches.values()) and not starts:
        raise Refusal("no contender has a shape to train; the match's note says why")
    for name, shapes in matches.items():
        for shape in shapes:
            if not all(isinstance(width, Integral) for width in shape):
                raise Refusal(f"{name} has widths {shape}; give whole numbers of neurons")
            ends = (target.input_dim, target.output_dim)
            if len(shape) < 2 or (shape[0], shape[-1]) != ends or min(shape) < 1:
                raise Refusal(
                    f"{name} has widths {tuple(shape)}, which do not lead from {ends[0]} inputs "
                    f"to {ends[1]} outputs through positive widths"
                )


def train_rivals(
    matches: Mapping[str, Sequence[Sequence[int]]],
    target: Target,
    distribution: Distribution,
    config: TrainingConfig | None = None,
    trainer: TrainerConfig | None = None,
    *,
    seed: int = 0,
    on_validation: OnValidation | None = None,
    progress: bool | None = None,
    starts: Mapping[str, Layers] | None = None,
    checkpoint: Path | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> TrainingResult:
    """Train every contender of a run at once; `matches` gives each its shapes (full widths).

    A contender's rival is the best of its shapes, styles, seeds and learning rates by validation
    error. Contenders without shapes are left out; a shape named by two contenders is trained once.
    `progress` overrules `trainer.progress`. `starts` names further contenders that start from
    given weights (see `RivalTraining`). With `checkpoint` (a file) an interrupted training goes on
    from there; the file stays until the caller has what it needs and deletes it; a damaged one is
    replaced, with a warning; `say` is told where it goes on. The same arguments give the same bits
    on one CPU, interrupted or not, and on any number of threads (but where a hidden matrix is so
    large that torch's products are used, see `compiled`).
    """
    config, trainer = config or TrainingConfig(), trainer or TrainerConfig()
    contenders = {name: [tuple(s) for s in shapes] for name, shapes in matches.items() if shapes}
    _check(contenders, target, distribution, seed, bool(starts))
    accelerator = _accelerator(trainer.accelerator)
    show = trainer.progress if progress is None else progress
    start = time.perf_counter()

    def fitted(resume: bool) -> tuple[RivalTraining, str]:
        module = RivalTraining(
            contenders, target, distribution, config, seed, on_validation, starts
        )
        saved = resumable(checkpoint, module.identity) if resume else None
        callbacks: list[pl.Callback] = [StepsBar()] if show else []
        if checkpoint is not None:
            callbacks.append(SaveChunks(checkpoint, config.checkpoint_seconds, say))
        engine = pl.Trainer(
            accelerator=accelerator,
            devices=1,
            plugins=[LightningEnvironment()],  # one device needs no Slurm set-up
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=show,
            callbacks=callbacks,
        )
        try:
            _fit(engine, module, saved)
        except Exception as error:
            if saved is None or module.started:
                raise
            warn_damaged(saved, error)
            return fitted(resume=False)
        return module, str(engine.strategy.root_device)

    if accelerator == "cpu":
        keep_freed_memory()
    try:
        with _quiet(), _threads(trainer.threads):
            module, device = fitted(resume=True)
    finally:
        if accelerator == "cpu":
            return_freed_memory()
    found = {name: module.rival(name) for name in module.contenders}
    return TrainingResult(
        rivals={name: rival for name, rival in found.items() if rival is not None},
        diverged=tuple(name for name, rival in found.items() if rival is None),
        steps=module.steps,
        seconds=time.perf_counter() - start,
        device=device,
    )
