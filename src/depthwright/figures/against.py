"""Error and size of every contender against one column of the results table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from depthwright.comparison import CONSTRUCTED
from depthwright.figures.chart import Chart, Panel, Series, series
from depthwright.figures.paper import paper
from depthwright.figures.style import label

if TYPE_CHECKING:
    import polars


def against(rows: polars.DataFrame, column: str, axis: str, *, inverse: bool = False) -> Chart:
    """Two panels over `column` (over its inverse if asked): errors, and neurons.

    L2 errors carry their 95 % intervals, the shaded band reaches from the attacked to the
    promised sup error of the construction: the truth lies in it.
    """
    errors: list[Series] = []
    sizes: list[Series] = []
    for (contender,), part in rows.group_by("contender", maintain_order=True):
        name = str(contender)
        told = label(name)

        def line(
            y: str, what: str, kind: str, of: polars.DataFrame = part, **more: object
        ) -> Series:
            return series(of, column, y, what, kind, contender=name, inverse=inverse, **more)  # type: ignore[arg-type]

        interval = ("error_l2_low", "error_l2_high")
        errors.append(line("error_l2", f"{told}: L2", "measured", interval=interval))
        errors.append(line("error_sup_attacked", f"{told}: sup, attacked", "sampled"))
        if name == CONSTRUCTED and part["error_sup_certified"].is_not_null().any():
            between = ("error_sup_attacked", "error_sup_certified")
            promised = line(
                "error_sup_certified",
                f"{told}: sup, promised",
                "promised",
                interval=between,
                band=True,
            )
            errors.append(promised)
        kind = "size" if name == CONSTRUCTED else "matched"
        sizes.append(line("parameters", f"{told}: parameters", kind))
        sizes.append(line("width", f"{told}: width", kind))
    ticks = tuple(sorted({1 / value if inverse else value for value in rows[column].to_list()}))
    return Chart(
        (
            Panel(axis, "error", tuple(errors), x_log=True, y_log=True, ticks=ticks),
            Panel(axis, "size", tuple(sizes), x_log=True, y_log=True, ticks=ticks),
        )
    )


def draw(rows: polars.DataFrame, column: str, axis: str, path: Path, *, inverse: bool) -> Path:
    """That chart, for paper."""
    paper(against(rows, column, axis, inverse=inverse), path)
    return path
