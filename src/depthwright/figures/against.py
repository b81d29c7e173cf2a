"""Error and size of every contender against one column of the results table."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from depthwright.comparison import CONSTRUCTED
from depthwright.figures.chart import Chart, Kind, Panel, Series, series
from depthwright.figures.style import label

if TYPE_CHECKING:
    import polars

INTERVAL = ("error_l2_low", "error_l2_high")
BAND = ("error_sup_attacked", "error_sup_certified")


def against(rows: polars.DataFrame, column: str, axis: str) -> Chart:
    """Three panels over `column`: errors, parameters, and widths.

    L2 errors carry their 95 % intervals, the shaded band reaches from the attacked to the
    claimed sup error of the construction: the true sup error lies in it.
    """
    errors: list[Series] = []
    sizes: list[Series] = []
    widths: list[Series] = []
    for (contender,), part in rows.group_by("contender", maintain_order=True):
        name = str(contender)
        line = partial(_line, part, column, name)
        errors.append(line("error_l2", "L2", "measured", interval=INTERVAL))
        errors.append(line("error_sup_attacked", "largest found", "sampled"))
        if name == CONSTRUCTED and part["error_sup_certified"].is_not_null().any():
            errors.append(
                line("error_sup_certified", "promised", "promised", interval=BAND, band=True)
            )
        kind: Kind = "size" if name == CONSTRUCTED else "matched"
        sizes.append(line("parameters", "parameters", kind))
        widths.append(line("width", "width", kind))
    ticks = tuple(sorted(set(rows[column].to_list())))
    return Chart(
        (
            Panel(axis, "error", tuple(errors), x_log=True, y_log=True, ticks=ticks),
            Panel(axis, "parameters", tuple(sizes), x_log=True, y_log=True, ticks=ticks),
            Panel(axis, "width, neurons", tuple(widths), x_log=True, y_log=True, ticks=ticks),
        )
    )


def nearest(rows: polars.DataFrame, column: str) -> str:
    """Who errs least where the column is smallest and where it is largest: a title."""
    told = []
    values: list[float] = rows[column].sort().to_list()
    for end in (values[0], values[-1]):
        best = rows.filter(rows[column] == end).sort("error_l2").row(0, named=True)
        told.append(f"at {end:g} {label(best['contender'])} ({best['error_l2']:.3g})")
    return f"The smallest L2 error by {column.replace('_', ' ')}: {', '.join(told)}"


def _line(
    part: polars.DataFrame,
    column: str,
    contender: str,
    y: str,
    what: str,
    kind: Kind,
    interval: tuple[str, str] | None = None,
    band: bool = False,
) -> Series:
    name = f"{label(contender)}: {what}"
    return series(part, column, y, name, kind, contender=contender, interval=interval, band=band)
