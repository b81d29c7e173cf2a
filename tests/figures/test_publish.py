"""The W&B run of a figure, read back from disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars
import pytest

from command_line import HANGS
from depthwright.figures.chart import Chart, Panel, Series
from depthwright.figures.publish import publish
from depthwright.figures.record import Record, write
from depthwright.refusal import Refusal
from depthwright.tracking import LoggerConfig, Renewal
from wandb_files import read_back

ROWS = polars.DataFrame({"d": [2, 3], "note": ["a", None], "error": [0.5, 0.25]})
OFFLINE = LoggerConfig()


def figure(folder: Path, sentence: str = "Half, then a quarter.") -> None:
    drawn = Series("error", (2.0, None, 3.0), (0.5, 0.1, 0.25))
    chart = Chart((Panel("d", "error", (drawn,)),))
    write(
        Record("mine", "A title", "", "smoke", "python mine.py", sentence, chart=chart),
        ROWS,
        folder,
    )


@pytest.mark.slow
def test_the_run_holds_rows_lines_picture_and_sentence(tmp_path: Path) -> None:
    figure(tmp_path)
    assert publish(tmp_path, OFFLINE) == Renewal.WRITTEN
    state, _ = read_back(tmp_path)
    assert state["run_id"] == "mine-smoke-figure"
    assert state["summary"]["sentence"] == "Half, then a quarter."
    assert (state["summary"]["rows"], state["summary"]["broken"]) == (2, 0)
    (table,) = tmp_path.rglob("rows_*.table.json")
    stored = json.loads(table.read_text())
    assert stored["columns"] == ROWS.columns
    assert stored["data"] == [list(row) for row in ROWS.rows()]
    (lines,) = tmp_path.rglob("panel_1_table_*.table.json")
    assert json.loads(lines.read_text())["data"] == [[2.0, "error", 0.5], [3.0, "error", 0.25]]
    (picture,) = tmp_path.rglob("picture_*.png")
    assert picture.read_bytes() == (tmp_path / "mine.png").read_bytes()


@pytest.mark.slow
def test_it_is_written_again_only_when_the_figure_has_changed(tmp_path: Path) -> None:
    figure(tmp_path)
    assert publish(tmp_path, OFFLINE) == Renewal.WRITTEN
    assert publish(tmp_path, OFFLINE) == Renewal.UNCHANGED
    figure(tmp_path, "Another sentence.")
    assert publish(tmp_path, OFFLINE) == Renewal.WRITTEN
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 1, "in its place"
    assert publish(tmp_path, LoggerConfig(mode="none")) == Renewal.UNCHANGED


ONE = """
import sys
from pathlib import Path
from depthwright.figures.publish import publish
from depthwright.tracking import LoggerConfig, Renewal
print(publish(Path(sys.argv[1]), LoggerConfig()))
"""


@pytest.mark.slow
def test_of_several_at_once_one_writes_and_the_others_find_it_written(tmp_path: Path) -> None:
    figure(tmp_path)
    command = [sys.executable, "-c", ONE, str(tmp_path)]
    several = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = [process.communicate(timeout=HANGS)[0] for process in several]
    assert sorted(told) == ["unchanged\n", "unchanged\n", "written\n"]
    assert read_back(tmp_path)[0]["summary"]["rows"] == 2


def test_a_folder_without_a_figure_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="run the experiment"):
        publish(tmp_path, OFFLINE)
