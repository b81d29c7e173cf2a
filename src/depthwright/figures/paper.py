"""A chart for paper: matplotlib, PNG and SVG."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwright.figures.chart import THIN, Chart, Kind, Numbers, Panel, Series, tick_text
from depthwright.figures.style import CLAIM, TITLE, below, figure, head, lay_out, powers, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOKS: dict[Kind, dict[str, Any]] = {
    "measured": {"markersize": 5},
    "sampled": {"markersize": 5, "linestyle": ":"},
    "promised": CLAIM,
    "floor": {"markersize": 4, "linestyle": "-.", "linewidth": 1.0},
    "size": {"markersize": 4.5, "linewidth": 1.1},
    "matched": {"markersize": 7, "linestyle": ":"},
    "points": {"markersize": 5, "linestyle": "none", "alpha": 0.75},
    "target": {"linewidth": 2.6, "alpha": 0.35},
    "line": {"linewidth": 1.2},
    "stems": {"markersize": 5, "linestyle": "none"},
}
MARKS = {
    **{"": "", "circle": "o", "square": "s", "diamond": "D", "cross": "P", "x": "X"},
    **{"triangle-up": "^", "triangle-down": "v", "triangle-left": "<", "triangle-right": ">"},
    **{"star": "*", "pentagon": "p"},
}
"""From the words of style.py to matplotlib's."""
LABEL = 32
"""Characters of an upright label that fit beside its panel."""
LANDMARK = {"markersize": 9, "linestyle": "none", "zorder": 5}


def paper(chart: Chart, *paths: Path, title: str = "") -> None:
    """Draw the chart into every path; the suffix gives the format."""
    drawing, axes = figure(len(chart.panels))
    for at, panel in zip(axes, chart.panels, strict=True):
        _panel(at, panel)
    if chart.thin:
        head(drawing, ". ".join(filter(None, [title, f"{THIN}."])), "#a4302a")
    elif title:
        head(drawing, title)
    lay_out(drawing)
    for path in paths:
        save(drawing, path)


def _panel(at: Axes, panel: Panel) -> None:
    at.set(xlabel=textwrap.fill(panel.x, TITLE), ylabel=textwrap.fill(panel.y, LABEL))
    at.set(xscale="log" if panel.x_log else "linear", yscale="log" if panel.y_log else "linear")
    powers(at)
    for one in panel.series:
        _draw(at, one)
    for name, height in panel.lines:
        at.axhline(height, color="#222222", linewidth=0.8, label=name)
    if panel.ticks:
        at.set_xticks(panel.ticks, [tick_text(tick) for tick in panel.ticks])
        at.xaxis.minorticks_off()
    if panel.x_range:
        at.set_xlim(*panel.x_range)
    if panel.title:
        at.set_title(panel.title, loc="left", fontsize=10)
    below(at)


def _draw(at: Axes, one: Series) -> None:
    x, y = _array(one.x), _array(one.y)
    own: dict[str, Any] = {"color": one.colour}
    if one.low is not None and one.high is not None:
        low, high = _array(one.low), _array(one.high)
        if one.band:
            at.fill_between(x, low, high, alpha=0.12, linewidth=0, **own)
        else:
            down = [max(b - a, 0.0) for a, b in zip(low, y, strict=True)]
            up = [max(b - a, 0.0) for a, b in zip(y, high, strict=True)]
            at.errorbar(x, y, yerr=[down, up], fmt="none", elinewidth=0.9, capsize=2, **own)
    if one.kind == "stems":
        at.vlines(x, 0.0, y, linewidth=1.0, **own)
    style = {"marker": MARKS[one.mark], **(LANDMARK if one.landmark else LOOKS[one.kind])}
    if one.hollow:
        style = {**style, "markerfacecolor": "none"}
    if len(x) == 1 and not style["marker"]:
        style = {**style, "marker": "_", "markersize": 14}  # a line of one point is invisible
    at.plot(x, y, label=one.name, **own, **style)


def _array(values: Numbers | Iterable[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]
