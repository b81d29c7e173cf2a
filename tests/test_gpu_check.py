"""The runner of experiments/gpu_check.py: no part spoils another, what was found is kept."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import gpu_check
import gpu_parts
from command_line import HANGS

ROWS = """
import json, pathlib, sys, time
with pathlib.Path(sys.argv[1]).open("a") as file:
    file.write(json.dumps({"test": "a", "state": "passed"}) + "\\n")
    file.write('{"test": "half a li')
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "state"),
    [
        ("", "finished"),
        ("raise ValueError('the reason')", "failed"),
        ("print('the reason', flush=True); time.sleep(1000)", "out of time"),
    ],
)
def test_rows_are_kept_however_a_part_ends(tmp_path: Path, ending: str, state: str) -> None:
    report, rows = gpu_check.Report(tmp_path, cpu=True), tmp_path / "rows"
    command = [sys.executable, "-c", ROWS + ending, str(rows)]
    limit = 5 if state == "out of time" else HANGS
    report.run("tests", command, limit, rows)
    kept = json.loads((tmp_path / "gpu_check.json").read_text())["parts"]["tests"]
    assert kept["state"] == state
    assert kept["rows"] == [{"test": "a", "state": "passed"}]
    assert ("the reason" in "".join(kept.get("last_lines", ""))) == (state != "finished")
    assert "the reason" in (tmp_path / "gpu_check.log").read_text() or state == "finished"
    assert gpu_check.sound(report.parts) == (state != "failed")
    assert "a  passed" in gpu_check.table(report.parts)


def test_every_part_has_its_turn_however_long_the_earlier_ones_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine the last ones had none."""
    now, given = [0.0], {}

    def run(report: object, name: str, command: list[str], seconds: float, rows: Path) -> None:
        given[name] = seconds
        now[0] += seconds + 10  # as late as it can be stopped

    monkeypatch.setattr(gpu_check.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(gpu_check.Report, "run", run)
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--cpu", "--output", str(tmp_path)])
    with pytest.raises(SystemExit, match="not all is well"):  # no part gave a row
        gpu_check.main()
    assert list(given) == list(gpu_parts.PARTS)
    assert min(given.values()) > 15
    assert now[0] <= gpu_check.DRY_LIMIT


@pytest.mark.parametrize(
    "row",
    [{"state": "failure"}, {"disagrees": ["error_l2"]}, {"gpu_differ": 1}, {"differ": 2}],
)
def test_a_wrong_row_is_not_sound(row: dict[str, object]) -> None:
    part = {"state": "finished", "seconds": 1.0, "limit": 2, "rows": [{"n": 1}]}
    assert gpu_check.sound({"tests": part})
    part["rows"] = [{"n": 1}, row]
    assert not gpu_check.sound({"tests": part})


def test_the_main_jobs_rows_are_compared() -> None:
    row = {
        **{"contender": "constructed", "width": 4, "parameters": 9, "depth": 2, "error_l2": 0.1},
        **{"error_l2_low": 0.09, "error_l2_high": 0.11, "error_sup_certified": 0.2},
        **{"path_norm": 1.0, "path_norm_floor": 0.5, "error_sup_attacked": 0.19},
    }
    assert gpu_parts._compared(row, dict(row))["disagrees"] == []
    for change in (
        {"width": 5},
        {"error_l2_low": 0.19, "error_l2_high": 0.21},
        {"error_sup_certified": 0.21},
        {"error_sup_attacked": 0.201},
    ):
        assert gpu_parts._compared(row, row | change)["disagrees"] == [
            {"error_l2_low": "error_l2"}.get(next(iter(change)), next(iter(change)))
        ]
    trained = row | {"contender": "trained_architecture"}
    assert gpu_parts._compared(trained, trained | {"error_l2": 0.14})["disagrees"] == []
    assert gpu_parts._compared(trained, trained | {"error_l2": 0.16})["disagrees"] == ["error_l2"]
