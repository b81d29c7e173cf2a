"""A network trained on real data, and its twin of width 66 that agrees on every image.

    python experiments/digits.py          (needs the extra: pip install -e '.[digits]')

An ordinary multilayer perceptron, 64 → 128 → 128 → 10, learns scikit-learn's 1,797 handwritten
digits. Pixels are whole numbers from 0 to 16, so the inputs (pixel − 8)/8 lie on a grid, and the
packed twin (width max{64 + 2, 4 + 10}) needs no probability: its claim holds for every image that
can be drawn. Asked for an accuracy below half of the smallest margin between the two largest
logits, it must put all 1,797 images into the same class; then they are counted.
"""

from __future__ import annotations

import time

import numpy as np
import pytorch_lightning as pl
import torch
from rich.console import Console
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from depthwright.constructions import NarrowPacked
from depthwright.refusal import Refusal
from depthwright.targets import Network

EPOCHS = 30
LEVELS = 8
"""Half of the pixel range 0…16: inputs are (pixel − LEVELS)/LEVELS."""


class Classifier(pl.LightningModule):
    """The perceptron, trained by cross entropy."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
        )

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        """One batch."""
        images, classes = batch
        return nn.functional.cross_entropy(self.model(images), classes)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam with weight decay, which keeps the norms, and so the twin, small."""
        return torch.optim.AdamW(self.parameters(), lr=3e-3, weight_decay=1e-2)


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Images (1797, 64) on the grid −1 + k/8, and their classes (1797,)."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise Refusal("scikit-learn is not here; pip install -e '.[digits]' brings it") from error
    data = load_digits()
    return torch.from_numpy((data.data - LEVELS) / LEVELS), torch.from_numpy(data.target)


def train(images: torch.Tensor, classes: torch.Tensor) -> nn.Sequential:
    """On 1,500 of the images; the rest says how well it generalises."""
    pl.seed_everything(0)
    module = Classifier()
    loader = DataLoader(TensorDataset(images[:1500].float(), classes[:1500]), 128, shuffle=True)
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        accelerator="auto",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(module, loader)
    return module.model.cpu().eval()


def main(console: Console) -> None:
    """Train, narrow, count."""
    images, classes = digits()
    model = train(images, classes)
    target = Network(model, radius=1.0)
    logits = target.truth(images)
    held_out = (logits.argmax(dim=1) == classes)[1500:].double().mean()
    largest = logits.topk(2, dim=1).values
    margin = float((largest[:, 0] - largest[:, 1]).min())
    console.print(
        f"trained: {held_out:.1%} of 297 held-out images right, smallest margin {margin:.2g}"
    )
    start = time.perf_counter()
    recipe = NarrowPacked(target, accuracy=0.499 * margin, grid=1 / LEVELS)
    built = recipe.build()
    size, own = built.network.architecture, sum(p.numel() for p in model.parameters())
    console.print(
        f"twin: width {size.width}, depth {size.depth:,}, {size.parameters:,} parameters (the "
        f"target {own:,}), promised error {built.claim.bound:.2g} for every image, built in "
        f"{time.perf_counter() - start:.1f} s"
    )
    start = time.perf_counter()
    with console.status("evaluating 1,797 images exactly"):
        values = built.network.evaluate(images)
    same = int((values.argmax(dim=1) == logits.argmax(dim=1)).sum())
    console.print(
        f"exactly evaluated in {time.perf_counter() - start:.0f} s: {same:,} of {len(images):,} "
        f"images in the same class, largest logit difference "
        f"{float(np.abs((values - logits).numpy()).max()):.2g}"
    )
    if same != len(images):
        raise SystemExit("an image changed its class: the promise was broken")


if __name__ == "__main__":
    from depthwright.cli import guard

    guard(lambda: main(Console()))
