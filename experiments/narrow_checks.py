"""Every narrow construction keeps VYS22's promise, at random uniform points.

    python experiments/narrow_checks.py [--scale smoke|cpu|gpu]

Accuracy 1e-2, δ = 1e-2: size (formula and count), widths against the theorem's, share of points
above the accuracy with its Clopper–Pearson bounds, error outside the bad set. A promise is broken
if the share's lower bound at 99.9 % is above δ, if an error outside the bad set is above the
claim's bound, if a network is wider than its theorem says, or if a formula and a count differ.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from depthwright.constructions import REGISTRY, Construction
from depthwright.experiment import Experiment, Run
from depthwright.figures.chart import Chart, Panel, Series
from depthwright.figures.style import label
from depthwright.targets import RandomNetwork

if TYPE_CHECKING:
    import polars

ACCURACY = FAILURE = 1e-2
WIDTHS: dict[str, Callable[[int, int], int]] = {
    "narrow_bits": lambda d, depth: max(5 * d, 10),
    "narrow_minimal": lambda d, depth: max(d + 2, 10),
    "narrow_packed": lambda d, depth: max(d + 2, 4),
    "narrow_bounded": lambda d, depth: max(d + 2, 4),  # over NarrowPacked
    "narrow_exact": lambda d, depth: 2 * (d + depth - 1) + 1,
    "narrow_exact_slim": lambda d, depth: max(2 * d, d + depth + 1),
}
"""Width each theorem promises for one output; a construction without an entry is not checked."""
POINTS = {"smoke": 100, "cpu": 1000, "gpu": 4000}
CASES = {
    "smoke": ((2, 4, 2), (2, 4, 3)),
    "cpu": tuple(itertools.product((2, 3), (4, 8), (2, 3))),
    "gpu": tuple(itertools.product((2, 3), (4, 8), (2, 3))),
}
"""Input dimension d, width n and depth L of the targets."""


def make(kind: type[Construction], target: RandomNetwork) -> Construction:
    """Pass the accuracy and δ only where the theorem has them."""
    fields = {field.name for field in dataclasses.fields(kind)}
    wanted = {"accuracy": ACCURACY, "failure_probability": FAILURE}
    return kind(target, **{k: v for k, v in wanted.items() if k in fields})


def measure(
    construction: str, d: int, n: int, target_depth: int, points: int, seed: int
) -> dict[str, Any]:
    """Measure one construction for one target, at its own points."""
    import torch

    from depthwright.distributions import UniformCube
    from depthwright.errors import exceedance

    start = time.perf_counter()
    target = RandomNetwork(d, n, target_depth, seed=0)
    recipe = make(REGISTRY[construction], target)
    built = recipe.build()
    size = built.network.architecture
    x = UniformCube(d, target.radius).sample(points, torch.Generator().manual_seed(seed))
    truth = target.as_network().evaluate(x, "exact")
    errors = (built.network.evaluate(x, built.claim.arithmetic) - truth).abs().amax(dim=1).numpy()
    inside = errors[~built.in_bad_set(x.numpy())] if built.in_bad_set else errors
    share = exceedance(errors, built.claim.bound)
    allowed = WIDTHS[construction](d, target_depth) if construction in WIDTHS else size.width
    return {
        "width": size.width,
        "width_allowed": allowed,
        "depth": size.depth,
        "parameters": size.parameters,
        "formula_right": size == recipe.architecture(),
        "error_promised": built.claim.bound,
        "error_good": float(inside.max()),
        "error_median": float(np.median(errors)),
        "failure_probability": built.claim.failure_probability,
        "exceedance": share.share,
        "exceedance_lower": share.lower,
        "exceedance_upper": share.upper,
        "seconds": time.perf_counter() - start,
    }


def rows(run: Run) -> polars.DataFrame:
    """All constructions whose names begin with narrow_."""
    names = [name for name in REGISTRY if name.startswith("narrow_")]
    cases = itertools.product(names, CASES[run.scale])
    return run.cells(
        (
            {
                "construction": name,
                "d": d,
                "n": n,
                "target_depth": depth,
                "points": POINTS[run.scale],
                "seed": seed,
            }
            for seed, (name, (d, n, depth)) in enumerate(cases)
        ),
        measure,
    )


def chart(rows: polars.DataFrame) -> Chart:
    """Per case: largest error on good inputs over the claim; share above it with its bounds."""
    cases = rows.select("d", "n", "target_depth").unique(maintain_order=True).rows()
    errors, shares = [], []
    groups = rows.group_by("construction", maintain_order=True)
    for beside, ((name,), part) in enumerate(groups):
        numbers = [cases.index(row) for row in part.select("d", "n", "target_depth").rows()]
        where = tuple(number + 0.1 * beside for number in numbers)  # side by side
        notes = tuple("d = {}, n = {}, L = {}".format(*cases[k]) for k in numbers)
        text = label(str(name))
        ratio = (part["error_good"] / part["error_promised"]).to_list()
        errors.append(Series(text, where, tuple(ratio), "points", contender=str(name), notes=notes))
        shares.append(
            Series(
                text,
                where,
                tuple(part["exceedance"].to_list()),
                "points",
                contender=str(name),
                low=tuple(part["exceedance_lower"].to_list()),
                high=tuple(part["exceedance_upper"].to_list()),
                notes=notes,
            )
        )
    x = "case (d, n, L in the order of the table)"
    ticks = tuple(map(float, range(len(cases))))
    one, delta = (("promised", 1.0),), (("δ", FAILURE),)
    return Chart(
        (
            Panel(x, "worst good error / promised", tuple(errors), lines=one, ticks=ticks),
            Panel(x, "share of points above the promise", tuple(shares), lines=delta, ticks=ticks),
        )
    )


def sentence(rows: polars.DataFrame) -> str:
    worst = float((rows["error_good"] / rows["error_promised"]).max())  # type: ignore[arg-type]
    above = int((rows["exceedance"] * rows["points"]).round().sum())
    points = int(rows["points"].sum())
    return (
        f"Outside the bad set no error of {len(rows)} twins is above {worst:.0%} of the promised "
        f"one; {above / points:.1%} of all points are above the promise, where δ = {FAILURE:.0%} "
        f"may be. VYS22's theorems promise an error of at most ε outside a set of probability δ; "
        f"here ε = {ACCURACY:g}, {rows['points'][0]:,} random points of each twin, {above:,} of "
        f"{points:,} above the promise. In {len(rows) - len(broken(rows))} of {len(rows)} cases "
        f"the width is at most the theorem's, and the size is the one that the formula says."
    )


def broken(rows: polars.DataFrame) -> list[str]:
    found = []
    for row in rows.iter_rows(named=True):
        case = f"{row['construction']} d={row['d']} n={row['n']} L={row['target_depth']}"
        wrong = {
            "formula and count differ": not row["formula_right"],
            "wider than the theorem": row["width"] > row["width_allowed"],
            "fails more often than δ": row["exceedance_lower"] > row["failure_probability"],
            "a good point above the bound": not row["error_good"] <= row["error_promised"],
            "bound above the accuracy": not row["error_promised"] <= max(ACCURACY, 1e-12),
        }
        found += [f"{case}: {what}" for what, is_so in wrong.items() if is_so]
    return found


EXPERIMENT = Experiment(rows, chart, sentence, broken=broken)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
