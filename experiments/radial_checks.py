"""Every radial construction against its claim: the attacked sup error is never above it.

    python experiments/radial_checks.py [--scale smoke|cpu|gpu]

Cone, Hat, RandomProfile, Monomial, ZigZag; d ∈ {2, 3, 5, 10, 20, 50}; accuracies 0.3 to 0.02;
Ridge, RadialDepthThree, SparseRidge with probability 0.999 and, for d ≤ 4, with certainty. A case
of 2·10⁵ neurons or more is listed as too wide and not built; one whose covering takes longer than
all the others is listed as too long, and built at scale gpu; nothing else is exempt. The attack
starts at the worst of many samples, on the sphere, at the network's own directions and at its
kinks. A promise is broken where an attacked error is above its claim, where the claim is above the
accuracy, or where the size is not the one announced.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from depthwright import targets
from depthwright.constructions import Construction, RadialDepthThree, Ridge, SparseRidge
from depthwright.distributions import UniformRadius
from depthwright.errors import attack
from depthwright.experiment import Experiment, Run
from depthwright.figures.chart import Chart, Panel, Series
from depthwright.figures.style import label
from depthwright.networks.network import Network
from depthwright.networks.ridge import RidgeNetwork
from depthwright.refusal import Refusal
from depthwright.targets import Radial

if TYPE_CHECKING:
    import polars

DIMENSIONS = {"smoke": (3,), "cpu": (2, 3, 5, 10, 20, 50), "gpu": (2, 3, 5, 10, 20, 50)}
ACCURACIES = {
    "smoke": (0.3,),
    "cpu": (0.3, 0.2, 0.15, 0.1, 0.05, 0.02),
    "gpu": (0.3, 0.2, 0.15, 0.1, 0.05, 0.02),
}
TARGETS = {
    "smoke": ("Cone",),
    "cpu": ("Cone", "Hat", "RandomProfile", "Monomial", "ZigZag"),
    "gpu": ("Cone", "Hat", "RandomProfile", "Monomial", "ZigZag"),
}
WIDEST = 200_000
WORK = {"smoke": 1e8, "cpu": 1.5e10, "gpu": 1.5e10}
"""Multiply-adds an attack may take: fewer starts and steps for wider networks."""
SEED = 0
CERTAIN = "sparse_ridge_certain"
MOST_CERTAIN = 4
"""A covering of the ball is for d up to this; the construction refuses others."""
TOO_LONG = (CERTAIN, "ZigZag", 3, 0.02)
"""Its covering does not end within a quarter of an hour on one core."""
COLOURS = {
    "ridge": "#0b6e99",
    "radial_depth_three": "#c8553d",
    "sparse_ridge": "#e09f3e",
    CERTAIN: "#4c956c",
}

RECIPES: dict[str, Callable[[Radial, float], Construction]] = {
    "ridge": Ridge,
    "radial_depth_three": RadialDepthThree,
    "sparse_ridge": lambda target, accuracy: SparseRidge(target, accuracy, 1e-3),
    CERTAIN: lambda target, accuracy: SparseRidge(target, accuracy, 0.0),
}


def attacked(network: Network, target: Radial, generator: torch.Generator, most: float) -> float:
    """The largest error found, starting from samples, the sphere, directions and kinks."""
    d, width = target.input_dim, network.architecture.width
    work = network.architecture.parameters
    directions = 0
    if isinstance(network, RidgeNetwork):
        directions = sum(len(group.weights) for group in network.groups)
        work = directions * (d + 40)
    budget = max(16.0, most / (4 * work))
    starts = int(np.clip(budget / 40, 16, 192))
    steps = int(np.clip(budget / starts, 12, 80))
    # Sampling takes less work than the ascent.
    count = int(np.clip(most / (8 * work), 200, 20_000))
    x = UniformRadius(d).sample(count, generator)
    parts = [
        network.evaluate(part).double() - target(part)
        for part in x.split(max(1, (1 << 25) // (directions or width)))
    ]
    gap = torch.cat(parts).abs()[:, 0]
    worst = x[gap.topk(min(starts // 2, count)).indices]
    sphere = torch.randn(starts // 4, d, generator=generator, dtype=torch.float64)
    sphere /= sphere.norm(dim=1, keepdim=True)
    own = [network.kink_points(starts // 4, generator)]
    if isinstance(network, RidgeNetwork):
        for group in network.groups:
            pick = torch.randint(len(group.weights), (max(1, starts // 16),), generator=generator)
            rows = np.zeros((len(pick), d))
            np.put_along_axis(rows, group.indices[pick.numpy()], group.values[pick.numpy()], axis=1)
            own.append(torch.from_numpy(rows))
    points = torch.cat([worst, sphere, *own, torch.zeros(1, d, dtype=torch.float64)])
    return max(float(gap.max()), attack(network, target, points.double(), steps))


def measure(
    construction: str, target: str, input_dim: int, accuracy: float, work: float, patient: bool
) -> dict[str, Any]:
    """One case; its verdict is "holds", "broken", "too wide", "too long" or "refused"."""
    start = time.perf_counter()
    radial = getattr(targets, target)(input_dim=input_dim)
    row: dict[str, Any] = {
        "verdict": "too wide",
        "width": None,
        "error_promised": None,
        "error_sup_attacked": None,
        "ratio": None,
        "formula_right": None,
        "seconds": None,
        "refusal": None,
    }
    if (construction, target, input_dim, accuracy) == TOO_LONG and not patient:
        return row | {"verdict": "too long"}
    try:
        recipe = RECIPES[construction](radial, accuracy)
        size = recipe.architecture()
        row["width"] = size.width
        if size.width >= WIDEST:
            return row
        built = recipe.build()
    except Refusal as refusal:
        return row | {"verdict": "refused", "refusal": str(refusal)}
    found = attacked(built.network, radial, torch.Generator().manual_seed(SEED), work)
    counted = built.network.architecture == size
    good = found <= built.claim.bound <= accuracy and counted
    return row | {
        "verdict": "holds" if good else "broken",
        "error_promised": built.claim.bound,
        "error_sup_attacked": found,
        "ratio": found / built.claim.bound,
        "formula_right": counted,
        "seconds": time.perf_counter() - start,
    }


def rows(run: Run) -> polars.DataFrame:
    scale = run.scale
    cases = itertools.product(RECIPES, TARGETS[scale], DIMENSIONS[scale], ACCURACIES[scale])
    return run.cells(
        (
            {
                "construction": name,
                "target": target,
                "input_dim": d,
                "accuracy": accuracy,
                "work": WORK[scale],
                "patient": scale == "gpu",
            }
            for name, target, d, accuracy in cases
            if name != CERTAIN or d <= MOST_CERTAIN
        ),
        measure,
    )


def chart(rows: polars.DataFrame) -> Chart:
    built = rows.drop_nulls("ratio")

    def points(column: str, inverse: bool) -> tuple[Series, ...]:
        found = []
        groups = built.group_by("construction", maintain_order=True)
        for beside, ((name,), part) in enumerate(groups):
            at = [1 / value if inverse else value for value in part[column]]
            where = tuple(value * 1.06 ** (beside - 1.5) for value in at)  # side by side
            notes = tuple(
                f"{target}, d = {d}, accuracy {accuracy:g}, width {width:,}"
                for target, d, accuracy, width in part.select(
                    "target", "input_dim", "accuracy", "width"
                ).rows()
            )
            ratios = tuple(part["ratio"].to_list())
            text = label(str(name))
            found.append(Series(text, where, ratios, "points", COLOURS[str(name)], notes=notes))
        return tuple(found)

    promised = (("promised", 1.0),)
    y = "attacked / promised sup error"
    dims = tuple(map(float, rows["input_dim"].unique().sort()))
    return Chart(
        (
            Panel(
                "input dimension d",
                y,
                points("input_dim", False),
                x_log=True,
                lines=promised,
                ticks=dims,
            ),
            Panel(
                "1/ε",
                y,
                points("accuracy", True),
                x_log=True,
                lines=promised,
                ticks=tuple(1 / value for value in rows["accuracy"].unique().sort()),
            ),
        )
    )


def sentence(rows: polars.DataFrame) -> str:
    counts = {verdict: (rows["verdict"] == verdict).sum() for verdict in rows["verdict"].unique()}
    built = rows.drop_nulls("ratio").sort("ratio")
    closest = built.row(-1, named=True)
    text = f"{counts.get('holds', 0)} of {len(built)} claims hold under attack"
    for verdict in ("too wide", "too long", "refused"):
        if verdict in counts:
            text += f", {counts[verdict]} {verdict}"
    return (
        f"{text}. The largest error that an attack finds is {closest['ratio']:.2%} of the promised "
        f"one at worst ({label(closest['construction'])} for {closest['target']} in dimension "
        f"{closest['input_dim']} at accuracy {closest['accuracy']:g}), "
        f"{float(np.median(built['ratio'].to_numpy())):.0%} in the median case."
    )


def broken(rows: polars.DataFrame) -> list[str]:
    return [
        f"{row['construction']} {row['target']} d={row['input_dim']} accuracy {row['accuracy']}: "
        f"attacked {row['error_sup_attacked']:.6f}, promised {row['error_promised']:.6f}, "
        f"formula {'right' if row['formula_right'] else 'wrong'}"
        for row in rows.iter_rows(named=True)
        if row["verdict"] == "broken"
    ]


COLUMNS = (
    *("construction", "target", "input_dim", "accuracy", "verdict", "width", "error_promised"),
    *("error_sup_attacked", "ratio", "formula_right", "seconds", "refusal"),
)
EXPERIMENT = Experiment(rows, chart, sentence, COLUMNS, broken)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
