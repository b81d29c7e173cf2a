"""Cells: one process at a time, freed by any death; the folder says how far it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from command_line import until
from depthwright.runs import cell
from depthwright.runs.cell import State

HOLD = """
import sys, time
from pathlib import Path
from depthwright.runs import cell
with cell.hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process that holds the cell of `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.slow
def test_one_at_a_time_and_a_killed_one_blocks_nobody(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    assert cell.state(tmp_path) == State.RUNNING
    with pytest.raises(cell.Busy, match=tmp_path.name), cell.hold(tmp_path):
        pass
    assert cell.state(tmp_path) == State.RUNNING, "asking took nothing from the other"
    (tmp_path / f".curves.json.{holder.pid}.partial").write_text("[1,")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert cell.state(tmp_path) == State.STOPPED
    cell.wait(tmp_path)  # returns
    with cell.hold(tmp_path):
        assert cell.state(tmp_path) == State.RUNNING
    assert cell.state(tmp_path) == State.WAITING
    assert [path.name for path in tmp_path.iterdir()] == [cell.LOCK], "torn files are swept up"


@pytest.mark.slow
def test_waiting_lasts_until_the_other_is_gone(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    waiter = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from depthwright.runs import cell;"
            "print(1, flush=True); cell.wait(Path(sys.argv[1])); print(2)",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert waiter.stdout is not None
    waiter.stdout.readline()
    time.sleep(0.5)
    assert waiter.poll() is None
    holder.kill()
    assert waiter.stdout.read() == "2\n"
    holder.wait()


def test_a_failure_is_recorded_and_an_interruption_is_none(tmp_path: Path) -> None:
    def attempt(failure: BaseException) -> None:
        with cell.hold(tmp_path):
            raise failure

    with pytest.raises(ZeroDivisionError):
        attempt(ZeroDivisionError("nothing\nto divide"))
    assert cell.state(tmp_path) == State.FAILED
    assert cell.error(tmp_path) == "nothing"
    record = json.loads((tmp_path / cell.ERROR).read_text())
    assert record["type"] == "ZeroDivisionError"
    assert "raise failure" in record["traceback"]
    for interruption in (KeyboardInterrupt(), SystemExit(255)):
        with pytest.raises(type(interruption)):
            attempt(interruption)
        assert cell.state(tmp_path) == State.WAITING
    assert cell.error(tmp_path) is None


def test_far_away_the_last_sign_of_life_counts(tmp_path: Path) -> None:
    mark = tmp_path / cell.RUNNING
    mark.write_text(json.dumps({"pid": 1, "host": "elsewhere", "started": 0.0}))
    assert cell.state(tmp_path) == State.RUNNING
    silent = time.time() - cell.SILENCE - 1
    os.utime(mark, (silent, silent))
    assert cell.state(tmp_path) == State.STOPPED


@pytest.mark.slow
def test_the_mark_is_touched_while_the_work_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell, "BEAT", 0.01)
    with cell.hold(tmp_path):
        os.utime(tmp_path / cell.RUNNING, (0, 0))
        until(lambda: (tmp_path / cell.RUNNING).stat().st_mtime > 0)
