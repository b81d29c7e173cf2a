"""What a chart's data decide about its look, on paper and on the page alike."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from depthwright.figures.chart import Chart, Panel, Series
from depthwright.figures.interactive import SHAPES, interactive, legend
from depthwright.figures.paper import _draw
from depthwright.figures.style import COLOURS, MARKS, OTHERS, below, figure, lay_out, mark


def test_a_single_point_is_drawn_as_a_landmark_and_a_cloud_is_not() -> None:
    one = Series("one", (1.0,), (2.0,), "points")
    cloud = Series("cloud", (1.0, 2.0), (2.0, 3.0), "points")
    chart = Chart((Panel("x", "y", (one, cloud)),))
    marks = {t["name"]: t["marker"] for t in interactive(chart)[0]["data"]}
    assert marks["one"]["size"] > marks["cloud"]["size"]
    shown = legend(chart.panels[0])
    assert [entry["mark"] for entry in shown] == [m["symbol"] for m in marks.values()]


def test_of_single_points_one_sees_which_is_a_lower_bound() -> None:
    drawn = tuple(Series(kind, (1.0,), (2.0,), kind, "tuned") for kind in ("measured", "sampled"))  # type: ignore[arg-type]
    panel = Panel("x", "y", drawn)
    assert [entry["hollow"] for entry in legend(panel)] == ["", "1"]
    symbols = [trace["marker"]["symbol"] for trace in interactive(Chart((panel,)))[0]["data"]]
    assert symbols == ["pentagon", "pentagon-open"]
    axes = figure(1)[1][0]
    for one in drawn:
        _draw(axes, one)
    assert [line.get_markerfacecolor() for line in axes.lines] == [drawn[0].colour, "none"]


def test_the_legend_shows_points_as_points_and_dashes_as_dashes() -> None:
    kinds = ("points", "promised", "measured")
    drawn = tuple(Series(kind, (1.0, 2.0), (2.0, 3.0), kind, "constructed") for kind in kinds)  # type: ignore[arg-type]
    looks = [(entry["dash"], entry["mark"]) for entry in legend(Panel("x", "y", drawn))]
    assert looks == [("none", "circle"), ("7 4", ""), ("0", "circle")]


def test_contenders_of_two_colours_have_two_marks_on_the_page_and_on_paper() -> None:
    assert len(MARKS) == len(set(MARKS.values()))
    assert {*COLOURS.values(), *OTHERS} <= MARKS.keys()
    assert set(MARKS.values()) == SHAPES.keys()
    drawn = tuple(
        Series(who, (1.0, 2.0), (2.0, 3.0), "measured", who) for who in ("constructed", "tuned")
    )
    chart = Chart((Panel("x", "y", drawn),))
    on_page = [trace["marker"]["symbol"] for trace in interactive(chart)[0]["data"]]
    assert on_page == [entry["mark"] for entry in legend(chart.panels[0])] == ["circle", "pentagon"]
    axes = figure(1)[1][0]
    for one in drawn:
        _draw(axes, one)
    assert [line.get_marker() for line in axes.lines] == ["o", "p"]


@pytest.mark.parametrize(
    ("shade", "of"),
    [
        *(("#86b9d1", "#0b6e99"), ("#08405a", "#0b6e99"), ("#e6a99c", "#c8553d")),
        *(("#b4b8a8", "#6b705c"), ("#b97f92", "#6d1a36"), ("#a9d3bb", "#4c956c")),
        *(("#999999", "#222222"), ("#ffffff", "#222222")),
        ("#c80003", "#c8553d"),  # their hues are 359° and 10°: the circle closes
    ],
)
def test_pale_and_dark_shades_have_the_mark_of_their_colour(shade: str, of: str) -> None:
    assert mark(shade) == MARKS[of]


@pytest.mark.parametrize("lowest", [1e-3, 1e-20, 1e-150])
def test_a_logarithmic_axis_has_ticks_that_can_be_read(lowest: float) -> None:
    drawn = (Series("a", (1.0, 2.0), (lowest, 1.0)),)
    axis = interactive(Chart((Panel("x", "y", drawn, y_log=True),)))[0]["layout"]["yaxis"]
    assert 3 <= -math.log10(lowest) / axis["dtick"] < 10
    assert axis["dtick"] == int(axis["dtick"]), "powers of ten"


def test_lines_that_cannot_be_drawn_are_left_out_and_lose_no_page() -> None:
    lines = (("nothing", 0.0), ("unknown", math.nan), ("half", 0.5))
    panel = Panel("x", "y", (Series("a", (1.0, 2.0), (0.2, 1.0)),), y_log=True, lines=lines)
    stored = Chart.from_json(json.loads(json.dumps(Chart((panel,)).to_json(), allow_nan=False)))
    assert [name for name, _ in stored.panels[0].lines] == ["nothing", "half"]
    layout = interactive(stored)[0]["layout"]
    assert [note["text"] for note in layout["annotations"]] == ["half"]


def test_less_than_a_decade_keeps_its_inner_ticks() -> None:
    drawn = (Series("a", (1.0, 2.0), (0.2, 1.0)),)
    axis = interactive(Chart((Panel("x", "y", drawn, y_log=True),)))[0]["layout"]["yaxis"]
    assert "dtick" not in axis


def test_a_chart_of_two_places_says_that_it_shows_nothing() -> None:
    def chart(places: int) -> Chart:
        x = tuple(map(float, range(places)))
        return Chart((Panel("x", "y", (Series("a", x, x),)), Panel("x", "y", (Series("b", x, x),))))

    assert [chart(places).thin for places in (1, 2, 3)] == [True, True, False]
    assert not Chart((*chart(2).panels, *chart(3).panels)).thin


@pytest.mark.parametrize(
    ("series", "thin"),
    [
        ([((1.0, 1.1, 0.9), (1.0, 2.0, 3.0))], False),
        ([((0.9,), (1.0,)), ((1.0,), (1.0,)), ((1.1,), (1.0,))], True),  # one place, side by side
        ([((1.0, 1.0, 1.0, 2.0), (1.0, 2.0, 3.0, 4.0))], True),
        ([((1.0, 2.0, 3.0), (1.0, None, 3.0))], True),
        ([((1.0, 2.0), (1.0, 2.0)), ((3.0, 4.0), (1.0, 2.0))], True),
    ],
)
def test_points_count_line_by_line(series: list[tuple[Any, Any]], thin: bool) -> None:
    drawn = tuple(Series(str(k), x, y, "points") for k, (x, y) in enumerate(series))
    assert Chart((Panel("x", "y", drawn),)).thin is thin


def test_a_drawing_is_as_high_as_its_legend_needs_and_grows_once() -> None:
    def height(entries: int) -> float:
        drawing, (axes,) = figure(1)
        for k in range(entries):
            axes.plot([0, 1], [0, 1], label=f"an entry of more than thirty letters, {k}")
        below(axes)
        lay_out(drawing)
        first = drawing.get_figheight()
        lay_out(drawing)
        assert drawing.get_figheight() == first
        assert axes.get_window_extent().height / drawing.dpi > 2.0
        return first

    assert height(12) > height(2) + 1.0
