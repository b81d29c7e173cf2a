"""The table of a sweep, on screen and in files, and the pictures at a sweep's end."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import polars
import pytest
from rich.console import Console

import depthwright as dw
from depthwright.refusal import Refusal
from depthwright.results import COLUMNS, UNITS, write, write_rows
from depthwright.runs.store import Cell
from depthwright.runs.table import conclude, rows_of, table, varied
from rows_by_hand import cell


@pytest.fixture
def cells(tmp_path: Path) -> list[Cell]:
    """Two dimensions × two accuracies × two seeds; the errors are 1, 2, …, 8."""
    made = []
    for number in range(8):
        d, accuracy, seed = 2 + number // 4, (0.5, 0.25)[number // 2 % 2], number % 2
        folder = tmp_path / "mine" / f"mine-{number}"
        write(folder, [replace(row, seed=seed) for row in cell(d, accuracy, number + 1.0)])
        made.append(
            Cell((f"target.input_dim={d}", f"accuracy={accuracy}", f"seed={seed}", "x=1"), folder)
        )
    return made


def test_files_hold_every_row_and_column_and_the_screen_what_differs(
    cells: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv, parquet = tmp_path / "out/rows.csv", tmp_path / "rows.parquet"
    table([str(tmp_path / "mine"), "--csv", str(csv), "--parquet", str(parquet)])
    rows = polars.read_parquet(parquet)
    assert rows.columns == ["run", *COLUMNS]
    assert rows["run"].to_list()[::2] == [each.folder.name for each in cells]
    assert rows["error_l2"].to_list()[::2] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert polars.read_csv(csv).shape == rows.shape == (16, len(COLUMNS) + 1)
    printed = capsys.readouterr().out
    head = next(line for line in printed.splitlines() if "contender" in line)
    assert "input dim" in head
    assert "distribution" not in head  # the same everywhere
    assert "16 rows of 8 runs" in printed
    assert rows.equals(dw.results.rows_below(tmp_path / "mine"))


def test_rows_of_figures_are_shown_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path / "cells/a", [{"n": 3, "speed": 1.5}])
    write_rows(tmp_path / "cells/b", [{"n": 30_000, "speed": 2, "note": "warm"}])
    table([str(tmp_path)])
    printed = capsys.readouterr().out
    assert "30,000" in printed
    assert "warm" in printed
    assert "2 rows of 2 runs" in printed


def test_folders_without_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="holds no finished run"):
        table([str(tmp_path)])
    with pytest.raises(Refusal, match="is no folder"):
        table([str(tmp_path / "nothing")])


def test_axes_are_what_differs_between_cells_and_unknown_ones_become_columns(
    cells: list[Cell],
) -> None:
    assert varied(cells) == {
        "target.input_dim": ["2", "3"],
        "accuracy": ["0.5", "0.25"],
        "seed": ["0", "1"],
    }
    given = [replace(c, overrides=(f"training.steps={n}",)) for n, c in enumerate(cells, 10)]
    rows = rows_of(given, ["training.steps"])
    assert rows["steps"].to_list()[::2] == list(range(10, 18))


def test_a_sweep_ends_with_its_table_and_a_picture_for_each_axis(
    cells: list[Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    from depthwright.figures import paper

    drawn, titles = {}, {}

    def keep(chart: object, path: Path, title: str) -> None:
        drawn[path.name], titles[path.name] = chart, title

    monkeypatch.setattr(paper, "paper", keep)
    printed = io.StringIO()
    conclude(cells, Console(file=printed, markup=False))
    assert set(drawn) == {"mine_against_input_dim.png", "mine_against_accuracy.png"}
    # Medians over seeds, at the accuracy of the last cell: errors 3, 4 and 7, 8.
    errors = drawn["mine_against_input_dim.png"].panels[0]  # type: ignore[attr-defined]
    assert errors.x == "input dim (accuracy 0.25)"
    assert (errors.series[0].x, errors.series[0].y) == ((2.0, 3.0), (3.5, 7.5))
    assert titles["mine_against_input_dim.png"] == (
        "The smallest L2 error by input dim: at 2 constructed (3.5), at 3 constructed (7.5)"
    )
    assert "mine_against_accuracy.png" in printed.getvalue()


def test_every_column_has_a_meaning_and_its_unit() -> None:
    columns = {column.name: column for column in dw.results.columns()}
    assert tuple(columns) == COLUMNS
    assert [name for name, column in columns.items() if len(column.meaning) < 2] == []
    assert {name: column.unit for name, column in columns.items() if column.unit} == UNITS
    assert columns["error_l2_low"].meaning == "Lower end of its 95 % confidence interval."


def test_the_rows_of_a_sweep_become_one_frame(
    cells: list[Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame for each cell took 60 KB: of 3,000 cells 0.2 GB, at the end."""
    made, create = [], polars.DataFrame.__init__

    def count(frame: polars.DataFrame, *given: object, **options: object) -> None:
        made.append(frame)
        create(frame, *given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(polars.DataFrame, "__init__", count)
    rows = rows_of(cells, ["x", "target.input_dim"])
    assert len(made) == 1
    assert rows["x"].to_list() == [1] * 16
    assert rows["run"].n_unique() == 8
