"""Error and size against the dimension at fixed accuracy: constructed beside trained.

    python experiments/radial_vs_dimension.py [--scale smoke|cpu|gpu] [KEY=VALUE …]

SES19 Theorem 1: for constant accuracy, the width of a depth-2 network for a Lipschitz radial
function need only be polynomial in the dimension. Cells of conf/experiment/radial_vs_dimension.yaml
over the dimension; those that are finished are not run again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from depthwright.comparison import CONSTRUCTED
from depthwright.experiment import Experiment, Run
from depthwright.figures.against import against
from depthwright.figures.chart import Chart
from depthwright.figures.exponent import exponent
from depthwright.results import contradictions

if TYPE_CHECKING:
    import polars

DIMENSIONS = {"smoke": (2, 3, 5), "cpu": (2, 3, 5, 8, 12), "gpu": (2, 3, 5, 8, 12, 20)}


def rows(run: Run) -> polars.DataFrame:
    return run.sweep({"target.input_dim": DIMENSIONS[run.scale]})


def chart(rows: polars.DataFrame) -> Chart:
    return against(rows, "input_dim", "input dimension d")


def sentence(rows: polars.DataFrame) -> str:
    import polars

    own = rows.filter(polars.col("contender") == CONSTRUCTED).sort("input_dim")
    slope = exponent(own["input_dim"].to_list(), own["width"].to_list())
    mass = exponent(own["input_dim"].to_list(), own["path_norm_needed"].to_list())
    worst = np.max(own["error_sup_attacked"].to_numpy() / own["error_sup_certified"].to_numpy())
    return (
        f"SES19 Theorem 1 promises a width polynomial in d at fixed accuracy, d^O(ε^-9); here the "
        f"constructed width grows like d^{slope:.2f} from d = {own['input_dim'][0]} to "
        f"{own['input_dim'][-1]} at accuracy {own['accuracy'][0]:g}, the path norm that every "
        f"depth-2 network needs like d^{mass:.2f}, and the attacked sup error reaches at most "
        f"{worst:.0%} of the promised one."
    )


EXPERIMENT = Experiment(
    rows,
    chart,
    sentence,
    (
        "input_dim",
        "contender",
        "width",
        "parameters",
        "error_l2",
        "error_l2_relative",
        "error_sup_attacked",
        "error_sup_certified",
        "path_norm",
        "path_norm_floor",
        "path_norm_needed",
        "train_seconds",
        "device",
    ),
    contradictions,
)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
