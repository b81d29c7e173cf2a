"""One ridge, sin(πΣx_i) over ℓ inputs: random first layers against trained and constructed ones.

    python experiments/random_feature_floor.py [--scale smoke|cpu|gpu] [KEY=VALUE …]

HSSV21 Lemma 34: a first layer drawn without looking at f = 4ε√2·sin(π·Σ_{i ≤ ℓ} x_i) needs
C(d, ℓ)/4 neurons for error ε with probability ½, where O(ℓ) constructed ones do. Left: the cells of
conf/experiment/random_feature_floor.yaml over ℓ in d = 20, all four contenders of one width.
Right: the mean squared error of random features, over several draws, against their number, and the
floor of bounds/random_features.py that their mean cannot pass.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from depthwright.bounds import fewest, mean_square_floor, orbit
from depthwright.distributions import UniformCube
from depthwright.experiment import Experiment, Run
from depthwright.figures.chart import Chart, Panel, Series, series
from depthwright.figures.style import OTHERS, label
from depthwright.results import contradictions
from depthwright.targets import SineRidge
from depthwright.training import TrainingConfig
from depthwright.training.features import draw, fit_output

if TYPE_CHECKING:
    import polars

DIMENSION = 20
TERMS = {"smoke": (1, 2), "cpu": (1, 2, 3, 4), "gpu": (1, 2, 3, 4, 5)}
FLOOR_TERMS = {"smoke": (1,), "cpu": (1, 2, 3), "gpu": (1, 2, 3)}
WIDTHS = {
    "smoke": (10, 100),
    "cpu": (10, 30, 100, 300, 1000),
    "gpu": (10, 30, 100, 300, 1000, 3000),
}
DRAWS = {"smoke": 2, "cpu": 4, "gpu": 12}
TRAINING = TrainingConfig(validation_points=40_000)
SPREAD = 2.0
"""Scale of the biases, in medians of abs(w·x)."""
MADE = {
    "random_features": "with a random first layer",
    "trained_architecture": "trained",
    "constructed": "constructed",
}


def measure(terms: int, neurons: int, draws: int) -> dict[str, Any]:
    """Squared relative error of the best output layer over random first layers."""
    import torch

    target, law = SineRidge(DIMENSION, terms), UniformCube(DIMENSION)
    squares = []
    for seed in range(draws):
        layer = draw(neurons, law, SPREAD, torch.Generator().manual_seed(seed))
        squares.append(fit_output([layer], target, law, TRAINING, seed).validation_rmse ** 2)
    return {
        "mean": sum(squares) / draws,
        "best": min(squares),
        "worst": max(squares),
        "floor": mean_square_floor(target, neurons),
    }


def rows(run: Run) -> polars.DataFrame:
    """The comparisons, and the draws (recognised by their number of neurons)."""
    import polars

    compared = run.sweep({"target.terms": TERMS[run.scale]})
    cells = [
        {"terms": terms, "neurons": neurons, "draws": DRAWS[run.scale]}
        for terms in FLOOR_TERMS[run.scale]
        for neurons in WIDTHS[run.scale]
    ]
    drawn = replace(run, overrides=()).cells(cells, measure)
    return polars.concat([compared, drawn], how="diagonal_relaxed")


def chart(rows: polars.DataFrame) -> Chart:
    compared = rows.drop_nulls("contender")
    lines = [
        series(
            part,
            "terms",
            "error_l2_relative",
            label(str(contender)),
            contender=str(contender),
            note="width",
        )
        for (contender,), part in compared.group_by("contender", maintain_order=True)
    ]
    drawn = rows.drop_nulls("neurons")
    floors: list[Series] = []
    for ((terms,), part), colour in zip(
        drawn.group_by("terms", maintain_order=True), OTHERS, strict=False
    ):
        at = tuple(part["neurons"].to_list())
        floors += [
            Series(
                f"ℓ = {terms}: measured",
                at,
                tuple(part["mean"].to_list()),
                contender=colour,
                low=tuple(part["best"].to_list()),
                high=tuple(part["worst"].to_list()),
            ),
            Series(
                f"ℓ = {terms}: floor of the mean",
                at,
                tuple(part["floor"].to_list()),
                "floor",
                colour,
            ),
        ]
    ticks = tuple(float(t) for t in sorted(set(compared["terms"].to_list())))
    return Chart(
        (
            Panel("inputs ℓ in the sum", "L2 error / ‖f‖", tuple(lines), y_log=True, ticks=ticks),
            Panel("random neurons", "squared L2 error / ‖f‖²", tuple(floors), x_log=True),
        )
    )


def sentence(rows: polars.DataFrame) -> str:
    compared = rows.drop_nulls("contender")
    last = compared.filter(compared["terms"] == compared["terms"].max())
    errors = dict(
        zip(last["contender"].to_list(), last["error_l2_relative"].to_list(), strict=True)
    )
    terms, neurons = int(last["terms"][0]), int(last["width"].min())  # type: ignore[arg-type]
    told = ", ".join(f"{label(name)} {error:.2g}" for name, error in errors.items())
    drawn = rows.drop_nulls("neurons")
    nearest = float((drawn["mean"] - drawn["floor"]).min())  # type: ignore[arg-type]
    five, own = SineRidge(DIMENSION, 5), SineRidge(DIMENSION, terms)
    found = ", ".join(f"{errors[who]:.0%} {how}" for who, how in MADE.items() if who in errors)
    return (
        f"With {neurons} neurons the L2 error, as a part of ‖f‖, is {found}. This is for "
        f"ℓ = {terms} of {DIMENSION} inputs; all relative errors: {told}. HSSV21 proves that at "
        f"least {math.ceil(fewest(own)):,} random neurons are needed for an error of ‖f‖/4 with "
        f"probability ½ ({math.ceil(fewest(five)):,} for ℓ = 5), an argument by sign symmetry "
        f"{math.ceil(15 / 32 * orbit(own)):,}. In {len(drawn)} cells the mean squared error of "
        f"random features is above its floor by at least {nearest:.2g} of ‖f‖²; the sampling error "
        f"of one of them is about {1 / math.sqrt(2 * TRAINING.validation_points):.1g}."
    )


def broken(rows: polars.DataFrame) -> list[str]:
    drawn = rows.drop_nulls("neurons")
    noise = 4 * 2 / math.sqrt(TRAINING.validation_points)
    below = [
        f"ℓ = {row['terms']}, {row['neurons']} random neurons: mean {row['mean']:.4g} below "
        f"{row['floor']:.4g}"
        for row in drawn.iter_rows(named=True)
        if row["mean"] + row["worst"] - row["best"] + noise < row["floor"]
    ]
    return below + contradictions(rows)


EXPERIMENT = Experiment(
    rows,
    chart,
    sentence,
    (
        "terms",
        "contender",
        "width",
        "error_l2_relative",
        "error_sup_attacked",
        "error_sup_certified",
        "neurons",
        "mean",
        "floor",
    ),
    broken,
)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
