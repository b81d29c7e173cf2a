"""Depth and error of narrow twins against log 1/ε and against n, beside trained networks.

    python experiments/narrow_error_vs_inverse_accuracy.py [--scale smoke|cpu|gpu]

VYS22 Theorem 2 and Remark 4: the accuracy enters the depth through log(1/ε) alone, and the failure
probability not at all. One random target on [−1, 1]^2 (n = 4, L = 3, weights uniform on [−1, 1]),
ε from 1e-1 down; at every ε each twin is built, counted, and evaluated exactly at uniform points.
The printed constants are sized only. Where the claim stops is the rounding of values to float64,
so no ε below 1e-13. Trained: of the packed twin's depth, and of its width or of its number of
parameters; the best of two styles, two learning rates and two seeds by its root mean square, its
bar from the smallest to the largest error of the eight. Right: the same at one ε for targets of
width n.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from depthwright.constructions import NarrowBits, NarrowMinimal, NarrowPacked
from depthwright.experiment import Experiment, Run, largest, least
from depthwright.figures.chart import Chart, Panel, Series, series
from depthwright.targets import RandomNetwork
from depthwright.training.matching import hidden_width

if TYPE_CHECKING:
    import polars

FAILURE = 1e-2
DIM, WIDTH, DEPTH = 2, 4, 3
EXPONENTS = {"smoke": (1, 4, 8), "cpu": (1, 2, 3, 4, 6, 8, 10, 12), "gpu": tuple(range(1, 14))}
POINTS = {"smoke": 50, "cpu": 500, "gpu": 2000}
MADE = {"narrow_packed": NarrowPacked, "narrow_bits": NarrowBits, "narrow_minimal": NarrowMinimal}
COLOURS = {"trained_width": "#6b705c", "trained_parameters": "#b56576"}
RIVALS = {"trained_width": "trained, same width", "trained_parameters": "trained, same parameters"}
TRAINED_EXPONENTS = {"smoke": (1,), "cpu": (1, 2, 4, 8, 12), "gpu": (1, 2, 4, 8, 12)}
STEPS = {"smoke": 20, "cpu": 400, "gpu": 400}
WIDTHS = {"smoke": (4, 8), "cpu": (4, 8, 16, 32, 64), "gpu": (4, 8, 16, 32, 64, 128)}
"""n of the right panel, …"""
EXPONENT = 2
"""… where ε = 10^−EXPONENT."""
NAMES = {
    "narrow_packed": "packed (ours)",
    "narrow_bits": "Theorem 2, certified bits",
    "narrow_minimal": "Theorem 5, certified bits",
    "narrow_bits_paper": "Theorem 2, printed constants",
}


def measure(construction: str, exponent: int, points: int, n: int, steps: int) -> dict[str, Any]:
    """The network for ε = 10^−exponent; where only its size is computed, errors are null."""
    import torch

    from depthwright.distributions import UniformCube

    target, accuracy = RandomNetwork(DIM, n, DEPTH, seed=0), 10.0**-exponent
    if construction in RIVALS:
        return {"accuracy": accuracy} | trained(construction, target, accuracy, points, steps)
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


def trained(
    rival: str, target: RandomNetwork, accuracy: float, points: int, steps: int
) -> dict[str, Any]:
    """The best network of the twin's depth, and of its width or its number of parameters."""
    import torch

    from depthwright.distributions import UniformCube
    from depthwright.training import TrainerConfig, TrainingConfig, train_rivals

    twin, law = NarrowPacked(target, accuracy, FAILURE).architecture(), UniformCube(DIM)
    width = twin.width
    if rival == "trained_parameters":
        width = hidden_width(DIM, 1, twin.depth, twin.parameters)
    config = TrainingConfig(
        steps=steps,
        batch_size=128,
        learning_rates=[1e-3, 1e-2],
        styles=["plain", "normalised_residual"],
    )
    found = train_rivals(
        {rival: [(DIM, *[width] * (twin.depth - 1), 1)]},
        target,
        law,
        config,
        TrainerConfig(accelerator="cpu"),
        progress=False,
    ).rivals[rival]
    x = law.sample(points, torch.Generator().manual_seed(0))
    size, gaps = found.network.architecture, (found.network.evaluate(x).double() - target(x)).abs()
    met = [member.best_sup for member in found.members]
    return {
        "width": size.width,
        "depth": size.depth,
        "parameters": size.parameters,
        "error_good": float(gaps.max()),
        "error_least": min(met),
        "error_most": max(met),
        "train_seconds": found.train_seconds,
    }


def rows(run: Run) -> polars.DataFrame:
    kept = {"points": POINTS[run.scale], "steps": STEPS[run.scale]}
    over_accuracy = [(name, k, WIDTH) for name in NAMES for k in EXPONENTS[run.scale]]
    over_accuracy += [(name, k, WIDTH) for name in RIVALS for k in TRAINED_EXPONENTS[run.scale]]
    over_n = [(name, EXPONENT, n) for name in ("narrow_packed", *RIVALS) for n in WIDTHS[run.scale]]
    return run.cells(
        (
            {"construction": name, "exponent": k, "n": n, **kept}
            for name, k, n in dict.fromkeys(over_accuracy + over_n)
        ),
        measure,
    )


