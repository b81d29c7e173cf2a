"""Full disks: one sentence, no half file, the summary comes, computed rows are kept."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from command_line import DEPTHWRIGHT, HANGS, python
from depthwright import results
from depthwright.files import lesser, need_writable, whole_file, write_json
from depthwright.refusal import Refusal
from depthwright.runs import cell, store
from depthwright.runs.store import Cell, Incomplete, complete

pytestmark = pytest.mark.slow
TRIVIAL = (
    *("matching=[]", "accuracy=0.5", "target.input_dim=2", "evaluation.points=100"),
    *("evaluation.attack_starts=2", "evaluation.attack_steps=1", "trainer=cpu"),
    "trainer.progress=false",
)


@contextmanager
def disk(where: Path, options: str) -> Iterator[Path]:
    """A small file system in memory; skipped where mounting is not allowed."""
    where.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(where)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not allowed: {done.stderr.decode().strip()}")
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


def fill(where: Path, left: int = 0) -> Path:
    """A file beside the others that leaves so many bytes."""
    ballast = where / "ballast"
    with ballast.open("ab") as file:
        free = os.statvfs(where)
        file.write(bytes(free.f_bavail * free.f_frsize - left))
    return ballast


def halves(folder: Path) -> list[Path]:
    """Files that are not whole: torn ones, and JSON that cannot be read."""
    torn = [p for p in folder.rglob("*") if p.name.endswith(".partial")]
    for path in folder.rglob("*.json"):
        try:
            json.loads(path.read_text())
        except ValueError:
            torn.append(path)
    return torn


@pytest.mark.parametrize("options", ["size=64k", "size=1m,nr_inodes=4"])
def test_a_disk_that_is_full_from_the_beginning_is_refused(tmp_path: Path, options: str) -> None:
    with disk(tmp_path / "outputs", options) as outputs:
        (outputs / "a").touch()
        (outputs / "b").touch()
        fill(outputs) if "inodes" not in options else (outputs / "c").touch()
        done = python(tmp_path, *DEPTHWRIGHT[1:], "--multirun", *TRIVIAL, "seed=0,1")
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1, done.stderr
        assert "outputs cannot be written to (No space left on device)" in done.stderr
        with pytest.raises(Refusal, match="No space left on device"):
            need_writable(outputs)


def test_eight_kilobytes_end_in_a_line_a_cell_and_the_summary(tmp_path: Path) -> None:
    with disk(tmp_path / "outputs", "size=1m") as outputs:
        ballast = fill(outputs, 8192)
        done = python(tmp_path, *DEPTHWRIGHT[1:], "--multirun", *TRIVIAL, "seed=0,1", "logger=none")
        assert done.returncode == 1, done.stderr
        assert "0 of 2 cells finished\n  seed=0: " in done.stderr
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr
        assert not halves(outputs)
        ballast.unlink()
        done = python(tmp_path, *DEPTHWRIGHT[1:], "--multirun", *TRIVIAL, "seed=0,1", "logger=none")
        assert (done.returncode, "2 of 2 cells finished" in done.stderr) == (0, True), done.stderr


def test_a_disk_that_becomes_full_in_the_middle_keeps_the_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the cell that is at work; the next one is told in a line."""
    with disk(tmp_path / "outputs", "size=1m") as outputs:

        def compute(folder: Path) -> None:
            fill(outputs)
            with pytest.warns(UserWarning, match=r"kept: No space left"), lesser("curves.json"):
                write_json(folder / "curves.json", [0] * 1000)
            results.write_rows(folder, [{"name": folder.name}])

        def launch(cells: Sequence[Cell]) -> list[None]:
            for each in cells:
                work = partial(compute, each.folder)
                store.attempt(each.folder.name, each.folder, partial(store.once, each.folder, work))
            return [None] * len(cells)

        cells = [Cell((f"k={k}",), outputs / "x" / str(k)) for k in range(3)]
        with pytest.raises(Incomplete):
            complete(outputs, cells, launch)
        assert results.read_rows(cells[0].folder) == [{"name": "0"}]
        told = capsys.readouterr().err
        assert "1 of 3 cells finished\n  k=1: " in told
        assert told.count("No space left on device") == 4, "a line at once and one at the end"
        assert not halves(outputs)
        assert not (cells[1].folder / cell.RUNNING).exists()


def test_a_library_that_meets_a_full_disk_raises_an_error_of_the_system(tmp_path: Path) -> None:
    with disk(tmp_path, "size=16k") as full:
        path = full / "x.safetensors"
        with pytest.raises(OSError, match="No space left") as raised, whole_file(path) as torn:
            save_file({"a": torch.zeros(10_000)}, torn)
        assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(path))
        assert not list(full.iterdir())


@pytest.mark.timeout(HANGS)
def test_a_full_folder_of_wandb_loses_no_row(tmp_path: Path) -> None:
    """The folder of the run's view, and those for W&B's other files."""
    first = python(tmp_path, *DEPTHWRIGHT[1:], *TRIVIAL, "logger=none")
    assert first.returncode == 0, first.stderr
    (folder,) = tmp_path.glob("outputs/comparison/*")
    (folder / results.RESULTS).unlink()
    with disk(folder / "wandb", "size=16k"), disk(tmp_path / "small", "size=64k") as small:
        fill(small)
        places = {f"WANDB_{name}_DIR": str(small) for name in ("CACHE", "DATA", "ARTIFACT")}
        done = python(tmp_path, *DEPTHWRIGHT[1:], *TRIVIAL, **places)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert len(results.read(folder)) == 2
    assert not halves(folder)
