"""Training as a comparison calls it: contenders and their shapes in, the best of each out.

Lightning takes seconds to import, so it waits until something is trained.
"""

from __future__ import annotations

import logging
import math
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

from depthwright.distributions.distribution import Distribution
from depthwright.machine.process_wide import process_wide
from depthwright.networks.torch_network import Layers
from depthwright.progress import Bar
from depthwright.refusal import Refusal, need_seed
from depthwright.targets.target import Target
from depthwright.training.config import TrainerConfig, TrainingConfig
from depthwright.training.memory import keep_freed_memory
from depthwright.training.result import TrainingResult

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from depthwright.training.lightning_module import OnValidation, RivalTraining, Widths


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
    news: Callable[[str], None] = lambda message: None,
) -> TrainingResult:
    """Train every contender of a run at once; `matches` gives each its shapes (full widths).

    A contender's rival is the best of its shapes, styles, seeds and learning rates by validation
    error. Contenders without shapes are left out; a shape named by two contenders is trained once.
    `progress` overrules `trainer.progress`. `starts` names further contenders that start from given
    weights (see `RivalTraining`). With `checkpoint` (a file) an interrupted training continues from
    there; the caller deletes the file when it has the result; a damaged one is replaced, with a
    warning; `news` receives the step from which it continues. The same arguments give the same bits
    on one CPU, interrupted or not, and on any number of threads (except where a hidden matrix is so
    large that torch's products are used, see `step.compiled`).
    """
    from depthwright.training.checkpoint import SaveChunks, resumed
    from depthwright.training.lightning_module import RivalTraining

    config, trainer = config or TrainingConfig(), trainer or TrainerConfig()
    contenders = {name: [tuple(s) for s in shapes] for name, shapes in matches.items() if shapes}
    _check(contenders, target, distribution, seed, bool(starts))
    show = trainer.progress if progress is None else progress
    start = time.perf_counter()

    def new() -> RivalTraining:
        return RivalTraining(contenders, target, distribution, config, seed, starts=starts)

    with (
        quiet(),
        _threads(trainer.threads),
        keep_freed_memory(),
        Bar("training rivals") if show else nullcontext() as bar,
    ):
        saving = [] if checkpoint is None else [SaveChunks(checkpoint, config.checkpoint_seconds)]
        engine = _engine(trainer.accelerator, saving)
        device = engine.strategy.root_device
        module = new() if checkpoint is None else resumed(checkpoint, new, device)
        module.on_validated = _on_validated(module, on_validation, bar)
        if module.steps_done:
            news(f"training goes on at step {module.steps_done:,} of {module.steps:,}")
            module.replay()
        if module.steps_done < module.steps:
            _fit(engine, module)
    found = {name: module.rival(name) for name in module.contenders}
    return TrainingResult(
        rivals={name: rival for name, rival in found.items() if rival is not None},
        diverged=tuple(name for name, rival in found.items() if rival is None),
        steps=module.steps,
        seconds=time.perf_counter() - start,
        device=str(device),
    )


def _on_validated(
    module: RivalTraining, on_validation: OnValidation | None, bar: Bar | None
) -> OnValidation:
    """The callback after every validation: it shows the errors and passes them to the caller."""
    lowest = math.inf

    def call(step: int, errors: Mapping[str, float]) -> None:
        nonlocal lowest
        lowest = min([lowest, *errors.values()])
        if bar is not None:
            bar(step / module.steps, f"lowest error {lowest:.4g}")
        if on_validation is not None:
            on_validation(step, errors)

    return call


def _engine(accelerator: str, callbacks: Sequence[pl.Callback]) -> pl.Trainer:
    """Lightning's trainer on one device; it writes no files."""
    import pytorch_lightning as pl
    from pytorch_lightning.plugins.environments import LightningEnvironment

    return pl.Trainer(
        accelerator=_accelerator(accelerator),
        devices=1,
        plugins=[LightningEnvironment()],  # one device needs no set-up by Slurm
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        callbacks=list(callbacks),
    )


def _accelerator(name: str) -> str:
    import torch

    if name == "auto":
        return "gpu" if torch.cuda.is_available() else "cpu"
    if name == "gpu" and not torch.cuda.is_available():
        raise Refusal("accelerator='gpu': torch sees no CUDA GPU here; use auto or cpu")
    return name


def _fit(engine: pl.Trainer, module: RivalTraining) -> None:
    """Fit. Ctrl-C stays KeyboardInterrupt: Lightning makes it an exit and ignores a second one."""
    before = signal.getsignal(signal.SIGINT)  # a shell ignores the signal for background jobs
    try:
        engine.fit(module)
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise  # another library's, such as submitit's, which queues a preempted job again
        signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from error


@process_wide
@contextmanager
def quiet() -> Iterator[None]:
    """Lightning without its banners and tips, and without the warnings that it causes itself."""
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
    """Set torch's number of threads for a while; 0 leaves it as it is."""
    import torch

    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check(
    matches: Mapping[str, Sequence[Widths]],
    target: Target,
    distribution: Distribution,
    seed: int,
    starts: bool,
) -> None:
    """Refuse settings with which no training can begin."""
    need_seed("seed", seed)
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
