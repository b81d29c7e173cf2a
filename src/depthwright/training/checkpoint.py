"""A training that was killed goes on where it was saved, to the same numbers on one CPU.

Saved between two chunks by Lightning (weights, optimisers, loops), with what this module adds:
the state of the points' generator, every member's record, the curves. The file is replaced in one
piece, so a kill at any moment leaves the one before; it says which training it belongs to, and
any other ignores it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from depthwright.whole_file import whole_file


class SaveChunks(pl.Callback):
    """Saves after a chunk when `seconds` have passed since the last time, and after the last."""

    def __init__(self, path: Path, seconds: float) -> None:
        self.path = path
        self.seconds = seconds
        self.saved = time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        """A chunk is done."""
        steps_done, steps = pl_module.steps_done, pl_module.steps
        if steps_done == steps or time.monotonic() - self.saved >= self.seconds:
            with whole_file(self.path) as partial:
                trainer.save_checkpoint(partial)
            self.saved = time.monotonic()


def resumable(path: Path | None, identity: str) -> Path | None:
    """`path`, if it holds a checkpoint of this very training."""
    if path is None or not path.exists():
        return None
    try:
        found = torch.load(path, map_location="cpu", weights_only=False)["training"]["identity"]
    except Exception:  # whatever is wrong with the file, the training starts anew
        return None
    return path if found == identity else None
