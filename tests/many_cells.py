"""What many cells cost: a sweep of cells that compute nothing, run, resumed and looked at.

    python tests/many_cells.py [--cells 3000] [--made 100000] [--logger offline]

The first cells are computed by the command itself, in this process, one after the other; the second
ones are copies of finished tables, made by hand, of an experiment's cells. Seconds are of this
process, so that other work on the machine counts little; memory is the largest so far.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from depthwright import cli
from depthwright.experiment import Run, peak_gigabytes
from depthwright.runs import watch

NOTHING = (
    "matching=[]",
    "beside=[]",
    "target=sine_ridge",
    "construction=single_ridge",
    "distribution=uniform_box",
    "target.input_dim=2",
    "accuracy=0.5",
    "evaluation.points=100",
    "evaluation.attack_starts=2",
    "evaluation.attack_steps=1",
    "trainer=cpu",
    "trainer.progress=false",
)
"""The smallest comparison: its network comes from a formula, and nothing is trained."""


@contextlib.contextmanager
def measured(what: str, count: int) -> Iterator[None]:
    seconds = time.process_time()
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        yield
    seconds = time.process_time() - seconds
    files = len(os.listdir("/proc/self/fd"))
    print(
        f"{what}: {seconds:.2f} s of processor time, {1000 * seconds / count:.2f} ms a cell, "
        f"{peak_gigabytes():.2f} GB, {files} open files",
        flush=True,
    )


def sweep(cells: int, logger: str) -> None:
    """`depthwright --multirun seed=range(CELLS) …`."""
    words = ["depthwright", "--multirun", f"seed=range({cells})", *NOTHING, f"logger={logger}"]
    with mock.patch.object(sys, "argv", words):
        cli.main()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", type=int, default=3000)
    parser.add_argument("--made", type=int, default=100_000)
    parser.add_argument("--logger", default="none", help="none or offline: without W&B, or with it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        start = time.perf_counter()
        with measured("the first cell", 1):
            sweep(1, options.logger)
        print(f"{time.perf_counter() - start:.1f} s until its end")
        for before, count in itertools.pairwise((1, 11, options.cells)):
            with measured(f"{count - before} cells", count - before):
                sweep(count, options.logger)
        with measured(f"{options.cells} cells again", options.cells):
            sweep(options.cells, options.logger)
        with measured("a look at them", options.cells):
            watch.draw(watch.look(Path("outputs")))
        run = Run("made", "smoke", Path("made"))
        points = [{"n": n} for n in range(options.made)]
        for point in points:
            folder = run._cell(point)[0].folder
            folder.mkdir(parents=True)
            (folder / "results.json").write_text(json.dumps([{"value": 1.0}]))
        with measured(f"{options.made} finished cells of a function", options.made):
            run.cells(points, float)
        with measured("a look at them", options.made):
            watch.draw(watch.look(Path("made")))


if __name__ == "__main__":
    main()
