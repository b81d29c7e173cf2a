"""Error and size against the dimension at fixed accuracy: constructed beside trained.

    python experiments/radial_vs_dimension.py [KEY=VALUE …]

SES19 Theorem 1: for constant accuracy, the width of a depth-2 network for a Lipschitz radial
function need only be polynomial in the dimension. Sweeps the cells that are missing, then draws
`radial_vs_dimension.png` beside the run folders, and prints the figure's sentence.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars

from depthwright.cli import guard
from depthwright.comparison import CONSTRUCTED
from depthwright.figures.against import draw
from depthwright.sweep import sweep

EXPERIMENT = "radial_vs_dimension"
DIMENSIONS = (2, 3, 5, 8, 12)


def sentence(rows: polars.DataFrame) -> str:
    """What the theory says, what was measured."""
    own = rows.filter(polars.col("contender") == CONSTRUCTED).sort("input_dim")
    slope = np.polyfit(np.log(own["input_dim"]), np.log(own["width"]), 1)[0]
    worst = np.max(own["error_sup_attacked"].to_numpy() / own["error_sup_certified"].to_numpy())
    return (
        f"SES19 Theorem 1 promises a width polynomial in d at fixed accuracy; here the constructed "
        f"width grows like d^{slope:.2f} from d = {own['input_dim'][0]} to {own['input_dim'][-1]} "
        f"at accuracy {own['accuracy'][0]:g}, and the attacked sup error reaches at most "
        f"{worst:.0%} of the promised one."
    )


def main(overrides: list[str]) -> Path:
    """Sweep, draw, say."""
    rows = sweep(EXPERIMENT, {"target.input_dim": DIMENSIONS}, overrides)
    output = next((o.split("=", 1)[1] for o in overrides if o.startswith("output=")), "outputs")
    path = Path(output) / EXPERIMENT / f"{EXPERIMENT}.png"
    draw(rows, "input_dim", "input dimension d", path, inverse=False)
    print(sentence(rows))
    print(f"picture  {path.absolute()}")
    return path


if __name__ == "__main__":
    guard(lambda: main(sys.argv[1:]))
