"""Damaged marks: each counts as none, stops nothing and fools nobody."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock

from damage import HARMS
from depthwright import results
from depthwright.comparison import CHECKPOINT, CURVES
from depthwright.experiment import Run
from depthwright.figures import comparison, record
from depthwright.files import LIMIT, read_json, read_text, write_json
from depthwright.machine.provenance import MADE, Provenance
from depthwright.refusal import Refusal
from depthwright.results import NEEDED, RESULTS
from depthwright.runs import cell, store, watch
from depthwright.runs.cell import State
from depthwright.runs.config import CONFIG
from depthwright.runs.store import SWEEPS, Cell, Incomplete, complete
from rows_by_hand import ROW

MARKS = (RESULTS, cell.RUNNING, cell.ERROR, cell.LOCK, MADE, CONFIG, CHECKPOINT, CURVES)
harms = pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS.keys())
marks = pytest.mark.parametrize("name", MARKS)
pytestmark = pytest.mark.timeout(120)


def launch(cells: Sequence[Cell]) -> list[None]:
    """Every cell's row is its name."""
    for each in cells:
        row = partial(write_json, each.folder / RESULTS, [{"name": each.folder.name}])
        once = partial(store.once, each.folder, row, each.columns)
        store.attempt(each.folder.name, each.folder, once)
    return [None] * len(cells)


def cells_in(folder: Path, count: int = 3) -> list[Cell]:
    return [Cell((f"k={k}",), folder / "x" / str(k), ("name",)) for k in range(count)]


@harms
@marks
def test_a_sweep_ends_right_whatever_a_mark_holds(
    tmp_path: Path, name: str, harm: Callable[[Path], None]
) -> None:
    cells = cells_in(tmp_path)
    complete(tmp_path, cells[:2], launch)
    if name == RESULTS:
        harm(cells[0].folder / name)  # of a finished one
    cells[2].folder.mkdir()
    harm(cells[2].folder / name)  # of one that is still to be computed
    complete(tmp_path, cells, launch)
    found = [results.read_rows(each.folder) for each in cells]
    assert found == [[{"name": str(k)}] for k in range(3)]


