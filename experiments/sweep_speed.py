"""What a sweep costs beside its cells: seconds per cell that computes next to nothing.

    python experiments/sweep_speed.py [CELLS] [JOBS]

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

from rich.console import Console
from rich.table import Table

from depthwright import results

NOTHING = (
    "matching=[]",  # nothing is trained
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
    """Of one sweep from start to exit, over the number of its cells."""
    if "launcher=joblib" in overrides:
        overrides += (f"hydra.launcher.n_jobs={jobs}",)
    with tempfile.TemporaryDirectory() as folder:
        command = [*COMMAND, f"seed=range({cells})", *NOTHING, *overrides]
        start = time.perf_counter()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        found = sum(1 for _ in Path(folder).glob(f"outputs/*/*/{results.RESULTS}"))
        assert found == cells, f"{found} of {cells} cells"
    return seconds / cells


def main(cells: int, jobs: int) -> dict[str, float]:
    """Print the table, return seconds per cell of each variant."""
    table = Table(title=f"{cells} cells that compute next to nothing, {jobs} workers")
    table.add_column("sweep")
    table.add_column("seconds per cell", justify="right")
    found = {}
    for name, overrides in VARIANTS.items():
        found[name] = seconds_per_cell(cells, jobs, overrides)
        table.add_row(name, f"{found[name]:.3f}")
    Console().print(table)
    plain, tracked, single = found.values()
    print(f"W&B offline multiplies the cost of a cell by {tracked / plain:.2f}")
    print(f"{jobs} workers divide it by {single / tracked:.2f}")
    return found


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    main(*(arguments or [50]), *([] if len(arguments) > 1 else [2]))
