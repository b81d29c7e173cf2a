"""One W&B run per experiment, with the rows of all its finished cells: what a dashboard draws.

    rows                                    the table
    error_against_input_dim, …_inverse_accuracy   charts, one line per contender and kind of error,
                                            the ends of the L2 error's interval included
    AXIS/CONTENDER/COLUMN over AXIS/AXIS    the same as curves, for panels that compare experiments

AXIS is `input_dim` or `inverse_accuracy` (1/ε). Lines and curves hold the cells whose settings are
those of the newest one, dimension, accuracy and seed aside: what was trained for longer, say, or
was computed by other code of this package, is not mixed with it. Those that share a place on the
axis are given by their median. The table holds all. `size_ratio` is the contender's parameters over
those of the construction.

The run's id is fixed by the experiment's name, its folder is `EXPERIMENT/.aggregate`; it is written
again only when a row has changed (see `tracking.renew`), so there is one, however often a sweep
runs.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from depthwright import results
from depthwright.comparison import CONSTRUCTED
from depthwright.files import read_text
from depthwright.refusal import Refusal
from depthwright.results import COLUMNS, Row
from depthwright.runs.cell import sentence
from depthwright.runs.config import CONFIG, unwatched
from depthwright.tracking import LoggerConfig, Point, Renewal, Tracker, renew

FOLDER = ".aggregate"
AGGREGATE = "aggregate"
"""W&B's job type of these runs."""
AXES = ("input_dim", "inverse_accuracy")
VARIED = ("input_dim", "accuracy", "seed")
"""Keys of a config, and of its groups, that cells of one line differ in."""
INTERVAL = ("error_l2_low", "error_l2_high")
ERRORS = ("error_l2", *INTERVAL, "error_sup_attacked", "error_promised")
CONFIG_LIMIT = 2**16
"""Bytes of a config, of which ours have some thousand: YAML is read slowly."""
DRAWN = (*ERRORS, "error_sup_sampled", "parameters", "size_ratio")

Series = Mapping[str, Sequence[Point]]
"""CONTENDER/COLUMN → points, by place on the axis."""


def aggregate(experiment: Path, logger: LoggerConfig) -> Renewal:
    """Bring an experiment's aggregate run up to date.

    `experiment` is the folder of its cells. Whatever is in it, and whatever W&B and the disk do,
    nothing is raised: a failure is a warning.
    """
    try:
        return _renewed(experiment, logger)
    except Exception as error:
        warnings.warn(f"no aggregate of {experiment}: {sentence(error)}", stacklevel=2)
        return Renewal.FAILED


def _renewed(experiment: Path, logger: LoggerConfig) -> Renewal:
    cells = [] if logger.mode == "none" else finished_cells(experiment)
    if not cells:
        return Renewal.UNCHANGED
    steady = [
        [replace(row, **dict.fromkeys(results.SECONDS, None)) for row in cell.rows]  # type: ignore[arg-type]
        for cell in cells
    ]
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
        tags=sorted({word for c in cells for word in (c.rows[0].construction, c.rows[0].target)}),
        kind=AGGREGATE,
    )


def _log(tracker: Tracker, cells: Sequence[Finished]) -> None:
    rows = [astuple(row) for cell in cells for row in cell.rows]
    tracker.table("rows", COLUMNS, rows)
    drawn = [cell.rows for cell in alike(cells)]
    for axis in AXES:
        along = series(drawn, axis)
        errors = {key: points for key, points in along.items() if key.endswith(ERRORS)}
        tracker.lines(f"error_against_{axis}", axis, errors)
        tracker.over(f"{axis}/{axis}", f"{axis}/*")
        for x, values in places(along).items():
            numbers = {f"{axis}/{key}": y for key, y in values.items()}
            tracker.log(None, {f"{axis}/{axis}": x} | numbers)
    tracker.summary({"cells": len(cells), "rows": len(rows), "cells_drawn": len(drawn)})


@dataclass(frozen=True)
class Finished:
    """A cell with rows."""

    rows: list[Row]
    settings: str = ""
    """All of its config but what the axes and seeds vary, and the code that computed it."""
    when: float = 0.0
    """It was finished, in seconds since 1970."""


def finished_cells(experiment: Path) -> list[Finished]:
    """Every finished cell, by folder; those of other versions are left out."""
    cells = []
    for path in sorted(experiment.glob(f"*/{results.RESULTS}")):
        try:
            rows = results.read(path.parent)
            _need_series(rows)
            settings = f"{rows[0].code} {_settings(path.parent / CONFIG)}"
            cells.append(Finished(rows, settings, path.stat().st_mtime))
        except Refusal as refusal:
            warnings.warn(f"left out of the aggregate: {refusal}", stacklevel=2)
        except Exception as error:  # a table with words for numbers, say
            told = f"{path} ({type(error).__name__}: {sentence(error)})"
            warnings.warn(f"left out of the aggregate: {told}", stacklevel=2)
    return cells


def _need_series(rows: Sequence[Row]) -> None:
    """Raises something where rows have no place in a chart."""
    for axis in AXES:
        series([rows], axis)


def _settings(path: Path) -> str:
    """Empty where there is no config, or none that can be read."""
    plain = _plain(path)
    if plain is None:
        return ""
    plain = unwatched(plain)
    groups = [plain, *(part for part in plain.values() if isinstance(part, dict))]
    for group in groups:
        for key in VARIED:
            group.pop(key, None)
    return json.dumps(plain, sort_keys=True)


def _plain(path: Path) -> dict[str, Any] | None:
    text = read_text(path, CONFIG_LIMIT)
    if text is None:
        return None
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            return None  # we write none; a few lines of them stand for gigabytes
        plain = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return plain if isinstance(plain, dict) and all(isinstance(k, str) for k in plain) else None


def alike(cells: Sequence[Finished]) -> list[Finished]:
    """Those with the settings of the newest."""
    newest = max(cells, key=lambda cell: cell.when)
    return [cell for cell in cells if cell.settings == newest.settings]


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
