"""The picture of one run: errors over training with the construction's lines, and a slice."""

from __future__ import annotations

import json
from pathlib import Path

from depthwright import results
from depthwright.comparison import CONSTRUCTED, CURVES
from depthwright.figures.style import CLAIM, colour, figure, label, save
from depthwright.results import Row


def draw(folder: Path) -> Path:
    """Draw `comparison.png` from the files of a finished run."""
    rows = results.read(folder)
    curves = json.loads((folder / CURVES).read_text(encoding="utf-8"))
    drawing, (training, slice_) = figure(2)
    constructed = next(row for row in rows if row.contender == CONSTRUCTED)
    for name, history in curves["validation_rmse"].items():
        steps, errors = zip(*history, strict=True)
        training.plot(steps, errors, color=colour(name), label=f"{label(name)}: L2")
        row = _row(rows, name)
        if row and row.error_sup_attacked:
            training.plot(
                steps[-1],
                row.error_sup_attacked,
                "v",
                color=colour(name),
                label=f"{label(name)}: sup, attacked",
                clip_on=False,
            )
    own = colour(CONSTRUCTED)
    training.axhline(constructed.error_l2, color=own, label="constructed: L2")
    if constructed.error_sup_attacked:
        training.axhline(
            constructed.error_sup_attacked,
            color=own,
            linewidth=0.8,
            linestyle=":",
            label="constructed: sup, attacked",
        )
    if constructed.error_sup_certified:
        training.axhline(
            constructed.error_sup_certified, color=own, label="constructed: sup, promised", **CLAIM
        )
    training.set(xlabel="training step", ylabel="error", yscale="log")
    training.set_title("Training against the construction", loc="left", fontsize=10)
    training.legend(fontsize=7, frameon=False)

    values = dict(curves["slice"])
    at, truth = values.pop("at"), values.pop("target")
    slice_.plot(at, truth, color=colour("target"), linewidth=2.4, alpha=0.35, label="target")
    for name, along in values.items():
        slice_.plot(at, along, color=colour(name), linewidth=1.1, label=label(name))
    slice_.set(xlabel="position s on a random ray, x = s·u", ylabel="value")
    slice_.set_title(
        f"{constructed.target}, d = {constructed.input_dim}, width {constructed.width:,}",
        loc="left",
        fontsize=10,
    )
    slice_.legend(fontsize=7, frameon=False)
    return save(drawing, folder / "comparison.png")


def _row(rows: list[Row], name: str) -> Row | None:
    return next((row for row in rows if row.contender == name), None)
