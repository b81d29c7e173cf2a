"""The depth of narrow twins grows like log 1/ε, and their errors stay below the promise.

    python experiments/narrow_error_vs_inverse_accuracy.py [--scale smoke|cpu|gpu]

VYS22 Theorem 2 and Remark 4: the accuracy enters the depth through log(1/ε) alone, and the failure
probability not at all. One random target on [−1, 1]^2 (n = 4, L = 3, weights uniform on [−1, 1]),
ε from 1e-1 down; at every ε each twin is built, counted, and evaluated exactly at uniform points.
The printed constants are sized only. Where the claim stops is the rounding of values to float64,
so no ε below 1e-13.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from depthwright.constructions import NarrowBits, NarrowMinimal, NarrowPacked
from depthwright.experiment import Experiment, Run, least
from depthwright.figures.chart import Chart, Panel, series
from depthwright.targets import RandomNetwork

if TYPE_CHECKING:
    import polars

FAILURE = 1e-2
DIM, WIDTH, DEPTH = 2, 4, 3
EXPONENTS = {"smoke": (1, 4, 8), "cpu": (1, 2, 3, 4, 6, 8, 10, 12), "gpu": tuple(range(1, 14))}
POINTS = {"smoke": 50, "cpu": 500, "gpu": 2000}
MADE = {"narrow_packed": NarrowPacked, "narrow_bits": NarrowBits, "narrow_minimal": NarrowMinimal}
NAMES = {
    "narrow_packed": "packed (ours)",
    "narrow_bits": "Theorem 2, certified bits",
    "narrow_minimal": "Theorem 5, certified bits",
    "narrow_bits_paper": "Theorem 2, printed constants",
}


def measure(construction: str, exponent: int, points: int) -> dict[str, Any]:
    """The network for ε = 10^−exponent; where only its size is computed, errors are null."""
    import torch

    from depthwright.distributions import UniformCube

    target, accuracy = RandomNetwork(DIM, WIDTH, DEPTH, seed=0), 10.0**-exponent
    if construction == "narrow_bits_paper":
        size = NarrowBits(target, accuracy, FAILURE, bits="paper").architecture()
        measured: dict[str, float | None] = {
            "error_good": None,
            "error_promised": None,
            "bad_share": None,
        }
    else:
        built = MADE[construction](target, accuracy, FAILURE).build()
        assert built.in_bad_set is not None
        size = built.network.architecture
        x = UniformCube(DIM).sample(points, torch.Generator().manual_seed(exponent))
        gaps = (built.network.evaluate(x) - target.truth(x)).abs()[:, 0].numpy()
        bad = built.in_bad_set(x.numpy())
        measured = {
            "error_good": float(gaps[~bad].max()),
            "error_promised": built.claim.bound,
            "bad_share": float(bad.mean()),
        }
    return {
        "accuracy": accuracy,
        "width": size.width,
        "depth": size.depth,
        "parameters": size.parameters,
        **measured,
    }


def rows(run: Run) -> polars.DataFrame:
    return run.cells(
        (
            {"construction": name, "exponent": k, "points": POINTS[run.scale]}
            for name in NAMES
            for k in EXPONENTS[run.scale]
        ),
        measure,
    )


def chart(rows: polars.DataFrame) -> Chart:
    """The axis of depth is linear, so that log(1/ε) is a straight line."""
    parts = {str(name): part for (name,), part in rows.group_by("construction")}
    depths = tuple(
        series(parts[n], "accuracy", "depth", NAMES[n], "size", contender=n, inverse=True)
        for n in NAMES
    )
    errors = []
    for name in MADE:
        style: dict[str, Any] = {"contender": name, "inverse": True}
        worst = f"{NAMES[name]}: worst outside the bad set"
        errors += [
            series(parts[name], "accuracy", "error_good", worst, "sampled", **style),
            series(
                parts[name],
                "accuracy",
                "error_promised",
                f"{NAMES[name]}: promised",
                "promised",
                **style,
            ),
        ]
    return Chart(
        (
            Panel("1/ε", "depth", depths, x_log=True),
            Panel("1/ε", "error", tuple(errors), x_log=True, y_log=True),
        )
    )


def slope(rows: polars.DataFrame, construction: str) -> tuple[float, float]:
    """Layers per decimal digit of the accuracy, and how straight the line is (R²)."""
    import polars

    part = rows.filter(polars.col("construction") == construction)
    fit = np.polyfit(part["exponent"], part["depth"], 1)
    rest = part["depth"].to_numpy() - np.polyval(fit, part["exponent"])
    return float(fit[0]), 1 - float(rest.var() / part["depth"].to_numpy().var())


def sentence(rows: polars.DataFrame) -> str:
    slopes = {name: slope(rows, name) for name in NAMES}
    built = rows.drop_nulls("error_good")
    worst = float((built["error_good"] / built["error_promised"]).max())  # type: ignore[arg-type]
    text = ", ".join(f"{NAMES[name]} {value:,.0f}" for name, (value, _) in slopes.items())
    straight = min(r for _, r in slopes.values())
    return (
        f"VYS22 promises a depth of O(n²L² log(ABn/ε)): ε costs layers through its logarithm "
        f"alone. Layers per decimal digit here (n = {WIDTH}, L = {DEPTH}): {text}; a straight line "
        f"in log 1/ε fits every curve with R² ≥ {straight:.4f}. Outside the bad set the worst "
        f"error among {built['points'][0]:,} points is at most {worst:.0%} of the promised one, "
        f"down to ε = {least(built, 'accuracy'):.0e}; of all points "
        f"{np.mean(built['bad_share'].to_numpy()):.1%} are bad, δ = {FAILURE:g}."
    )


def broken(rows: polars.DataFrame) -> list[str]:
    return [
        f"{row['construction']} at {row['accuracy']:g}: error {row['error_good']:.3g}, promised "
        f"{row['error_promised']:.3g}"
        for row in rows.drop_nulls("error_good").iter_rows(named=True)
        if not row["error_good"] <= row["error_promised"] <= row["accuracy"]
    ]


EXPERIMENT = Experiment(rows, chart, sentence, broken=broken)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
