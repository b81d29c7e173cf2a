"""Sweeps: killed, interrupted, two at once, with failures; always the same rows in the end."""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from command_line import DEPTHWRIGHT, HANGS, multirun, rows, until
from depthwright import results
from depthwright.files import read_json
from depthwright.refusal import Refusal
from depthwright.runs import cell, slurm, store, sweep, watch
from depthwright.runs.cell import State
from depthwright.runs.store import Cell, Incomplete
from rows_by_hand import ROW

NOTHING = (
    "matching=[]",
    "beside=[]",
    "accuracy=0.5",
    "target.input_dim=2",
    "evaluation.points=100",
    "evaluation.attack_starts=2",
    "evaluation.attack_steps=1",
    "trainer=cpu",
    "trainer.progress=false",
    "logger=none",
)
CELLS = 5
"""Of the sweep that is killed."""


def start(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    return multirun(folder, *NOTHING, *overrides)


def run(folder: Path, *overrides: str) -> tuple[int, str]:
    process = start(folder, *overrides)
    _, told = process.communicate(timeout=HANGS)
    return process.returncode, told


@pytest.mark.slow
def test_killed_three_times_ends_as_if_undisturbed(tmp_path: Path) -> None:
    chance = random.Random(0)
    disturbed, quiet = tmp_path / "disturbed", tmp_path / "quiet"
    axis = f"seed=range({CELLS})"
    reference, early = start(quiet, axis), 0
    for before in sorted(chance.sample(range(CELLS), 3)):
        process = start(disturbed, axis)
        until(
            lambda before=before: (
                len(rows(disturbed)) >= before
                and any(disturbed.glob(f"outputs/*/*/{cell.RUNNING}"))
            )
        )
        time.sleep(chance.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        early += len(rows(disturbed)) < CELLS
    assert early, "killed too late each time"
    status, told = run(disturbed, axis)
    assert (status, f"{CELLS} of {CELLS} cells finished" in told) == (0, True), told
    reference.communicate()
    assert rows(disturbed) == rows(quiet)
    assert len(rows(quiet)) == CELLS
    files = {path.name for path in quiet.rglob("*") if path.is_file()}
    assert {path.name for path in disturbed.rglob("*") if path.is_file()} == files, "no torn ones"
    assert not list(quiet.rglob("*.png")), "cells are drawn when they are run by themselves"
    alone = subprocess.run(
        [*DEPTHWRIGHT, *NOTHING, "seed=0"], cwd=quiet, capture_output=True, text=True, check=True
    )
    assert "finished before" in alone.stderr
    (picture,) = quiet.rglob("comparison.png")
    assert picture.read_bytes().endswith(b"IEND\xaeB`\x82")


KILLED = """
import random, time
from pathlib import Path
from depthwright.experiment import Run

def measure(n):
    time.sleep(0.3)
    return {"value": random.Random(n).random()}

overrides = ("launcher=joblib", "hydra.launcher.n_jobs=2")
run = Run("x", "smoke", Path("outputs"), overrides=overrides)
run.cells([{"n": n} for n in range(12)], measure)
"""


@pytest.mark.slow
def test_six_kills_of_workers_and_of_sweeps_change_no_row(tmp_path: Path) -> None:
    """Cells of a function: those of comparisons go the same way, and their processes start later.

    A worker that has begun a cell ends with its sweep; one that has not waits for five minutes.
    It holds no lock, but the ends of pipes of this process, and is killed at the end.
    """
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="extra joblib is missing")
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        with (tmp_path / "told").open("wb") as told:
            command = [sys.executable, "-c", KILLED]
            process = subprocess.Popen(
                command, cwd=tmp_path, stdout=told, stderr=told, start_new_session=True
            )
        started.append(process)
        return process

    def finished() -> list[Path]:
        return list(tmp_path.glob("outputs/x/cells/*/results.json"))

    killed: set[Path] = set()

    def at_work() -> tuple[Path, int] | None:
        """A cell that was not killed before, and the process that computes it."""
        for mark in tmp_path.glob(f"outputs/x/cells/*/{cell.RUNNING}"):
            content = read_json(mark)
            if mark.parent not in killed and content and cell.state(mark.parent) == State.RUNNING:
                return mark.parent, content["pid"]
        return None

    try:
        process = start()
        for number, whom in enumerate(("worker", "sweep") * 3):
            until(lambda number=number: len(finished()) >= number)
            folder, pid = until(at_work)
            killed.add(folder)
            os.kill(pid if whom == "worker" else process.pid, signal.SIGKILL)
            if whom == "sweep":
                assert process.wait() == -signal.SIGKILL, "killed too late"
                process = start()
        assert process.wait(HANGS) == 0, (tmp_path / "told").read_text()
    finally:
        for each in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGKILL)
    assert "12 of 12 cells finished" in (tmp_path / "told").read_text()
    values = [read_json(path)[0]["value"] for path in finished()]
    assert sorted(values) == sorted(random.Random(n).random() for n in range(12))
    assert len(killed) == 6
    assert not [path for path in tmp_path.rglob("*") if path.name in (cell.RUNNING, cell.ERROR)]


