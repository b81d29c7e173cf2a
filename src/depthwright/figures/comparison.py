"""The picture of one run: errors over training with the construction's lines, and a slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from depthwright import results
from depthwright.comparison import CONSTRUCTED, CURVES
from depthwright.figures.paper import MARKS
from depthwright.figures.style import (
    CLAIM,
    below,
    colour,
    figure,
    head,
    label,
    mark,
    powers,
    save,
)
from depthwright.figures.table import verdict
from depthwright.files import read_json
from depthwright.refusal import Refusal
from depthwright.results import Row

PICTURE = "comparison.png"
MARKED = 8
"""Points of a line that carry its mark, about."""


def draw(folder: Path, rows: list[Row] | None = None) -> Path:
    """Draw `comparison.png` from a run's files; `rows` are given while it is not yet finished."""
    rows = rows or results.read(folder)
    curves = read_json(folder / CURVES)
    if not isinstance(curves, dict):
        raise Refusal(f"{folder / CURVES} holds no curves; delete the folder to run it again")
    drawing, (training, slice_) = figure(2)
    labels = {row.contender: label(row.contender, row.style) for row in rows}
    constructed = next(row for row in rows if row.contender == CONSTRUCTED)
    ends = [0, 1]
    for name, history in curves["validation_rmse"].items():
        steps, errors = zip(*history, strict=True)
        ends = [min(steps), max(steps)]
        every = -(-len(steps) // MARKED)
        training.plot(steps, errors, label=f"{labels[name]}: L2", markevery=every, **_who(name))
        row = _row(rows, name)
        if row and row.error_sup_attacked:
            found: dict[str, Any] = {"markersize": 9, "markerfacecolor": "none", "clip_on": False}
            found |= {"linestyle": "none", "label": f"{labels[name]}: largest found"}
            training.plot(steps[-1], row.error_sup_attacked, **_who(name) | found)
    for row in rows:
        if row.contender in curves["validation_rmse"]:
            continue
        who, name = _who(row.contender), labels[row.contender]
        training.plot(ends, [row.error_l2] * 2, label=f"{name}: L2", **who)
        for measured, what in (
            (row.error_sup_attacked, "largest found"),
            (row.error_sup_good, "largest outside the bad set"),
        ):
            if measured:
                line: dict[str, Any] = {"linestyle": ":", "label": f"{name}: {what}"}
                training.plot(ends, [measured] * 2, **who, **line)
        if row.error_promised is not None:
            own = {"color": who["color"], "label": f"{name}: promised", **CLAIM}
            training.plot(ends, [row.error_promised] * 2, **own)
    training.set(xlabel="training step", ylabel="error", yscale="log")
    powers(training)
    below(training)

    values = dict(curves["slice"])
    at, truth = values.pop("at"), values.pop("target")
    slice_.plot(at, truth, color=colour("target"), linewidth=2.4, alpha=0.35, label="target")
    for name, along in values.items():
        every = -(-len(at) // MARKED)
        slice_.plot(
            at, along, label=labels[name], markevery=every, **_who(name) | {"linewidth": 1.1}
        )
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


def _who(contender: str) -> dict[str, Any]:
    own = colour(contender)
    return {"color": own, "marker": MARKS[mark(own)], "markersize": 5}


def _row(rows: list[Row], name: str) -> Row | None:
    return next((row for row in rows if row.contender == name), None)
