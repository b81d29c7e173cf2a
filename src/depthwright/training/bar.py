"""The bar of a training: Lightning's, on stderr."""

from __future__ import annotations

import sys
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import TQDMProgressBar
from pytorch_lightning.callbacks.progress.tqdm_progress import Tqdm


class StepsBar(TQDMProgressBar):
    """Lightning's bar, counting optimiser steps and showing the lowest error so far."""

    def init_train_tqdm(self) -> Tqdm:
        """On stderr, so that a table on stdout stays clean."""
        return Tqdm(
            desc="training rivals",
            unit="step",
            disable=self.is_disabled,
            dynamic_ncols=True,
            file=sys.stderr,
            smoothing=0,
        )

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """The one epoch is the training."""
        module: Any = trainer.lightning_module
        self.train_progress_bar.total = module.steps
        self.train_progress_bar.update(module.steps_done)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        """A chunk further."""
        bar = self.train_progress_bar
        bar.set_postfix(self.get_metrics(trainer, pl_module), refresh=False)
        bar.update(pl_module.steps_done - bar.n)

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: Any
    ) -> dict[str, int | str | float | dict[str, float]]:
        """The lowest root mean squared validation error of any rival so far."""
        errors = [error for history in pl_module.history.values() for _, error in history]
        return {"best_rmse": f"{min(errors):.4g}"} if errors else {}

    def on_exception(self, *_: Any) -> None:
        """Leave the terminal usable."""
        self.train_progress_bar.close()