@pytest.mark.slow
def test_two_at_once_share_the_cells_and_a_bad_one_stops_neither(tmp_path: Path) -> None:
    axis = "target.input_dim=1,2,3,4,5"
    both = [start(tmp_path, axis) for _ in range(2)]
    told = [process.communicate(timeout=HANGS)[1] for process in both]
    for process, said in zip(both, told, strict=True):
        assert process.returncode == 1
        assert "4 of 5 cells finished" in said
        assert "  target.input_dim=1: input_dim=1 has no sphere" in said
        assert "Traceback" not in said
    assert sorted(found[0]["input_dim"] for found in rows(tmp_path).values()) == [2, 3, 4, 5]
    computed = [line for said in told for line in said.splitlines() if line.endswith(" s")]
    assert len(computed) == len({line.split(":")[0] for line in computed}) == 4, "each once"
    states = {f: cell.state(f) for f in tmp_path.glob("outputs/comparison/*")}
    assert sorted(states.values()) == [State.FAILED] + 4 * [State.FINISHED]
    view = watch.look(tmp_path / "outputs")
    assert (view.open, view.counts[State.FINISHED], view.counts[State.FAILED]) == (0, 4, 1)


@pytest.mark.slow
def test_interrupted_with_workers_says_so_and_goes_on_later(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="extra joblib is missing")
    long = ("matching=[architecture]", "training.steps=1000000", "seed=0,1,2")
    sweeps = ("launcher=joblib", "hydra.launcher.n_jobs=2", *long)
    process = multirun(tmp_path, *NOTHING, *sweeps, start_new_session=True)
    until(lambda: any(tmp_path.glob(f"outputs/*/*/{cell.RUNNING}")))
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, told = process.communicate(timeout=HANGS)
    assert process.returncode == 130, told
    assert "0 of 3 cells finished" in told
    assert "interrupted; run the same command again" in told
    assert not list(tmp_path.rglob(cell.ERROR)), "an interruption is no failure"
    states = {cell.state(folder) for folder in tmp_path.glob("outputs/comparison/*")}
    assert states <= {State.WAITING, State.STOPPED}


class Grid:
    """Cells whose work is a function: what `sweep.run` does with any launcher."""

    def __init__(self, folder: Path, composed: Callable[..., Any]) -> None:
        self.launched: list[list[list[str]]] = []
        self.compose = lambda overrides: composed(f"output={folder}", "logger=none", *overrides)

    def folder(self, *overrides: str) -> Path:
        from depthwright.runs.config import run_folder

        return run_folder(self.compose(overrides))

    def launch(self, cells: list[list[str]]) -> list[None]:
        """Finish them all."""
        self.launched.append(cells)
        for each in cells:
            self.finish(each)
        return [None] * len(cells)

    def finish(self, overrides: list[str]) -> None:
        folder = self.folder(*overrides)
        folder.mkdir(parents=True, exist_ok=True)
        results.write(folder, [ROW])

    def lose(self, overrides: list[str]) -> None:
        """As a killed process leaves it."""
        folder = self.folder(*overrides)
        folder.mkdir(parents=True, exist_ok=True)
        mark = {"pid": 2**22 + 1, "host": os.uname().nodename, "started": 0.0}
        (folder / cell.RUNNING).write_text(json.dumps(mark))


