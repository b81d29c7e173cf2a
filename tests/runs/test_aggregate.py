"""The aggregate run of an experiment, read back from disk."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from damage import HARMS
from depthwright import results
from depthwright.results import COLUMNS
from depthwright.runs.aggregate import FOLDER, aggregate, alike, finished_cells, series
from depthwright.runs.config import CONFIG
from depthwright.tracking import LoggerConfig, Renewal
from rows_by_hand import cell
from wandb_files import read_back

OFFLINE = LoggerConfig()


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    cells = {"a": cell(2, 0.5, 1.0), "b": cell(2, 0.25, 3.0), "c": cell(3, 0.25, 4.0)}
    for name, rows in cells.items():
        results.write(tmp_path / "mine" / name, rows)
    (tmp_path / "mine" / "unfinished").mkdir()
    return tmp_path / "mine"


def test_series_are_medians_by_place() -> None:
    cells = [cell(2, 0.5, 1.0), cell(2, 0.25, 3.0), cell(3, 0.25, 4.0)]
    along = series(cells, "input_dim")
    assert along["constructed/error_l2"] == [(2.0, 2.0), (3.0, 4.0)]
    assert along["trained_width/size_ratio"] == [(2.0, 2.0), (3.0, 2.0)]
    assert "trained_width/error_promised" not in along
    assert series(cells, "inverse_accuracy")["trained_width/error_l2"] == [(2.0, 2.0), (4.0, 7.0)]


def test_cells_of_other_code_are_not_mixed_in(experiment: Path) -> None:
    for name, code in (("a", "new"), ("b", "new"), ("c", "old")):
        rows = [dataclasses.replace(row, code=code) for row in results.read(experiment / name)]
        results.write(experiment / name, rows)
    cells = finished_cells(experiment)
    newest = max(cells, key=lambda cell: cell.when)
    assert {c.rows[0].code for c in alike(cells)} == {newest.rows[0].code} != {"new", "old"}
    assert len(cells) == 3


@pytest.mark.slow
def test_the_run_holds_the_rows_the_charts_and_the_curves(experiment: Path) -> None:
    assert aggregate(experiment, OFFLINE) == Renewal.WRITTEN
    state, history = read_back(experiment)
    assert state["run_id"] == "mine-aggregate"
    assert state["config"]["units"]["build_seconds"] == "s"
    assert (state["summary"]["rows"], state["summary"]["cells"]) == (6, 3)
    (kept,) = (experiment / FOLDER).glob("wandb/offline-run-*")
    (table,) = kept.rglob("rows_*.table.json")
    stored = json.loads(table.read_text())
    assert stored["columns"] == list(COLUMNS)
    assert [row[0] for row in stored["data"]] == 3 * ["constructed", "trained_width"]
    for axis, places in (("input_dim", [2.0, 3.0]), ("inverse_accuracy", [2.0, 4.0])):
        curve = [p for p in history if f"{axis}/{axis}" in p]
        assert [p[f"{axis}/{axis}"] for p in curve] == places
        (chart,) = kept.rglob(f"error_against_{axis}_table_*.table.json")
        keys = {row[1] for row in json.loads(chart.read_text())["data"]}
        assert "constructed/error_promised" in keys
        assert "trained_width/error_promised" not in keys
    assert [p["input_dim/constructed/error_l2"] for p in history if "input_dim/input_dim" in p] == [
        2.0,
        4.0,
    ]


@pytest.mark.slow
def test_it_is_written_again_only_when_a_row_has_changed(experiment: Path) -> None:
    assert aggregate(experiment, OFFLINE) == Renewal.WRITTEN
    assert aggregate(experiment, OFFLINE) == Renewal.UNCHANGED
    results.write(experiment / "c", cell(3, 0.25, 4.5))
    assert aggregate(experiment, OFFLINE) == Renewal.WRITTEN
    assert len(list((experiment / FOLDER).glob("wandb/offline-run-*"))) == 1, "in its place"
    assert aggregate(experiment, LoggerConfig(mode="none")) == Renewal.UNCHANGED


@pytest.mark.slow
def test_cells_of_another_version_are_left_out_and_said(experiment: Path) -> None:
    (experiment / "a" / results.RESULTS).write_text('[{"contender": "constructed"}]')
    with pytest.warns(UserWarning, match="left out of the aggregate"):
        assert aggregate(experiment, OFFLINE) == Renewal.WRITTEN
    assert read_back(experiment)[0]["summary"]["cells"] == 2


@pytest.mark.slow
def test_lines_hold_the_settings_of_the_newest_cell_and_the_table_all(experiment: Path) -> None:
    """A cell of shorter training at a place of another one's, finished before it."""
    config = {"accuracy": 0.5, "seed": 0, "target": {"name": "cone", "input_dim": 2}}
    config |= {"output": "here", "logger": {}, "trainer": {"progress": True, "threads": 1}}
    for k, (name, steps) in enumerate({"a": 100, "b": 2000, "c": 2000}.items()):
        training = {"steps": steps, "checkpoint_seconds": 20.0}
        own = config | {"training": training, "seed": k, "output": name}
        (experiment / name / CONFIG).write_text(yaml.safe_dump(own))
        os.utime(experiment / name / results.RESULTS, (k, k))
    found = finished_cells(experiment)
    assert [cell.rows[0].error_l2 for cell in alike(found)] == [3.0, 4.0]
    assert aggregate(experiment, OFFLINE) == Renewal.WRITTEN
    state, history = read_back(experiment)
    assert (state["summary"]["cells"], state["summary"]["cells_drawn"]) == (3, 2)
    drawn = [p["input_dim/constructed/error_l2"] for p in history if "input_dim/input_dim" in p]
    assert drawn == [3.0, 4.0]


BOMB = "a: &a [x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}]\n" for a, b in pairwise("abcdefghijkl")
)


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS.keys())
@pytest.mark.filterwarnings("ignore:left out of the aggregate")
def test_a_damaged_cell_is_left_out_and_a_damaged_config_is_none(
    experiment: Path, harm: Callable[[Path], None]
) -> None:
    (experiment / "b" / CONFIG).write_text("accuracy: 0.5\ntraining: {steps: 7}\n")
    harm(experiment / "a" / results.RESULTS)
    harm(experiment / "b" / CONFIG)
    found = finished_cells(experiment)
    assert [cell.rows[0].error_l2 for cell in found] == [3.0, 4.0]


def test_a_config_of_a_few_lines_does_not_grow_to_gigabytes(experiment: Path) -> None:
    (experiment / "b" / CONFIG).write_text(BOMB)
    known, bomb, none = finished_cells(experiment)
    assert known.settings == bomb.settings == none.settings


@pytest.mark.parametrize("wrong", [{"parameters": "many"}, {"accuracy": [1]}, {"contender": 7}])
def test_words_for_numbers_are_left_out_and_said(experiment: Path, wrong: dict[str, Any]) -> None:
    path = experiment / "a" / results.RESULTS
    path.write_text(json.dumps([row | wrong for row in json.loads(path.read_text())]))
    with pytest.warns(UserWarning, match=f"left out of the aggregate: {path}"):
        assert len(finished_cells(experiment)) == 2


@pytest.mark.parametrize("harm", ["binary", "pipe"])
def test_whatever_is_in_its_place_nothing_is_raised(experiment: Path, harm: str) -> None:
    HARMS[harm](experiment / FOLDER)
    with pytest.warns(UserWarning, match="no aggregate of"):
        assert aggregate(experiment, OFFLINE) == Renewal.FAILED
