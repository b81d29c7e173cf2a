"""A network trained on real data, and its narrow twin that agrees on every image.

    python experiments/digits.py [--scale smoke|cpu|gpu]   (extra: pip install -e '.[digits]')

An ordinary multilayer perceptron, 64 → 128 → 128 → 10, learns scikit-learn's 1,797 handwritten
digits. Pixels are whole numbers from 0 to 16, so the inputs (pixel − 8)/8 lie on a grid, and the
packed twin, no wider than the images, needs no probability: its claim holds for every image that
can be drawn. Asked for an accuracy below half of the smallest margin between the two largest
logits, it must put all 1,797 images into the same class; then they are counted (at the smallest
scale the first 40).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from depthwright.constructions import NarrowPacked
from depthwright.experiment import Experiment, Run, largest
from depthwright.figures.chart import Chart, Panel, series
from depthwright.refusal import Refusal
from depthwright.targets import Network

if TYPE_CHECKING:
    import polars
    import pytorch_lightning as pl

EPOCHS = 30
COUNTS = {"smoke": 40, "cpu": 1797, "gpu": 1797}
"""Number of images that are evaluated."""
LEVELS = 8
"""Half of the pixel range 0…16: inputs are (pixel − LEVELS)/LEVELS."""


def classifier(model: nn.Sequential) -> pl.LightningModule:
    """The perceptron's training, with cross entropy."""
    import pytorch_lightning as pl  # takes seconds, and the picture is drawn without it

    class Classifier(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
            images, classes = batch
            return nn.functional.cross_entropy(model(images), classes)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            """Adam with weight decay: it keeps the norms small, and so the narrow network small."""
            return torch.optim.AdamW(self.parameters(), lr=3e-3, weight_decay=1e-2)

    return Classifier()


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Images (1797, 64) on the grid −1 + k/8, and their classes (1797,)."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise Refusal("scikit-learn is not here; pip install -e '.[digits]' brings it") from error
    data = load_digits()
    return torch.from_numpy((data.data - LEVELS) / LEVELS), torch.from_numpy(data.target)


def train(images: torch.Tensor, classes: torch.Tensor) -> nn.Sequential:
    """Train on 1,500 of the images; the others measure how well it generalises."""
    import pytorch_lightning as pl

    pl.seed_everything(0)
    model = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )
    loader = DataLoader(TensorDataset(images[:1500].float(), classes[:1500]), 128, shuffle=True)
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        accelerator="auto",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(classifier(model), loader)
    return model.cpu().eval()


def measure(count: int) -> list[dict[str, Any]]:
    """Train, build the narrow network, compare: one row per image."""
    images, classes = digits()
    model = train(images, classes)
    target = Network(model, radius=1.0)
    logits = target.truth(images)
    held_out = (logits.argmax(dim=1) == classes)[1500:].double().mean()
    largest = logits.topk(2, dim=1).values
    margins = largest[:, 0] - largest[:, 1]
    start = time.perf_counter()
    built = NarrowPacked(target, accuracy=0.499 * float(margins.min()), grid=1 / LEVELS).build()
    build_seconds = time.perf_counter() - start
    start = time.perf_counter()
    values = built.network.evaluate(images[:count])
    seconds = time.perf_counter() - start
    gaps = (values - logits[:count]).abs().amax(dim=1)
    same = values.argmax(dim=1) == logits[:count].argmax(dim=1)
    size = built.network.architecture
    shared = {
        "held_out_right": float(held_out),
        "error_promised": built.claim.bound,
        "width": size.width,
        "depth": size.depth,
        "parameters": size.parameters,
        "target_parameters": sum(p.numel() for p in model.parameters()),
        "build_seconds": build_seconds,
        "evaluate_seconds": seconds,
    }
    return [
        {
            "image": k,
            "margin": float(m),
            "error": float(gap),
            "same": bool(is_same),
            "decided": float(m) > 2 * built.claim.bound,  # by the claim alone
            **shared,
        }
        for k, (m, gap, is_same) in enumerate(zip(margins[:count], gaps, same, strict=True))
    ]


def rows(run: Run) -> polars.DataFrame:
    return run.cells([{"count": COUNTS[run.scale]}], measure)


def chart(rows: polars.DataFrame) -> Chart:
    """For every image: the change that the claim allows, and the change that was measured."""
    images = series(rows, "margin", "error", "an image", "points", contender="narrow_packed")
    promised = (("promised for every image", float(rows["error_promised"][0])),)
    return Chart(
        (
            Panel(
                "margin between the two largest logits of the target",
                "largest logit difference, twin and target",
                (images,),
                y_log=True,
                lines=promised,
            ),
        )
    )


def sentence(rows: polars.DataFrame) -> str:
    one = rows.row(0, named=True)
    sure = int((rows["margin"] > 2 * rows["error_promised"]).sum())
    return (
        f"The twin of width {one['width']} puts {rows['same'].sum():,} of {len(rows):,} images "
        "into the class in which its target puts them. The target, a perceptron trained on "
        f"digits, gets {one['held_out_right']:.1%} of 297 held-out images right and has "
        f"{one['target_parameters']:,} parameters; the twin has depth {one['depth']:,} and "
        f"{one['parameters']:,} parameters. On every image its outputs differ from the target's by "
        f"at most {one['error_promised']:.2g}, proved, which leaves the class of {sure:,} images "
        f"beyond doubt; measured, in {one['evaluate_seconds']:.0f} s of exact evaluation, by "
        f"{largest(rows, 'error'):.2g} at most."
    )


def broken(rows: polars.DataFrame) -> list[str]:
    changed = len(rows) - int(rows["same"].sum())
    above = int((rows["error"] > rows["error_promised"]).sum())
    found = [f"{changed} images changed their class"] if changed else []
    return found + ([f"{above} images are above the promised error"] if above else [])


EXPERIMENT = Experiment(
    rows, chart, sentence, ("image", "margin", "error", "error_promised", "same"), broken
)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