def test_a_cell_that_kills_its_workers_is_given_up(
    tmp_path: Path, composed: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    grid = Grid(tmp_path, composed)

    def launch(cells: list[list[str]]) -> list[None]:
        grid.launched.append(cells)
        for each in cells:
            if each == ["seed=1"]:
                grid.lose(each)
                raise RuntimeError("a worker is gone")
            grid.finish(each)
        return [None] * len(cells)

    with pytest.raises(Incomplete):
        sweep.run([["seed=0"], ["seed=1"], ["seed=2"]], grid.compose, launch)
    assert grid.launched == [
        [["seed=0"], ["seed=1"], ["seed=2"]],
        [["seed=1"]],  # by itself, that it takes no other with it
        [["seed=2"]],
    ]
    told = capsys.readouterr().err
    assert "2 of 3 cells finished" in told
    assert "seed=1: lost 2 times with its process" in told


def test_a_cell_that_kills_a_pool_fails_alone(
    tmp_path: Path, composed: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """As joblib's pool dies: with all that run, whoever was to blame."""
    grid = Grid(tmp_path, composed)

    def launch(cells: list[list[str]]) -> list[None]:
        if ["seed=1"] not in cells:
            return grid.launch(cells)
        grid.launched.append(cells)
        for each in cells:
            grid.lose(each)
        raise RuntimeError("the pool is gone")

    with pytest.raises(Incomplete):
        sweep.run([["seed=0"], ["seed=1"], ["seed=2"]], grid.compose, launch)
    assert grid.launched[1:] == [[["seed=0"]], [["seed=1"]], [["seed=2"]]]
    assert "2 of 3 cells finished" in capsys.readouterr().err


def test_a_cell_that_is_given_twice_is_one(
    tmp_path: Path, composed: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    grid = Grid(tmp_path, composed)
    given = [["accuracy=0.1"], ["accuracy=0.2"], ["accuracy=1e-1"], ["accuracy=0.2"]]
    found = sweep.run(given, grid.compose, grid.launch)
    assert [each.overrides for each in found] == [("accuracy=0.1",), ("accuracy=0.2",)]
    assert grid.launched == [[["accuracy=0.1"], ["accuracy=0.2"]]]
    assert "2 cells (2 given twice), 0 finished before" in capsys.readouterr().err


@pytest.mark.slow
def test_configs_of_cells_that_are_composed_are_not_kept(
    tmp_path: Path, composed: Callable[..., Any]
) -> None:
    """A hundred kilobytes each: a hundred thousand of them filled the memory."""
    grid = Grid(tmp_path, composed)
    made: list[weakref.ref[Any]] = []
    alive: list[int] = []

    def compose(overrides: list[str]) -> Any:
        config = grid.compose(overrides)
        made.append(weakref.ref(config))
        return config

    def launch(cells: list[list[str]]) -> list[None]:
        gc.collect()
        alive.append(sum(config() is not None for config in made))
        return grid.launch(cells)

    sweep.run([[f"seed={k}"] for k in range(4)], compose, launch)
    assert len(made) == 4
    assert alive[0] <= 1


def test_code_that_is_changed_under_a_sweep_is_told_for_what_it_is(
    tmp_path: Path, composed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Grid(tmp_path, composed)

    def launch(cells: list[list[str]]) -> list[None]:
        grid.launched.append(cells)
        monkeypatch.setattr(store, "code_on_disk", lambda: "another")
        return [None]  # the worker's cell was another one

    with pytest.raises(Incomplete):
        sweep.run([["seed=0"]], grid.compose, launch)
    assert len(grid.launched) == 1
    assert "code was changed while the sweep ran" in str(cell.error(grid.folder("seed=0")))


def test_a_launcher_that_fails_by_itself_is_heard(
    tmp_path: Path, composed: Callable[..., Any]
) -> None:
    grid = Grid(tmp_path, composed)

    def launch(cells: list[list[str]]) -> list[None]:
        raise OSError("no such partition")

    with pytest.raises(OSError, match="no such partition"):
        sweep.run([["seed=0"]], grid.compose, launch)


def test_what_became_of_a_lost_job_is_recorded(
    tmp_path: Path, composed: Callable[..., Any]
) -> None:
    grid = Grid(tmp_path, composed)
    with pytest.raises(Incomplete):
        sweep.run([["seed=0"]], grid.compose, lambda cells: ["job 7 ended as CANCELLED"])
    assert cell.error(grid.folder("seed=0")) == "job 7 ended as CANCELLED"


def test_a_job_lost_on_another_machine_is_not_launched_again(
    tmp_path: Path, composed: Callable[..., Any]
) -> None:
    """Its last sign of life is young, so that its mark alone would say that it runs."""
    grid = Grid(tmp_path, composed)

    def launch(cells: list[list[str]]) -> list[str]:
        grid.launched.append(cells)
        grid.lose(cells[0])
        mark = grid.folder(*cells[0]) / cell.RUNNING
        mark.write_text(json.dumps(json.loads(mark.read_text()) | {"host": "another"}))
        return ["job 7 ended as OUT_OF_MEMORY"]

    with pytest.raises(Incomplete):
        sweep.run([["seed=0"]], grid.compose, launch)
    assert len(grid.launched) == 1
    assert cell.error(grid.folder("seed=0")) == "job 7 ended as OUT_OF_MEMORY"


def test_watching_tells_states_and_the_time_left(
    tmp_path: Path, composed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Grid(tmp_path, composed)
    with pytest.raises(Refusal, match="holds no sweep"):
        watch.look(tmp_path)
    with pytest.raises(Incomplete):
        sweep.run(
            [[f"seed={k}"] for k in range(4)], grid.compose, lambda cells: ["lost"] * len(cells)
        )
    for k in (0, 1, 2):
        (grid.folder(f"seed={k}") / cell.ERROR).unlink()
    grid.finish(["seed=0"])
    (list_of_cells,) = tmp_path.glob(f"{store.SWEEPS}/*.json")
    begun = list_of_cells.stat().st_mtime
    with cell.hold(grid.folder("seed=1")):
        view = watch.look(tmp_path)
        assert {view.points[f]: s for f, s in view.cells.items()} == {
            "seed=0": State.FINISHED,
            "seed=1": State.RUNNING,
            "seed=2": State.WAITING,
            "seed=3": State.FAILED,
        }
        # Two have ended since the sweep began, two are open: as long again as until now.
        assert view.seconds_left == pytest.approx(view.at - view.begun)
        assert view.begun == begun
        os.utime(grid.folder("seed=3") / cell.ERROR, (begun - 1, begun - 1))
        failed = grid.folder("seed=3")
        assert watch.look(tmp_path).cells[failed] == State.WAITING, "to be made up for"
        monkeypatch.chdir(tmp_path)
        watch.watch([str(tmp_path)])


CONFIG = """MailProg                = /bin/true
MaxArraySize            = {}
MaxBatchRequeue         = 5
"""
"""Three lines of what `scontrol show config` prints."""


@pytest.mark.parametrize(("allowed", "most"), [(1001, 500), (101, 101), (0, 1)])
@pytest.mark.parametrize("count", [1, 100, 500, 501, 1507])
def test_every_job_is_in_one_array_and_none_is_larger_than_the_cluster_allows(
    count: int, allowed: int, most: int
) -> None:
    arrays = [range(count)[s] for s in slurm._shares(count, slurm._most(CONFIG.format(allowed)))]
    assert sorted(k for array in arrays for k in array) == list(range(count))
    assert max(map(len, arrays)) <= most
    assert max(map(len, arrays)) - min(map(len, arrays)) <= 1
    assert len(arrays) == math.ceil(count / most)


def test_the_list_of_a_long_sweep_is_read_again(tmp_path: Path) -> None:
    count, folder = 8_000, tmp_path / "comparison"
    alike = tuple(f"evaluation.key_{k}={'x' * 100}" for k in range(20))
    cells = [Cell((*alike, f"seed={k}"), folder / f"cone-d2-ridge-{k:06}") for k in range(count)]
    store._write_down(tmp_path, cells)
    (path,) = tmp_path.glob(f"{store.SWEEPS}/*.json")
    found = watch._list(path)
    assert found is not None, "too long to be read"
    assert [each["overrides"] for each in found["cells"][:2]] == [["seed=0"], ["seed=1"]]
    assert len(found["cells"]) == count


def test_watch_prints_what_it_sees(
    tmp_path: Path, composed: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    grid = Grid(tmp_path, composed)
    with pytest.raises(Incomplete):
        sweep.run([["seed=0"], ["seed=1"]], grid.compose, lambda cells: ["lost", "out of memory"])
    capsys.readouterr()
    watch.watch([str(tmp_path)])
    shown = capsys.readouterr().out
    assert "2 failed" in shown
    assert "failed seed=1: out of memory" in shown
