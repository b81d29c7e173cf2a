"""What a sweep costs beside its cells: seconds per cell that computes next to nothing.

    python experiments/sweep_speed.py [--scale smoke|cpu|gpu]

Three sweeps of the same cells by the command line, each in a fresh folder: joblib without W&B,
joblib with W&B offline, and one after the other with W&B offline. Start-up (imports in the
launcher and in every worker) is in the figures, divided by the number of cells; so is the picture
of each cell. What W&B costs and what workers save are ratios within this run.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwright import results
from depthwright.experiment import Experiment, Run
from depthwright.figures.chart import Chart, Panel, Series

if TYPE_CHECKING:
    import polars

CELLS = {"smoke": 2, "cpu": 50, "gpu": 50}
JOBS = 2
NOTHING = (
    "matching=[]",  # nothing is trained
    "beside=[]",  # nothing is solved
    "target.input_dim=2",
    "accuracy=0.5",
    "evaluation.points=100",
    "evaluation.attack_starts=2",
    "evaluation.attack_steps=1",
    "trainer=cpu",
    "trainer.progress=false",
)
VARIANTS = {
    "joblib, no W&B": ("launcher=joblib", "logger=none"),
    "joblib, W&B offline": ("launcher=joblib", "logger=offline"),
    "one after the other, W&B offline": ("launcher=basic", "logger=offline"),
}
COMMAND = (sys.executable, "-c", "from depthwright.cli import main; main()", "--multirun")


def seconds_per_cell(cells: int, jobs: int, overrides: tuple[str, ...]) -> float:
    """Seconds of one sweep from start to exit, over the number of its cells."""
    if "launcher=joblib" in overrides:
        overrides += (f"hydra.launcher.n_jobs={jobs}",)
    with tempfile.TemporaryDirectory() as folder:
        command = [*COMMAND, f"seed=range({cells})", *NOTHING, *overrides]
        start = time.perf_counter()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        found = sum(1 for _ in Path(folder).glob(f"outputs/*/*/{results.RESULTS}"))
        assert found == cells, f"{found} of {cells} cells"
    return seconds / cells


def measure(cells: int, jobs: int) -> list[dict[str, Any]]:
    return [
        {"sweep": name, "seconds_per_cell": seconds_per_cell(cells, jobs, overrides)}
        for name, overrides in VARIANTS.items()
    ]


def rows(run: Run) -> polars.DataFrame:
    """All variants in one cell: timings of a ratio are taken in the same minutes."""
    return run.cells([{"cells": CELLS[run.scale], "jobs": JOBS}], measure)


def chart(rows: polars.DataFrame) -> Chart:
    numbers = tuple(float(k + 1) for k in range(len(rows)))
    drawn = Series("a sweep", numbers, tuple(rows["seconds_per_cell"]), "stems", "constructed")
    named = "; ".join(f"{k}: {name}" for k, name in enumerate(rows["sweep"], 1))
    return Chart((Panel(named, "seconds per cell", (drawn,), ticks=numbers),))


def sentence(rows: polars.DataFrame) -> str:
    plain, tracked, single = rows["seconds_per_cell"]
    cells, jobs = rows["cells"][0], rows["jobs"][0]
    return (
        f"A cell that computes next to nothing takes {plain:.2f} s in a sweep with {jobs} workers, "
        f"{tracked / plain:.2f} times that with W&B offline. Cells one after the other, with W&B "
        f"offline, take {single:.2f} s each, {single / tracked:.2f} times as long as with {jobs} "
        f"workers. Each sweep has {cells} cells."
    )


EXPERIMENT = Experiment(rows, chart, sentence)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
