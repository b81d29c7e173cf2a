"""Error and size against 1/ε at fixed dimension: constructed beside trained.

    python experiments/radial_vs_inverse_accuracy.py [--scale smoke|cpu|gpu] [--limit SECONDS]

SES19 Theorem 2: for constant dimension, the width of a depth-2 network for a Lipschitz radial
function need only be polynomial in 1/ε. For Cone, a depth-2 network of few neurons (sparse), the
network that descends from it (solved) and the best of training=search (trained, chosen by L2 or by
the largest error) have one architecture; certified networks have the width that their claim takes:
Ridge and SparseRidge, whose claim is certain for d ≤ 4 and of probability 0.999 above. Marks are
medians over seeds of the construction or of the training, bars reach from the best to the worst.

The widths are the least of a few tried at which the sparse network's attacked error was below ε.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from depthwright.experiment import Experiment, Run
from depthwright.figures.chart import Chart, Panel, Series
from depthwright.figures.exponent import interval
from depthwright.results import contradictions
from radial_contenders import (
    CERTIFIED,
    EFFORTS,
    FLOOR,
    FOR_SUP,
    RIDGE,
    SOLVED,
    SPARSE,
    TRAINED,
    lines,
    measure,
    over_seeds,
    verdict,
)

if TYPE_CHECKING:
    import polars

TARGET = "Cone"
WIDTHS = {
    2: {0.2: 8, 0.1: 8, 0.05: 8, 0.02: 14, 0.01: 46, 0.005: 192, 0.002: 974},
    3: {0.2: 8, 0.1: 12, 0.05: 20, 0.02: 88, 0.01: 400, 0.005: 1400},
    5: {0.2: 20, 0.1: 40, 0.05: 96, 0.02: 640, 0.01: 1900},
}
"""input_dim → ε → width."""
FINEST = {
    "smoke": {2: 0.2},
    "cpu": {2: 0.005, 3: 0.005, 5: 0.02},
    "gpu": {2: 0.002, 3: 0.005, 5: 0.01},
}
"""input_dim → the smallest ε."""
FINEST_CERTIFIED = {CERTIFIED: {2: 0.002, 3: 0.01, 5: 0.02}, RIDGE: {2: 0.002, 3: 0.01, 5: 0.05}}
"""The same for what a proof takes."""
SEEDS = {"smoke": 1, "cpu": 3, "gpu": 3}
EQUAL = (SPARSE, SOLVED, TRAINED, FOR_SUP)
"""Contenders of one architecture."""
NAMES = {SPARSE: "sparse", CERTIFIED: "certified", RIDGE: "ridge"}


def cells(scale: str) -> Iterator[dict[str, Any]]:
    """One seed of everything first, then two more of what has seeds."""
    own = asdict(EFFORTS[scale])
    for seed in range(SEEDS[scale]):
        for d, finest in FINEST[scale].items():
            for accuracy, width in WIDTHS[d].items():
                if accuracy < finest:
                    continue
                alone = [each for each, least in FINEST_CERTIFIED.items() if accuracy >= least[d]]
                who = EQUAL if seed else (*EQUAL, FLOOR, *alone)
                for contender in who:
                    place = {"target": TARGET, "input_dim": d, "accuracy": accuracy}
                    place |= {"contender": contender, "seed": seed}
                    yield place | {"width": width if contender in EQUAL else None} | own


def rows(run: Run) -> polars.DataFrame:
    return run.cells(cells(run.scale), measure)


def chart(rows: polars.DataFrame) -> Chart:
    middle = over_seeds(rows, "accuracy")
    ticks = tuple(sorted({1 / value for value in rows["accuracy"].to_list()}))
    about: dict[str, Any] = {"x": "1/ε", "x_log": True, "y_log": True, "ticks": ticks}
    errors: list[Panel] = []
    sizes: list[Series] = []
    norms: list[Series] = []
    for number, d in enumerate(sorted(set(rows["input_dim"].to_list()))):
        part = middle.filter(middle["input_dim"] == d)
        at = sorted({1 / value for value in part["accuracy"].to_list()})
        accuracy = Series("ε", tuple(at), tuple(1 / x for x in at), "promised", "#222222")
        found = lines(part, "accuracy", EQUAL, inverse=True)["error"]
        errors.append(Panel(y="error", series=(*found, accuracy), title=f"d = {d}", **about))
        what = lines(part, "accuracy", tuple(NAMES), f"d = {d}", number, inverse=True)
        sizes += what["size"]
        norms += lines(part, "accuracy", (SOLVED,), f"d = {d}", number, inverse=True)["norm"]
    return Chart(
        (
            *errors,
            Panel(y="hidden neurons", series=tuple(sizes), **about),
            Panel(y="path norm Σ|a|·‖w‖", series=tuple(norms), **about),
        )
    )


def sentence(rows: polars.DataFrame) -> str:
    told = []
    for d in sorted(set(rows["input_dim"].to_list())):
        grown = []
        for who, name in NAMES.items():
            part = rows.filter(
                (rows["contender"] == who) & (rows["input_dim"] == d) & (rows["seed"] == 0)
            ).drop_nulls("neurons")
            if len(part) > 2:
                slope = interval((1 / part["accuracy"]).to_list(), part["neurons"].to_list())
                grown.append(f"{name} (1/ε)^{slope}")
        if grown:
            told.append(f"in d = {d} {', '.join(grown)}")
    grows = f" Here the neurons grow like this: {'; '.join(told)}." if told else ""
    return (
        f"{verdict(rows, ('input_dim', 'accuracy'))} SES19 Theorem 2 promises a width of "
        f"exp(O(d·log(1/ε))) = (1/ε)^O(d) for constant d.{grows}"
    )


COLUMNS = (
    *("input_dim", "accuracy", "contender", "seed", "neurons", "error_l2", "error_l2_low"),
    *("error_l2_high", "error_sup_attacked", "error_promised", "path_norm", "path_norm_needed"),
    *("build_seconds", "train_seconds", "network_steps", "left_out"),
)
EXPERIMENT = Experiment(rows, chart, sentence, COLUMNS, contradictions)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
