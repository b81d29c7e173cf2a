"""The style of all pictures: the colour of each contender, the line of each kind of series."""

from __future__ import annotations

import cmath
import colorsys
import math
import re
import textwrap
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwright.comparison import FEATURES
from depthwright.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "target": "#222222",
    "constructed": "#0b6e99",
    "constructed_solved_ridge": "#4c956c",
    "trained_architecture": "#c8553d",
    "trained_parameters": "#e09f3e",
    "trained_width": "#6d1a36",
    "tuned": "#a3b18a",
    "random_features": "#6b705c",
    "constructed_features": "#4c956c",
    "narrow_packed": "#0b6e99",
    "narrow_bits": "#c8553d",
    "narrow_bits_paper": "#e09f3e",
    "narrow_minimal": "#6d1a36",
    "narrow_bounded": "#b56576",
    "narrow_exact": "#4c956c",
    "narrow_exact_slim": "#7a5195",
    "floor": "#222222",
}
"""Distinct in grey and with red–green blindness, for contenders that share a picture."""
OTHERS = ("#7a5195", "#4c956c", "#6b705c", "#b56576", "#3d5a80")
"""For other contenders; chosen by name, so that each is the same everywhere."""
MARKS = {
    "#222222": "triangle-up",
    "#0b6e99": "circle",
    "#c8553d": "square",
    "#e09f3e": "diamond",
    "#6d1a36": "triangle-down",
    "#4c956c": "cross",
    "#7a5195": "triangle-right",
    "#6b705c": "triangle-left",
    "#b56576": "x",
    "#3d5a80": "star",
    "#a3b18a": "pentagon",
}
"""A mark for each colour: in grey, too, one can tell who is who. What a number is, the line says
(chart.py)."""
CLAIM: dict[str, Any] = {"linestyle": (0, (4, 2)), "linewidth": 1.2}


def colour(contender: str) -> str:
    """The contender's colour in every picture; a colour (#rrggbb) stands for itself."""
    if contender.startswith("#"):
        return contender
    return COLOURS.get(contender) or OTHERS[zlib.crc32(contender.encode()) % len(OTHERS)]


def mark(colour: str) -> str:
    """The mark that goes with a colour (#rrggbb), in plotly's words.

    Any other colour has the mark of its nearest hue: pale and dark blue that of blue.
    """
    if found := MARKS.get(colour):
        return found
    hue = _hue(colour)
    return MARKS[min(MARKS, key=lambda other: abs(hue - _hue(other)))]


def _hue(colour: str) -> complex:
    """On the colour circle, whatever the lightness; 0 in the middle, without any hue."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    hue, _, saturation = colorsys.rgb_to_hls(*parts)
    return cmath.rect(1.0, 2 * math.pi * hue) if saturation else 0j


def label(contender: str, style: str | None = None) -> str:
    """`trained_parameters` → "trained, same parameters"; a style other than plain is named."""
    if contender.startswith("trained_"):
        named = f" ({style})" if style not in (None, "plain") else ""
        rule = contender.removeprefix("trained_")
        if factor := re.fullmatch(r"width_([\d.]+)x", rule):
            return f"trained, {factor[1]}× width{named}"
        return f"trained, same {rule}{named}"
    if contender.endswith(FEATURES):
        return contender.replace("_", " ")
    return contender.replace("constructed_", "").replace("_", " ")


ACROSS = 4
"""Most panels in one row."""
SIZE = (4.6, 3.7)
"""Inches of a panel without its legend: letters of 8 to 11 points are readable at half its size."""
LINE = 0.17
"""Inches of a line of 8 points."""
TITLE = 54
"""Letters of a title that fit above a panel."""
WIDE = 30
"""Letters of an entry from which on a legend has one column."""


def figure(panels: int) -> tuple[Figure, list[Axes]]:
    """One row of panels, or two equal ones; without pyplot, which has global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = _rows(panels)
    columns = -(-panels // rows)
    drawing = Figure(figsize=(SIZE[0] * columns, SIZE[1] * rows), layout="tight", dpi=158)
    FigureCanvasAgg(drawing)
    axes = [drawing.add_subplot(rows, columns, k + 1) for k in range(panels)]
    for panel in axes:
        panel.grid(visible=True, which="major", color="#dddddd", linewidth=0.6)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    return drawing, axes


def _rows(panels: int) -> int:
    return 1 if panels <= ACROSS else 2


def powers(panel: Axes) -> None:
    """Ticks of logarithmic axes as 10⁻³: letters, which are set many times faster than formulas."""
    from matplotlib.ticker import LogFormatterSciNotation

    class Letters(LogFormatterSciNotation):
        def __call__(self, x: float, pos: int | None = None) -> str:
            formula = super().__call__(x, pos).replace(r"\mathdefault", "").replace(r"\times", "×")
            text = re.sub(r"[${}]", "", formula)
            text = re.sub(r"\^(-?\d+)", lambda found: found[1].translate(RAISED), text)
            return text.removesuffix("×10⁰")

    for axis in (panel.xaxis, panel.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_formatter(Letters())
            axis.set_minor_formatter(Letters())
            axis.set_tick_params(which="minor", labelsize=8)


RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def head(drawing: Figure, title: str, colour: str = "#222222") -> None:
    """The title above all panels, in as many lines as it needs."""
    kept = title.replace(" = ", "\u00a0=\u00a0")  # never at the end of a line
    wide = TITLE * min(len(drawing.axes), ACROSS)
    drawing.suptitle(textwrap.fill(kept, wide), x=0.01, ha="left", fontsize=11, color=colour)


def below(panel: Axes) -> None:
    """The legend under the panel and the name of its axis, where it covers no data."""
    from matplotlib.transforms import ScaledTranslation

    inch = panel.get_figure(root=True).dpi_scale_trans  # type: ignore[union-attr]
    names = panel.get_legend_handles_labels()[1]
    lines = panel.get_xlabel().count("\n")
    panel.legend(
        fontsize=8,
        frameon=False,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=panel.transAxes + ScaledTranslation(0, -0.5 - LINE * lines, inch),
        ncols=1 if max(map(len, names), default=0) > WIDE else 2,
    )


def lay_out(drawing: Figure) -> None:
    """Fix where everything is, once for all files: laying out takes as long as drawing.

    The drawing becomes as high as its longest legend needs. In one round ("tight"); "constrained"
    makes two, and the pictures are the same to the eye.
    """
    from matplotlib.layout_engine import TightLayoutEngine

    if isinstance(engine := drawing.get_layout_engine(), TightLayoutEngine):
        legends = [found for panel in drawing.axes if (found := panel.get_legend())]
        longest = max((-(-len(one.get_texts()) // one._ncols) for one in legends), default=0)  # type: ignore[attr-defined]
        drawing.set_figheight(drawing.get_figheight() + LINE * longest * _rows(len(drawing.axes)))
        engine.execute(drawing)
        drawing.set_layout_engine("none")


def save(drawing: Figure, path: Path) -> Path:
    """Write the picture, whole or not at all; the suffix gives the format.

    What `savefig` does, without its trial run, which takes as long again.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    lay_out(drawing)
    path.parent.mkdir(parents=True, exist_ok=True)
    dpi = drawing.dpi
    with whole_file(path) as partial:
        if path.suffix == ".svg":
            FigureCanvasSVG(drawing).print_svg(partial)
        else:
            FigureCanvasAgg(drawing).print_png(partial)
    drawing.dpi = dpi  # that of SVG is its own
    return path
