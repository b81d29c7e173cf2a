"""A chart for the page: one plotly figure per panel, as plain JSON; the legend is the page's own.

Plotly's Python package only lends its script; the figures are written as the data it reads.
"""

from __future__ import annotations

import math
import textwrap
from typing import Any

from depthwright.figures.chart import Chart, Kind, Numbers, Panel, Series, tick_text

DASHES: dict[Kind, str] = {
    "sampled": "dot",
    "promised": "dash",
    "floor": "dashdot",
    "matched": "dot",
}
SWATCHES = {"solid": "0", "dot": "2 3", "dash": "7 4", "dashdot": "7 3 2 3"}
"""The dashes of a legend's line, as SVG writes them."""
SHAPES = {
    "circle": "M12.5 6a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z",
    "square": "M13 3h6v6h-6z",
    "diamond": "M16 1.5l4.5 4.5l-4.5 4.5l-4.5-4.5z",
    "triangle-up": "M12 10h8l-4-7z",
    "triangle-down": "M12 3h8l-4 7z",
    "triangle-left": "M20 2v8l-7-4z",
    "triangle-right": "M12 2v8l7-4z",
    "cross": "M14.7 2h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7z",
    "x": "M13 4.5l1.5-1.5l1.5 1.5l1.5-1.5l1.5 1.5l-1.5 1.5l1.5 1.5l-1.5 1.5l-1.5-1.5l-1.5 1.5"
    "l-1.5-1.5l1.5-1.5z",
    "star": "M16 1.5l1.3 3.2h3.4l-2.7 2.1l1 3.4l-3-2l-3 2l1-3.4l-2.7-2.1h3.4z",
    "pentagon": "M16 2l4 3l-1.5 4.7h-5l-1.5-4.7z",
}
"""The marks of style.py as SVG paths in the middle of a legend's swatch, which is 32 × 12."""
ALONE: tuple[Kind, ...] = ("points", "stems")
"""Kinds whose marks are not joined."""
LANDMARK = 12
"""Size of a single point's mark."""
FONT = {"family": "system-ui, sans-serif", "size": 13, "color": "#333333"}
GRID = "#e6e6e6"
MOST_TICKS = 9
"""Most ticks of a logarithmic axis."""
LEAST_DECADES = 1.5
"""From this many decades on, a logarithmic axis has ticks at powers of ten alone."""


def interactive(chart: Chart) -> list[dict[str, Any]]:
    """Per panel {"data": traces, "layout": layout, "legend": its entries}."""
    return [_panel(panel) | {"legend": legend(panel)} for panel in chart.panels]


def widget(panel: Panel) -> Any:
    """A panel by itself, its legend below it: a plotly figure, for notebooks."""
    from plotly.graph_objects import Figure

    drawn = _panel(panel)
    drawn["data"] = [
        trace | {"showlegend": trace.get("hoverinfo") != "skip"} for trace in drawn["data"]
    ]
    below = {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top", "font": {"size": 12}}
    drawn["layout"] |= {"showlegend": True, "legend": below, "height": 360, "autosize": True}
    return Figure(drawn)


def legend(panel: Panel) -> list[dict[str, str]]:
    """The entries of a panel's legend, each name once: name, colour, dashes and mark of its line.

    `dash` is an SVG dash array, "none" for marks alone; `mark` a name of SHAPES, or "".
    """
    found: dict[str, dict[str, str]] = {}
    for one in panel.series:
        alone = _mode(one) == "markers"
        look = {
            "dash": "none" if alone else SWATCHES[DASHES.get(one.kind, "solid")],
            "mark": one.mark,
            "shape": SHAPES.get(one.mark, ""),
            "hollow": "1" if one.hollow else "",
            "width": "5" if one.kind == "target" else "1.8",
        }
        found.setdefault(one.name, {"name": one.name, "colour": one.colour, **look})
    return list(found.values())


def _panel(panel: Panel) -> dict[str, Any]:
    traces = [trace for one in panel.series for trace in _traces(one)]
    layout: dict[str, Any] = {
        "showlegend": False,
        "font": FONT,
        "margin": {"l": 64, "r": 14, "t": 34 if panel.title else 12, "b": 52},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#c4c4c4", "activecolor": "#666666"},
        "xaxis": _axis(panel.x, panel.x_log, [v for one in panel.series for v in one.x]),
        "yaxis": _axis(panel.y, panel.y_log, [v for one in panel.series for v in one.y]),
    }
    if panel.ticks:
        layout["xaxis"] |= {
            "tickmode": "array",
            "tickvals": list(panel.ticks),
            "ticktext": [tick_text(tick) for tick in panel.ticks],
        }
    if panel.x_range:
        layout["xaxis"]["range"] = list(panel.x_range)
    if panel.title:
        layout["title"] = {"text": panel.title, "font": {"size": 13}, "x": 0, "xref": "paper"}
    lines = [(name, y) for name, y in panel.lines if y > 0 or not panel.y_log]
    layout["shapes"] = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "line": {"width": 1}}
        for _, y in lines
    ]
    layout["annotations"] = [
        {
            "text": name,
            "xref": "paper",
            "x": 0.01,
            "xanchor": "left",
            "yref": "y",
            "y": _position(y, panel.y_log),
            "yanchor": "bottom",
            "showarrow": False,
            "font": {"size": 11},
        }
        for name, y in lines
    ]
    return {"data": traces, "layout": layout}


