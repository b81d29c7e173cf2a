"""Error and size against 1/ε at fixed dimension: constructed beside trained.

    python experiments/radial_vs_inverse_accuracy.py [--scale smoke|cpu|gpu] [KEY=VALUE …]

SES19 Theorem 2: for constant dimension, the width of a depth-2 network for a Lipschitz radial
function need only be polynomial in 1/ε. Cells of conf/experiment/radial_vs_inverse_accuracy.yaml
over the accuracy; the path norm that every depth-2 network of that accuracy needs stands beside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthwright.comparison import CONSTRUCTED
from depthwright.experiment import Experiment, Run
from depthwright.figures.chart import Chart, Panel, Series, series
from depthwright.figures.exponent import exponent
from depthwright.figures.style import label
from depthwright.results import contradictions

if TYPE_CHECKING:
    import polars

ACCURACIES = {
    "smoke": (0.2, 0.1),
    "cpu": (0.2, 0.1, 0.05, 0.025),
    "gpu": (0.2, 0.1, 0.05, 0.025, 0.015),
}
NAMES = {CONSTRUCTED: "SparseRidge", "constructed_ridge": "Ridge"}


def rows(run: Run) -> polars.DataFrame:
    return run.sweep({"accuracy": ACCURACIES[run.scale]})


def _name(contender: str) -> str:
    return NAMES.get(contender, label(contender))


def chart(rows: polars.DataFrame) -> Chart:
    errors: list[Series] = []
    sizes: list[Series] = []
    norms: list[Series] = []
    for (contender,), part in rows.group_by("contender", maintain_order=True):
        who = str(contender)

        def line(
            y: str, what: str, kind: str, part: polars.DataFrame = part, who: str = who
        ) -> Series:
            text = f"{_name(who)}{what}"
            return series(part, "accuracy", y, text, kind, contender=who, inverse=True)  # type: ignore[arg-type]

        errors.append(line("error_sup_attacked", ": sup, attacked", "sampled"))
        errors.append(line("error_l2", ": L2", "measured"))
        if part["error_sup_certified"].is_not_null().any():
            errors.append(line("error_sup_certified", ": sup, promised", "promised"))
            sizes.append(line("width", "", "size"))
        norms.append(line("path_norm", "", "size"))
    own = rows.filter(rows["contender"] == CONSTRUCTED)
    needed = series(
        own,
        "accuracy",
        "path_norm_needed",
        "no depth-2 network within ε below this",
        "floor",
        contender="floor",
        inverse=True,
    )
    ticks = tuple(sorted({1 / value for value in rows["accuracy"].to_list()}))
    return Chart(
        tuple(
            Panel("1/ε", what, tuple(lines), x_log=True, y_log=True, ticks=ticks)
            for what, lines in (
                ("error", errors),
                ("hidden neurons", sizes),
                ("path norm Σ|a|·‖w‖", [*norms, needed]),
            )
        )
    )


def sentence(rows: polars.DataFrame) -> str:
    parts = {who: rows.filter(rows["contender"] == who).sort("accuracy") for who in NAMES}
    slopes = {
        who: exponent((1 / part["accuracy"]).to_list(), part["width"].to_list())
        for who, part in parts.items()
    }
    own = parts[CONSTRUCTED]
    inverse = (1 / own["accuracy"]).to_list()
    mass = exponent(inverse, own["path_norm_needed"].to_list())
    text = " and ".join(f"{NAMES[who]} like (1/ε)^{slope:.2f}" for who, slope in slopes.items())
    return (
        f"SES19 Theorem 2 promises a width of exp(O(d·log(1/ε))) = (1/ε)^O(d) for constant d; in "
        f"d = {own['input_dim'][0]}, 1/ε from {inverse[-1]:g} to {inverse[0]:g}, the neurons of "
        f"{text} grow, with deterministic claims, and the path norm that every depth-2 network "
        f"needs like (1/ε)^{mass:.2f}."
    )


EXPERIMENT = Experiment(
    rows,
    chart,
    sentence,
    (
        "accuracy",
        "contender",
        "width",
        "error_l2",
        "error_sup_attacked",
        "error_sup_certified",
        "path_norm",
        "path_norm_floor",
        "path_norm_needed",
    ),
    contradictions,
)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
