"""What a chart's data decide about its look, on paper and on the page alike."""

from __future__ import annotations

import json
import math

import pytest

from depthwright.figures.chart import Chart, Panel, Series
from depthwright.figures.interactive import SHAPES, interactive, legend
from depthwright.figures.paper import _draw
from depthwright.figures.style import COLOURS, MARKS, OTHERS, figure


def test_a_single_point_is_drawn_as_a_landmark_and_a_cloud_is_not() -> None:
    one = Series("one", (1.0,), (2.0,), "points")
    cloud = Series("cloud", (1.0, 2.0), (2.0, 3.0), "points")
    chart = Chart((Panel("x", "y", (one, cloud)),))
    marks = {t["name"]: t["marker"] for t in interactive(chart)[0]["data"]}
    assert marks["one"]["size"] > marks["cloud"]["size"]
    assert [entry["mark"] for entry in legend(chart)] == [m["symbol"] for m in marks.values()]


def test_the_legend_shows_points_as_points_and_dashes_as_dashes() -> None:
    kinds = ("points", "promised", "measured")
    drawn = tuple(Series(kind, (1.0, 2.0), (2.0, 3.0), kind, "constructed") for kind in kinds)  # type: ignore[arg-type]
    chart = Chart((Panel("x", "y", drawn),))
    looks = [(entry["dash"], entry["mark"]) for entry in legend(chart)]
    assert looks == [("none", "circle"), ("7 4", ""), ("0", "circle")]


def test_contenders_of_two_colours_have_two_marks_on_the_page_and_on_paper() -> None:
    full = [
        mark for colour, mark in MARKS.items() if colour not in ("#86b9d1", "#e6a99c", "#f0c98f")
    ]
    assert len(full) == len(set(full))
    assert {*COLOURS.values(), *OTHERS} <= MARKS.keys()
    assert set(MARKS.values()) == SHAPES.keys()
    drawn = tuple(
        Series(who, (1.0, 2.0), (2.0, 3.0), "measured", who) for who in ("constructed", "tuned")
    )
    chart = Chart((Panel("x", "y", drawn),))
    on_page = [trace["marker"]["symbol"] for trace in interactive(chart)[0]["data"]]
    assert on_page == [entry["mark"] for entry in legend(chart)] == ["circle", "pentagon"]
    axes = figure(1)[1][0]
    for one in drawn:
        _draw(axes, one)
    assert [line.get_marker() for line in axes.lines] == ["o", "p"]


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