def _position(y: float, log: bool) -> float:
    """Position of an annotation: plotly expects the logarithm on a logarithmic axis."""
    return math.log10(y) if log else y


def _axis(title: str, log: bool, values: list[float | None]) -> dict[str, Any]:
    positive = [math.log10(value) for value in values if value is not None and value > 0]
    decades = max(positive) - min(positive) if log and positive else 0.0
    return {
        "title": {"text": "<br>".join(textwrap.wrap(title, 38)), "standoff": 8},
        "type": "log" if log else "linear",
        "gridcolor": GRID,
        "zeroline": False,
        "linecolor": "#999999",
        "ticks": "outside",
        "tickcolor": "#999999",
        "automargin": True,
        "exponentformat": "power",
        # Powers of ten alone, as many as are readable.
        **({"dtick": math.ceil(decades / MOST_TICKS)} if decades > LEAST_DECADES else {}),
    }


def _traces(one: Series) -> list[dict[str, Any]]:
    """The line, and its band drawn below it."""
    mark = {"size": LANDMARK if one.landmark else 6, "symbol": one.mark or "line-ew-open"}
    if one.hollow:
        mark = {"size": 9, "symbol": f"{one.mark}-open"}
    hover = f"<b>{one.name}</b><br>%{{x:.6~g}}, %{{y:.6~g}}"
    line: dict[str, Any] = {
        "type": "scatter",
        "name": one.name,
        "x": list(one.x),
        "y": list(one.y),
        "mode": _mode(one),
        "line": {
            "color": one.colour,
            "width": 5 if one.kind == "target" else 1.6,
            "dash": DASHES.get(one.kind, "solid"),
        },
        "marker": {"color": one.colour} | mark,
        "opacity": 0.4 if one.kind == "target" else 1,
        "hovertemplate": hover + ("<br>%{text}" if one.notes else "") + "<extra></extra>",
    }
    if one.notes:
        line["text"] = list(one.notes)
    if one.kind == "stems":
        nothing = (0.0,) * len(one.y)
        line["error_y"] = _bars(one, nothing, nothing) | {"width": 0, "thickness": 1.5}
        return [line]
    if one.low is None or one.high is None:
        return [line]
    if not one.band:
        line["error_y"] = _bars(one, one.low, one.high)
        return [line]
    edge: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "line": {"width": 0},
        "hoverinfo": "skip",
    }
    edge |= {"name": one.name, "x": list(one.x)}
    return [
        {**edge, "y": list(one.low)},
        {**edge, "y": list(one.high), "fill": "tonexty", "fillcolor": one.colour + "1f"},
        line,
    ]


def _bars(one: Series, low: Numbers, high: Numbers) -> dict[str, Any]:
    """From every y down to `low` and up to `high`, where these lie below and above it."""
    return {
        "type": "data",
        "symmetric": False,
        "array": _gaps(one.y, high),
        "arrayminus": _gaps(low, one.y),
        "thickness": 1,
        "width": 3,
        "color": one.colour,
    }


def _gaps(low: tuple[float | None, ...], high: tuple[float | None, ...]) -> list[float | None]:
    return [
        None if a is None or b is None else max(b - a, 0.0) for a, b in zip(low, high, strict=True)
    ]


def _mode(one: Series) -> str:
    """A line of one point would be invisible, so it is drawn as a marker."""
    if one.kind in ALONE or len(one.x) == 1:
        return "markers"
    return "lines+markers" if one.mark else "lines"
