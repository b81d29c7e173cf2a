"""The picture of one run: errors over training with the construction's lines, and a slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from depthwright import results
from depthwright.comparison import CONSTRUCTED, CURVES
from depthwright.figures.style import CLAIM, below, colour, figure, head, label, powers, save
from depthwright.figures.table import verdict
from depthwright.files import read_json
from depthwright.refusal import Refusal
from depthwright.results import Row

PICTURE = "comparison.png"


def draw(folder: Path, rows: list[Row] | None = None) -> Path:
    """Draw `comparison.png` from a run's files; `rows` are given while it is not yet finished."""
    rows = rows or results.read(folder)
    curves = read_json(folder / CURVES)
    if not isinstance(curves, dict):
        raise Refusal(f"{folder / CURVES} holds no curves; delete the folder to run it again")
    drawing, (training, slice_) = figure(2)
    labels = {row.contender: label(row.contender, row.style) for row in rows}
    constructed = next(row for row in rows if row.contender == CONSTRUCTED)
    for name, history in curves["validation_rmse"].items():
        steps, errors = zip(*history, strict=True)
        training.plot(steps, errors, color=colour(name), label=f"{labels[name]}: L2")
        row = _row(rows, name)
        if row and row.error_sup_attacked:
            training.plot(
                steps[-1],
                row.error_sup_attacked,
                "v",
                color=colour(name),
                label=f"{labels[name]}: largest found",
                clip_on=False,
            )
    for row in rows:
        if row.contender in curves["validation_rmse"]:
            continue
        own, name = colour(row.contender), labels[row.contender]
        training.axhline(row.error_l2, color=own, label=f"{name}: L2")
        for measured, what in (
            (row.error_sup_attacked, "largest found"),
            (row.error_sup_good, "largest outside the bad set"),
        ):
            if measured:
                line: dict[str, Any] = {"color": own, "linewidth": 0.8, "linestyle": ":"}
                training.axhline(measured, label=f"{name}: {what}", **line)
        if row.error_promised is not None:
            training.axhline(row.error_promised, color=own, label=f"{name}: promised", **CLAIM)
    training.set(xlabel="training step", ylabel="error", yscale="log")
    powers(training)
    below(training)

    values = dict(curves["slice"])
    at, truth = values.pop("at"), values.pop("target")
    slice_.plot(at, truth, color=colour("target"), linewidth=2.4, alpha=0.35, label="target")
    for name, along in values.items():
        slice_.plot(at, along, color=colour(name), linewidth=1.1, label=labels[name])
    slice_.set(xlabel="position s on a random ray, x = s·u", ylabel="value")
    slice_.set_title(
        f"{constructed.target}, d = {constructed.input_dim}, width {constructed.width:,}",
        loc="left",
        fontsize=10,
    )
    below(slice_)
    for finding in verdict(rows)[:1]:
        head(drawing, finding.rstrip("."))
    return save(drawing, folder / PICTURE)


def _row(rows: list[Row], name: str) -> Row | None:
    return next((row for row in rows if row.contender == name), None)
