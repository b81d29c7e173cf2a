"""`depthwright table [FOLDER]`, and how a sweep from the command line ends: rows and pictures.

    depthwright table [outputs] [--csv FILE] [--parquet FILE]
    depthwright table --columns            what every column means

Any folder will do: all results, an experiment, one run, the cells of a figure. On screen are the
columns that tell the rows apart, and their errors; the files hold all columns.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwright import results
from depthwright.files import whole_file
from depthwright.refusal import Refusal
from depthwright.results import COLUMNS, NEEDED

if TYPE_CHECKING:
    import polars
    from rich.console import Console

    from depthwright.runs.store import Cell

SETTINGS = (
    *("experiment", "construction", "target", "distribution", "input_dim", "accuracy"),
    *("failure_probability", "seed"),
)
SHOWN = (
    *("contender", "width", "depth", "parameters", "error_l2", "error_sup_attacked"),
    *("error_sup_certified", "error_promised"),
)
"""Columns of the screen's table, where rows have them."""
MOST_SHOWN = 200
"""Rows on the screen; a file holds all."""


def table(arguments: Sequence[str]) -> None:
    """The command."""
    from rich.console import Console

    parser = argparse.ArgumentParser(prog="depthwright table", description="the rows of a sweep")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("outputs"))
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write all rows and columns there")
    parser.add_argument("--parquet", type=Path, metavar="FILE", help="the same, typed")
    parser.add_argument("--columns", action="store_true", help="what every column means")
    options = parser.parse_args(arguments)
    console = Console(markup=False, emoji=False)
    if options.columns:
        _print_columns(console)
        return
    folder = options.folder.expanduser()
    if not folder.is_dir():
        raise Refusal(f"{folder} is no folder; give one that a run or a sweep has filled")
    rows = results.rows_below(folder)
    _write(rows, options.csv, options.parquet)
    show(rows, console)


def _write(rows: polars.DataFrame, csv: Path | None, parquet: Path | None) -> None:
    for path, write in ((csv, rows.write_csv), (parquet, rows.write_parquet)):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as partial:
                write(partial)


def _print_columns(console: Console) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    shown = Table("column", "unit", "meaning", box=SIMPLE_HEAD)
    for column in results.columns():
        shown.add_row(column.name, column.unit, column.meaning)
    console.width = max(console.width, 100)
    console.print(shown)


def show(rows: polars.DataFrame, console: Console) -> None:
    """The rows, as far as a screen holds them; one unit a column, in its head."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    own = NEEDED[0] in rows.columns
    columns = _on_screen(rows) if own else [name for name in rows.columns if name != "run"]
    drawn = Table(box=SIMPLE_HEAD)
    for name in columns:
        numeric = rows[name].dtype.is_numeric()
        drawn.add_column(name.replace("_", " "), justify="right" if numeric else "left")
    for row in rows.head(MOST_SHOWN).select(columns).rows():
        drawn.add_row(*map(_text, row))
    # As wide as it is where the output is no terminal: nobody's columns are cut to 80 letters.
    if not console.is_terminal:
        console.width = max(console.width, 16 * len(columns))
    console.print(drawn)
    runs = rows["run"].n_unique()
    left = f", the first {MOST_SHOWN} shown" if len(rows) > MOST_SHOWN else ""
    console.print(f"{len(rows)} rows of {runs} run{'s' * (runs > 1)}{left}")


def _on_screen(rows: polars.DataFrame) -> list[str]:
    """Settings that differ between rows, and what every row is read for, where any has it."""
    settings = [n for n in SETTINGS if n in rows.columns and rows[n].drop_nulls().n_unique() > 1]
    added = [n for n in rows.columns if n not in COLUMNS and n not in ("run", "experiment")]
    shown = [n for n in SHOWN if n in rows.columns and rows[n].is_not_null().any()]
    return settings + added + shown


def _text(value: Any) -> str:
    if value is None:
        return "—"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


# --- the end of a sweep


def varied(cells: Sequence[Cell]) -> dict[str, list[str]]:
    """The axes of a sweep: key → its values, in their order, where there are two or more."""
    found: dict[str, dict[str, None]] = {}
    for cell in cells:
        for override in cell.overrides:
            key, _, value = override.partition("=")
            found.setdefault(key, {})[value] = None
    return {key: list(values) for key, values in found.items() if len(values) > 1}


def rows_of(cells: Sequence[Cell], axes: Sequence[str]) -> polars.DataFrame:
    """Rows of finished cells; an axis that rows have no column for becomes one of its last name."""
    import polars

    rows: list[dict[str, Any]] = []  # one frame of all: a frame for each takes 60 KB
    for cell in cells:
        given = dict(override.split("=", 1) for override in cell.overrides)
        added = {_column(axis): _value(given[axis]) for axis in axes if axis in given}
        added = {name: value for name, value in added.items() if name not in COLUMNS}
        added["run"] = cell.folder.name
        rows += [asdict(row) | added for row in results.read(cell.folder)]
    return polars.DataFrame(rows, infer_schema_length=None, strict=False)


def conclude(cells: Sequence[Cell], console: Console) -> None:
    """The table of a sweep, and a picture of error and size for each of its axes of numbers."""
    axes = varied(cells)
    rows = rows_of(cells, list(axes))
    show(rows, console)
    for axis in axes:
        drawn = _picture(rows, _column(axis), [_column(a) for a in axes], cells[0].folder.parent)
        if drawn is not None:
            console.print(f"picture  {drawn}", soft_wrap=True)


def _picture(rows: polars.DataFrame, column: str, axes: Sequence[str], folder: Path) -> Path | None:
    """Against one axis, the others but seeds as in the last cell; medians over what is left."""
    import polars

    from depthwright.figures.against import against, nearest
    from depthwright.figures.paper import paper

    values = rows[column]
    if column == "seed" or not values.dtype.is_numeric() or not (values > 0).all():
        return None
    others = [name for name in axes if name not in (column, "seed")]
    last = rows.row(-1, named=True)
    part = rows.filter(polars.all_horizontal([polars.col(n) == last[n] for n in others] or True))
    numbers = polars.selectors.numeric() - polars.selectors.by_name(column)
    middle = part.group_by("contender", column, maintain_order=True).agg(numbers.median())
    fixed = ", ".join(f"{name.replace('_', ' ')} {_text(last[name])}" for name in others)
    chart = against(middle, column, column.replace("_", " ") + (f" ({fixed})" if fixed else ""))
    path = folder.with_name(f"{folder.name}_against_{column}.png")  # a folder holds cells alone
    paper(chart, path, title=nearest(middle, column))
    return path


def _column(axis: str) -> str:
    return axis.rpartition(".")[2]


def _value(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else text
    return text
