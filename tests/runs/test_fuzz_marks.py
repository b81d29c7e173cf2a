"""A share of the mutated marks; `python tests/fuzz_marks.py` runs all."""

from __future__ import annotations

import pytest

import fuzz_marks
from depthwright.runs.cell import State


@pytest.mark.slow
def test_mutated_marks_stop_no_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz_marks.main(["--marks", "150"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("number", ["2680", "3081"])
def test_marks_that_the_fuzzer_found(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A list of cells whose folder is no name of a file."""
    assert fuzz_marks.main(["--only", number]) == 0, capsys.readouterr().out


def test_the_fuzzer_reports_a_cell_that_is_taken_for_finished(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fuzz_marks.cell, "state", lambda folder: State.FINISHED)
    assert fuzz_marks.main(["--marks", "20"]) == 1
    assert "RAISED, seed 0" in capsys.readouterr().out
