"""A training that was killed goes on where it was saved, to the same numbers on one CPU.

Saved between two chunks by Lightning (weights, optimisers, loops), with what this module adds:
the state of the points' generator, every member's record, the curves. The file is replaced in one
piece, so a kill at any moment leaves the one before; it says which training it belongs to, and
any other ignores it. From a damaged one nothing is taken: the training starts anew, with a warning.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from depthwright.refusal import Refusal
from depthwright.training.ensemble import EnsembleAdam
from depthwright.whole_file import whole_file


class SaveChunks(pl.Callback):
    """Saves after a chunk when `seconds` have passed since the last time, and after the last.

    A training that goes on from what was saved is told to `say`.
    """

    def __init__(
        self, path: Path, seconds: float, say: Callable[[str], None] = lambda message: None
    ) -> None:
        self.path = path
        self.seconds = seconds
        self.say = say
        self.saved = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """What there was to take back has been taken."""
        if pl_module.steps_done:
            self.say(f"training goes on at step {pl_module.steps_done:,} of {pl_module.steps:,}")

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        """A chunk is done."""
        steps_done, steps = pl_module.steps_done, pl_module.steps
        if steps_done == steps or time.monotonic() - self.saved >= self.seconds:
            with whole_file(self.path) as partial:
                trainer.save_checkpoint(partial)
            self.saved = time.monotonic()


def resumable(path: Path | None, identity: str) -> Path | None:
    """`path`, if it holds a checkpoint of this very training; a warning where it holds none.

    Refuses a folder, which no checkpoint can replace.
    """
    if path is None or not path.exists():
        return None
    if path.is_dir():
        raise Refusal(f"checkpoint={str(path)!r} is a folder; name a file in it")
    try:
        found = torch.load(path, map_location="cpu", weights_only=False)["training"]["identity"]
    except Exception as error:  # whatever is wrong with the file, the training starts anew
        warn_damaged(path, error)
        return None
    return path if found == identity else None


def check_moments(states: Sequence[Mapping[str, Any]], optimisers: Sequence[EnsembleAdam]) -> None:
    """Refuse optimisers' states without a moment: torch would silently begin those at 0."""
    for state, optimiser in zip(states, optimisers, strict=True):
        for k, parameter in enumerate(optimiser.param_groups[0]["params"]):
            held = state["state"].get(k, {}) if state["param_groups"][0]["steps"] else None
            for name in ("exp_avg", "exp_avg_sq"):
                if held is not None and held[name].shape != parameter.shape:
                    raise ValueError(f"{name} of parameter {k} has another shape")


def warn_damaged(path: Path, error: Exception) -> None:
    """Say that a training starts anew."""
    what = str(error).strip().splitlines()
    warnings.warn(
        f"the checkpoint {path} cannot be resumed ({type(error).__name__}: "
        f"{what[0] if what else ''}); the training starts anew",
        stacklevel=2,
    )