def chart(rows: polars.DataFrame) -> Chart:
    """The axis of depth is linear, so that log(1/ε) is a straight line."""
    of_n = rows.filter(rows["exponent"] == EXPONENT)
    parts = {str(name): part for (name,), part in _over_accuracy(rows).group_by("construction")}
    wide = {str(name): part for (name,), part in of_n.group_by("construction")}
    depths = tuple(
        series(parts[n], "accuracy", "depth", NAMES[n], "size", contender=n, inverse=True)
        for n in NAMES
    )
    errors = [line for name in MADE for line in _twin(parts[name], name, "accuracy")]
    errors += [_rival(parts[name], name, "accuracy") for name in RIVALS]
    beside = _twin(wide["narrow_packed"], "narrow_packed", "n")
    beside += [_rival(wide[name], name, "n") for name in RIVALS]
    ticks = tuple(float(n) for n in sorted(set(of_n["n"].to_list())))
    title = f"ε = {10.0**-EXPONENT:g}"
    return Chart(
        (
            Panel("1/ε", "depth", depths, x_log=True),
            Panel("1/ε", "largest error", tuple(errors), x_log=True, y_log=True),
            Panel("n", "largest error", tuple(beside), True, True, ticks=ticks, title=title),
        )
    )


def _over_accuracy(rows: polars.DataFrame) -> polars.DataFrame:
    return rows.filter(rows["n"] == WIDTH)


def _twin(part: polars.DataFrame, name: str, column: str) -> list[Series]:
    style: dict[str, Any] = {"contender": name, "inverse": column == "accuracy"}
    worst, promised = f"{NAMES[name]}: worst outside the bad set", f"{NAMES[name]}: promised"
    return [
        series(part, column, "error_good", worst, "sampled", **style),
        series(part, column, "error_promised", promised, "promised", **style),
    ]


def _rival(part: polars.DataFrame, name: str, column: str) -> Series:
    ends, inverse = ("error_least", "error_most"), column == "accuracy"
    return series(
        part, column, "error_good", RIVALS[name], "sampled", contender=COLOURS[name],
        interval=ends, inverse=inverse,
    )  # fmt: skip


def slope(rows: polars.DataFrame, construction: str) -> tuple[float, float]:
    """Layers per decimal digit of the accuracy, and how straight the line is (R²)."""
    import polars

    part = _over_accuracy(rows).filter(polars.col("construction") == construction)
    fit = np.polyfit(part["exponent"], part["depth"], 1)
    rest = part["depth"].to_numpy() - np.polyval(fit, part["exponent"])
    return float(fit[0]), 1 - float(rest.var() / part["depth"].to_numpy().var())


def sentence(rows: polars.DataFrame) -> str:
    slopes = {name: slope(rows, name) for name in NAMES}
    built = rows.drop_nulls("error_promised")
    rivals = rows.filter(rows["construction"].is_in(list(RIVALS)))
    worst = float((built["error_good"] / built["error_promised"]).max())  # type: ignore[arg-type]
    text = ", ".join(f"{NAMES[name]} {value:,.0f}" for name, (value, _) in slopes.items())
    straight = min(r for _, r in slopes.values())
    return (
        f"One more decimal digit of accuracy costs the packed twin "
        f"{slopes['narrow_packed'][0]:,.0f} layers, Theorem 2's {slopes['narrow_bits'][0]:,.0f}. "
        f"VYS22 promises a depth of O(n²L² log(ABn/ε)), in which ε stands in a logarithm. Layers "
        f"per decimal digit (n = {WIDTH}, L = {DEPTH}): {text}; a straight line in log 1/ε fits "
        f"every curve with R² ≥ {straight:.4f}. Outside the bad set the worst error among "
        f"{built['points'][0]:,} points is at most {worst:.0%} of the promised one, down to "
        f"ε = {least(built, 'accuracy'):.0e}; {np.mean(built['bad_share'].to_numpy()):.1%} of all "
        f"points are in the bad set, where δ = {FAILURE:g}. Trained networks as deep as the packed "
        f"twin, of its width or of its number of parameters, have largest errors from "
        f"{least(rivals, 'error_good'):.2g} to {largest(rivals, 'error_good'):.2g}."
    )


def broken(rows: polars.DataFrame) -> list[str]:
    return [
        f"{row['construction']} at {row['accuracy']:g}: error {row['error_good']:.3g}, promised "
        f"{row['error_promised']:.3g}"
        for row in rows.drop_nulls("error_promised").iter_rows(named=True)
        if not row["error_good"] <= row["error_promised"] <= row["accuracy"]
    ]


EXPERIMENT = Experiment(rows, chart, sentence, broken=broken)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
