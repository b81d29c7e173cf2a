"""One W&B run per experiment, with the rows of all its finished cells: what a dashboard draws.

    rows                                    the table
    error_against_input_dim, …_inverse_accuracy   charts, one line per contender and kind of error
    AXIS/CONTENDER/COLUMN over AXIS/AXIS    the same as curves, for panels that compare experiments

AXIS is `input_dim` or `inverse_accuracy` (1/ε). Cells that share a place on the axis are given
by their median. `size_ratio` is the contender's parameters over those of the construction.

The run's id is fixed by the experiment's name, its folder is `EXPERIMENT/.aggregate`; it is written
again only when a row has changed (see `tracking.renew`), so there is one, however often a sweep
runs.
"""

from __future__ import annotations

import hashlib
import math
import statistics
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from pathlib import Path

from depthwright import results
from depthwright.comparison import CONSTRUCTED
from depthwright.refusal import Refusal
from depthwright.results import COLUMNS, Row
from depthwright.tracking import LoggerConfig, Point, Renewal, Tracker, renew

FOLDER = ".aggregate"
AGGREGATE = "aggregate"
"""W&B's job type of these runs."""
AXES = ("input_dim", "inverse_accuracy")
ERRORS = ("error_l2", "error_sup_attacked", "error_promised")
DRAWN = (*ERRORS, "error_sup_sampled", "parameters", "size_ratio")

Series = Mapping[str, Sequence[Point]]
"""CONTENDER/COLUMN → points, by place on the axis."""


def aggregate(experiment: Path, logger: LoggerConfig) -> Renewal:
    """Bring an experiment's aggregate run up to date.

    `experiment` is the folder of its cells. Whatever W&B does, nothing is raised.
    """
    cells = [] if logger.mode == "none" else finished_cells(experiment)
    if not cells:
        return Renewal.UNCHANGED
    steady = [[replace(row, **dict.fromkeys(results.SECONDS, None)) for row in c] for c in cells]  # type: ignore[arg-type]
    name = experiment.name
    return renew(
        logger,
        experiment / FOLDER,
        hashlib.sha256(repr(steady).encode()).hexdigest(),
        lambda tracker: _log(tracker, cells),
        run_id=f"{name}-{AGGREGATE}",
        name=f"{name}: all rows",
        group=name,
        config={"experiment_name": name, "cells": len(cells)},
        tags=sorted({c[0].construction for c in cells} | {c[0].target for c in cells}),
        kind=AGGREGATE,
    )


def _log(tracker: Tracker, cells: Sequence[Sequence[Row]]) -> None:
    rows = [astuple(row) for each in cells for row in each]
    tracker.table("rows", COLUMNS, rows)
    for axis in AXES:
        along = series(cells, axis)
        errors = {key: points for key, points in along.items() if key.endswith(ERRORS)}
        tracker.lines(f"error_against_{axis}", axis, errors)
        tracker.over(f"{axis}/{axis}", f"{axis}/*")
        for x, values in places(along).items():
            numbers = {f"{axis}/{key}": y for key, y in values.items()}
            tracker.log(None, {f"{axis}/{axis}": x} | numbers)
    tracker.summary({"cells": len(cells), "rows": len(rows)})


def finished_cells(experiment: Path) -> list[list[Row]]:
    """The rows of each finished cell, by folder; those of other versions are left out."""
    cells = []
    for path in sorted(experiment.glob(f"*/{results.RESULTS}")):
        try:
            cells.append(results.read(path.parent))
        except Refusal as refusal:
            warnings.warn(f"left out of the aggregate: {refusal}", stacklevel=2)
    return cells


def series(cells: Sequence[Sequence[Row]], axis: str) -> Series:
    """`CONTENDER/COLUMN` → points (place on the axis, median over the cells there)."""
    found: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for rows in cells:
        own = next(row for row in rows if row.contender == CONSTRUCTED)
        for row in rows:
            x = _place(row, axis)
            if x is None:
                continue
            for column in DRAWN:
                y = row.parameters / own.parameters if column == "size_ratio" else None
                y = getattr(row, column) if y is None else y
                if y is not None and math.isfinite(y):
                    found[f"{row.contender}/{column}"][x].append(float(y))
    return {
        key: [(x, statistics.median(ys)) for x, ys in sorted(points.items())]
        for key, points in sorted(found.items())
    }


def places(along: Series) -> dict[float, dict[str, float]]:
    """The same, by place: x → key → value."""
    by_place: dict[float, dict[str, float]] = defaultdict(dict)
    for key, points in along.items():
        for x, y in points:
            by_place[x][key] = y
    return dict(sorted(by_place.items()))


def _place(row: Row, axis: str) -> float | None:
    if axis == "input_dim":
        return float(row.input_dim)
    return 1 / row.accuracy if row.accuracy else None