@harms
def test_nobody_is_at_work_where_no_lock_is_held(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    harm(tmp_path / cell.RUNNING)
    assert cell.state(tmp_path) == State.WAITING
    assert cell.started(tmp_path) is None
    with FileLock(tmp_path / cell.LOCK):
        assert cell.state(tmp_path) == State.RUNNING, "the lock decides"
    harm(tmp_path / cell.ERROR)
    assert cell.error(tmp_path) in (None, "é")
    assert Provenance.read(tmp_path) == Provenance()


@harms
def test_a_table_without_its_columns_is_no_table(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    harm(tmp_path / RESULTS)
    assert not results.finished(tmp_path, NEEDED)
    assert results.damaged(tmp_path, NEEDED)
    with pytest.raises(Refusal, match="not a results table"):
        results.read(tmp_path)


@harms
def test_pictures_and_records_are_refused_in_one_sentence(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    harm(tmp_path / CURVES)
    with pytest.raises((Refusal, KeyError)):
        comparison.draw(tmp_path, [])
    harm(tmp_path / record.RECORD)
    with pytest.raises(Refusal, match="no record of this version"):
        record.read(tmp_path)


@harms
def test_a_damaged_list_of_cells_is_passed_over_by_those_who_watch(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    complete(tmp_path, cells_in(tmp_path), launch)
    harm(tmp_path / SWEEPS / "another.json")
    assert watch.look(tmp_path).counts == {State.FINISHED: 3}


def test_a_damaged_table_is_computed_again_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run("x", "smoke", tmp_path)
    run.cells([{"n": 2}], lambda n: {"value": n})
    (path,) = tmp_path.glob("x/cells/*/results.json")
    HARMS["folder"](path)
    assert run.cells([{"n": 2}], lambda n: {"value": 5})["value"].to_list() == [5]
    told = capsys.readouterr().err
    assert told.count(f"{path} is damaged, so the cell is computed again") == 1
    assert (path.with_name("results.json.damaged") / "in it").read_text() == "kept"


def test_a_row_with_a_value_of_another_type_is_computed_again_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    each = Cell(("k=0",), tmp_path / "x" / "0", NEEDED)

    def compute(cells: Sequence[Cell]) -> list[None]:
        store.once(each.folder, lambda: results.write(each.folder, [ROW]), each.columns)
        return [None]

    results.write_rows(each.folder, [asdict(ROW) | {"width": "wide"}])
    complete(tmp_path, [each], compute)
    assert results.read(each.folder) == [ROW]
    told = capsys.readouterr().err
    assert "1 cells, 0 finished before" in told
    assert told.count("results.json is damaged, so the cell is computed again") == 1


@pytest.mark.parametrize("when", [0, 2**31 - 1])
def test_the_process_of_a_stale_mark_and_its_clock_show_nobody_at_work(
    tmp_path: Path, when: int
) -> None:
    for host in (socket.gethostname(), "another"):
        mark = {"pid": os.getpid(), "host": host, "started": 0.0}  # a live one, that is ours
        (tmp_path / cell.RUNNING).write_text(json.dumps(mark))
        os.utime(tmp_path / cell.RUNNING, (when, when))
        assert cell.state(tmp_path) == State.STOPPED


@pytest.mark.parametrize("when", [0, 2**31 - 1])
def test_an_error_is_new_or_old_whatever_the_clock_says(tmp_path: Path, when: int) -> None:
    """It is written by a machine whose clock is wrong; the cell is launched once."""
    launched: list[Cell] = []

    def fail(cells: Sequence[Cell]) -> list[None]:
        launched.extend(cells)
        for each in cells:
            cell.write_error(each.folder, "no")
            os.utime(each.folder / cell.ERROR, (when, when + len(launched)))
        return [None] * len(cells)

    for expected in (1, 2):
        with pytest.raises(Incomplete):
            complete(tmp_path, cells_in(tmp_path, 1), fail)
        assert len(launched) == expected


def test_asking_takes_a_cell_from_nobody(tmp_path: Path) -> None:
    (tmp_path / cell.RUNNING).touch()
    (tmp_path / cell.LOCK).touch()
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            cell.state(tmp_path)

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    try:
        for _ in range(50):
            with cell.hold(tmp_path):
                pass
            (tmp_path / cell.RUNNING).touch()
    finally:
        over.set()
        for thread in asking:
            thread.join()


def test_a_cell_that_others_always_have_is_given_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    launched: list[Cell] = []
    (each,) = cells_in(tmp_path, 1)
    each.folder.mkdir(parents=True)
    mark = {"pid": 1, "host": "another", "started": time.time()}
    (each.folder / cell.RUNNING).write_text(json.dumps(mark))

    def busy(cells: Sequence[Cell]) -> list[None]:
        launched.extend(cells)
        return [None] * len(cells)

    with pytest.raises(Incomplete):
        complete(tmp_path, [each], busy)
    assert len(launched) == store.LAUNCHES
    assert "  0: launched 5 times" in capsys.readouterr().err


def mounted(where: Path, *options: str) -> None:
    """A file system of its own, until the test ends; skipped where that is forbidden."""
    done = subprocess.run(["mount", *options, str(where)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not allowed: {done.stderr.decode().strip()}")


@pytest.mark.slow
def test_a_cell_that_cannot_be_written_to_ends_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Read-only, with the error of an earlier attempt in it.

    The package's own source must not change meanwhile: `complete` would then say that instead.
    """
    cells = cells_in(tmp_path)
    folder = cells[1].folder
    cell.write_error(folder, "an old error")
    mounted(folder, "--bind", str(folder))
    try:
        mounted(folder, "-o", "remount,ro,bind")
        with pytest.raises(Incomplete):
            complete(tmp_path, cells, launch)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    told = capsys.readouterr().err
    assert f"2 of 3 cells finished\n  k=1: {folder} cannot be written to" in told
    assert told.count("failed: ") == 1, "launched once"


def test_what_is_too_long_or_not_there_is_no_text(tmp_path: Path) -> None:
    assert read_text(tmp_path / "nothing") is None
    assert read_text(tmp_path) is None
    path = tmp_path / "long"
    path.write_text("7" * 10)
    assert read_text(path, 10) == "7" * 10
    assert read_text(path, 9) is None
    assert read_json(path) == 7777777777
    assert LIMIT > 2**20
