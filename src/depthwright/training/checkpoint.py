"""A training that was killed goes on where it was saved, to the same numbers on one CPU.

A checkpoint is a safetensors file: all tensors of the training and the state of its points'
generator; beside them, as JSON, which training it belongs to, and the state of every member.
Nothing in such a file can be executed. It is replaced in one piece, so a kill at any moment leaves
the one before. The checkpoint of another training is ignored; from a damaged one nothing is taken:
the training starts anew, with a warning. The file of another user is refused.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from depthwright.files import lesser, whole_file
from depthwright.refusal import Refusal
from depthwright.training.lightning_module import RivalTraining

GENERATOR = "generator"
"""The tensor that is no part of the module."""


class SaveChunks(pl.Callback):
    """Saves after a chunk when `seconds` have passed since the last time, and after the last."""

    def __init__(self, path: Path, seconds: float) -> None:
        self.path = path
        self.seconds = seconds
        self.saved = time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        """A chunk is done."""
        done = pl_module.steps_done == pl_module.steps
        if done or time.monotonic() - self.saved >= self.seconds:
            with lesser(self.path.name):
                save(self.path, pl_module)
            self.saved = time.monotonic()


def save(path: Path, training: RivalTraining) -> None:
    """Write the checkpoint, whole or not at all."""
    tensors = {name: tensor.cpu() for name, tensor in training.state_dict().items()}
    tensors[GENERATOR] = training.generator.get_state()
    told = {"identity": training.identity, "training": json.dumps(training.state())}
    with whole_file(path) as partial:
        save_file(tensors, partial, told)


def resumed(path: Path, new: Callable[[], RivalTraining], device: torch.device) -> RivalTraining:
    """A `new` training, further on where `path` holds a checkpoint of this very training.

    A warning where the file is damaged. Refuses a folder, which no checkpoint can replace, and the
    file of another user.
    """
    training = new()
    if not path.exists():
        return training
    if path.is_dir():
        raise Refusal(f"checkpoint={str(path)!r} is a folder; name a file in it")
    _refuse_others(path)
    try:
        _restore(path, training, device)
    except Exception as error:  # whatever is wrong with the file
        _warn_damaged(path, error)
        return new()
    return training


def _restore(path: Path, training: RivalTraining, device: torch.device) -> None:
    if not path.is_file():  # a pipe would be waited for
        raise ValueError("no regular file")
    with safe_open(path, "pt") as file:
        told = file.metadata()
        if told["identity"] != training.identity:
            return
        tensors = training.state_dict()
        if set(file.keys()) != {*tensors, GENERATOR}:
            raise ValueError("its tensors are not those of the training")
        for name, tensor in tensors.items():
            saved = file.get_tensor(name)
            if (saved.shape, saved.dtype) != (tensor.shape, tensor.dtype):
                raise ValueError(f"{name} has another shape or dtype")
            tensor.copy_(saved)
        generator = torch.Generator(device)
        generator.set_state(file.get_tensor(GENERATOR))
        training.restore(json.loads(told["training"]), generator)


def _refuse_others(path: Path) -> None:
    """Refuse a file that was written by somebody else, where files have owners."""
    if os.name != "posix":
        return
    owner, own = path.stat().st_uid, os.geteuid()
    if owner != own:
        raise Refusal(
            f"checkpoint={str(path)!r} belongs to {_user(owner)}, and this process to "
            f"{_user(own)}; delete the file, or give an output folder of your own"
        )


def _user(number: int) -> str:
    import pwd

    try:
        return f"user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"user number {number}"


def _warn_damaged(path: Path, error: Exception) -> None:
    lines = str(error).strip().splitlines()
    warnings.warn(
        f"the checkpoint {path} cannot be resumed ({type(error).__name__}: "
        f"{lines[0] if lines else ''}); the training starts anew",
        stacklevel=2,
    )
