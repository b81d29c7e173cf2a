"""The unit ball's indicator in R^100: depth 3 against wider and wider depth 2, after SS17.

    python experiments/ball_indicator.py [--scale smoke|cpu|gpu]

Safran and Shamir (ICML 2017) trained networks of depth 2 and 3 to tell the inside of the unit ball
from its outside, with squared loss, and found the small network of depth 3 below all of depth 2,
however wide. The protocol, from secondary sources and so kept in `Protocol`: direction uniform,
norm uniform on [0, 2]; SGD with momentum; the rate falls by 5 % every 1,000 batches. The scale gpu
is its full size; the others take fewer batches, the rate falling so much faster that it ends where
SS17's does. Five seeds at once, each with data of its own; bands reach from the best to the worst.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from depthwright.experiment import Experiment, Run
from depthwright.figures.chart import Chart, Panel, Series
from depthwright.figures.style import OTHERS

if TYPE_CHECKING:
    import polars
    import torch


@dataclass(frozen=True)
class Protocol:
    """The setting of SS17, as far as it is reported."""

    input_dim: int = 100
    largest_norm: float = 2.0
    hidden: tuple[tuple[int, ...], ...] = ((100, 20), (100,), (200,), (400,), (800,))
    training_points: int = 500_000
    validation_points: int = 50_000
    batch_size: int = 100
    momentum: float = 0.95
    first_rate: float = 0.1
    decay: float = 0.95
    decay_every: int = 1000
    """Batches between two decays of the rate."""
    last_rate: float = 1e-4
    """The learning rate at which training ends."""

    @property
    def steps(self) -> int:
        """Batches until the rate is the last one."""
        return self.decay_every * math.ceil(
            math.log(self.last_rate / self.first_rate) / math.log(self.decay)
        )


PROTOCOL = Protocol()
STEPS = {"smoke": 100, "cpu": 8000, "gpu": PROTOCOL.steps}
SEEDS = {"smoke": 2, "cpu": 5, "gpu": 5}
VALIDATIONS = 10
POINTS = {"smoke": 20_000, "cpu": PROTOCOL.training_points, "gpu": PROTOCOL.training_points}
LOOKS = dict(
    zip(PROTOCOL.hidden, ("#0b6e99", *OTHERS[:1], "#e09f3e", "#c8553d", "#6d1a36"), strict=True)
)


@lru_cache(maxsize=2)
def points(
    count: int, seeds: int, stream: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs (seeds, count, input_dim) and labels (seeds, count, 1), float32, of each seed."""
    import torch

    from depthwright.distributions import UniformRadius

    law = UniformRadius(PROTOCOL.input_dim, PROTOCOL.largest_norm)
    drawn = [
        law.sample(count, torch.Generator().manual_seed(1000 * stream + seed), torch.float32)
        for seed in range(seeds)
    ]
    x = torch.stack(drawn).to(device)
    return x, (torch.linalg.vector_norm(x, dim=2, keepdim=True) <= 1).to(x.dtype)


def measure(
    hidden: tuple[int, ...], steps: int, seeds: int, training_points: int
) -> list[dict[str, Any]]:
    """Validation RMSE during training of one architecture, all seeds in one stacked network."""
    import torch

    from depthwright.networks import Architecture
    from depthwright.training import Ensemble

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    widths = (PROTOCOL.input_dim, *hidden, 1)
    ensemble = Ensemble(widths, range(seeds)).to(device)
    optimiser = torch.optim.SGD(
        ensemble.parameters(), lr=PROTOCOL.first_rate, momentum=PROTOCOL.momentum
    )
    x, y = points(training_points, seeds, 0, device)
    seen_x, seen_y = points(PROTOCOL.validation_points, seeds, 1, device)
    shuffle = torch.Generator().manual_seed(0)
    order = torch.randperm(training_points, generator=shuffle)
    batches, rows = training_points // PROTOCOL.batch_size, []
    for step in range(steps + 1):
        if step % max(1, steps // VALIDATIONS) == 0 or step == steps:
            errors = rmse(ensemble, seen_x, seen_y)
            rows += [
                {
                    "seed": seed,
                    "step": step,
                    "rmse": error,
                    "parameters": Architecture.of(widths).parameters,
                }
                for seed, error in enumerate(errors)
            ]
        if step == steps:
            break
        if step and step % batches == 0:
            order = torch.randperm(training_points, generator=shuffle)
        chosen = order[step % batches * PROTOCOL.batch_size :][: PROTOCOL.batch_size].to(device)
        decays = step * PROTOCOL.steps / steps // PROTOCOL.decay_every
        for group in optimiser.param_groups:
            group["lr"] = PROTOCOL.first_rate * PROTOCOL.decay**decays
        optimiser.zero_grad()
        gaps = values(ensemble, x[:, chosen]) - y[:, chosen]
        # A sum over seeds: each network's gradient is its own.
        gaps.square().mean(dim=(1, 2)).sum().backward()
        optimiser.step()
    return rows


def values(ensemble: Any, x: torch.Tensor) -> torch.Tensor:
    """Values of each network at its own inputs: (seeds, batch, input_dim) → (seeds, batch, 1)."""
    import torch

    layers = list(zip(ensemble.weights, ensemble.biases, strict=True))
    for weight, bias in layers[:-1]:
        x = torch.baddbmm(bias, x, weight).relu()
    return torch.baddbmm(layers[-1][1], x, layers[-1][0])


def rmse(ensemble: Any, x: torch.Tensor, y: torch.Tensor) -> list[float]:
    """Root mean squared error of each network."""
    import torch

    with torch.no_grad():
        parts = zip(x.split(5000, dim=1), y.split(5000, dim=1), strict=True)
        total = sum((values(ensemble, a) - b).square().sum(dim=(1, 2)) for a, b in parts)
    return [math.sqrt(float(t) / x.shape[1]) for t in total]


def rows(run: Run) -> polars.DataFrame:
    import polars

    each = {
        "steps": STEPS[run.scale],
        "seeds": SEEDS[run.scale],
        "training_points": POINTS[run.scale],
    }
    cells = [{"hidden": hidden} | each for hidden in PROTOCOL.hidden]
    found = run.cells(cells, measure)
    return found.with_columns(
        polars.col("hidden").list.eval(polars.element().cast(str)).list.join(" × ")
    )


def name(hidden: str) -> str:
    return f"depth {2 + hidden.count('×')}, hidden {hidden}"


def colour(hidden: str) -> str:
    return LOOKS[tuple(int(n) for n in hidden.split(" × "))]


def finals(rows: polars.DataFrame) -> polars.DataFrame:
    """Mean and extremes over the seeds at the end, by architecture."""
    import polars

    last = rows.filter(polars.col("step") == polars.col("step").max())
    return last.group_by("hidden", maintain_order=True).agg(
        polars.col("rmse").mean().alias("mean"),
        polars.col("rmse").min().alias("best"),
        polars.col("rmse").max().alias("worst"),
        polars.col("parameters").first(),
    )


def chart(rows: polars.DataFrame) -> Chart:
    import polars

    lines = []
    for (hidden,), part in rows.group_by("hidden", maintain_order=True):
        over = part.group_by("step").agg(
            polars.col("rmse").mean().alias("mean"),
            polars.col("rmse").min().alias("best"),
            polars.col("rmse").max().alias("worst"),
        )
        over = over.filter(polars.col("step") > 0).sort("step")
        lines.append(
            Series(
                name(str(hidden)),
                tuple(over["step"].to_list()),
                tuple(over["mean"].to_list()),
                "measured",
                contender=colour(str(hidden)),
                low=tuple(over["best"].to_list()),
                high=tuple(over["worst"].to_list()),
                band=True,
            )
        )
    ends = [
        Series(
            name(row["hidden"]),
            (row["parameters"],),
            (row["mean"],),
            "measured",
            contender=colour(row["hidden"]),
            low=(row["best"],),
            high=(row["worst"],),
        )
        for row in finals(rows).iter_rows(named=True)
    ]
    what = "validation RMSE, mean and range of seeds"
    sizes = tuple(float(count) for count in sorted(set(rows["parameters"].to_list())))[1:]
    return Chart(
        (
            Panel("batches of 100 points", what, tuple(lines)),
            Panel("parameters", "the same at the end", tuple(ends), x_log=True, ticks=sizes),
        )
    )


def sentence(rows: polars.DataFrame) -> str:
    ends = finals(rows)
    deep = ends.filter(ends["hidden"].str.contains("×")).row(0, named=True)
    flat = [row for row in ends.iter_rows(named=True) if row["hidden"] != deep["hidden"]]
    texts = ", ".join(f"{row['hidden']}: {row['mean']:.3f}" for row in flat)
    best = min(flat, key=lambda row: row["mean"])
    below = (
        "below all of depth 2"
        if deep["worst"] < min(r["best"] for r in flat)
        else ("below all means of depth 2" if deep["mean"] < best["mean"] else "not below depth 2")
    )
    steps = int(np.max(rows["step"].to_list()))
    return (
        f"Depth 3 with {deep['parameters']:,} parameters ends at an error of {deep['mean']:.3f}, "
        f"the best depth 2 with {best['parameters']:,} at {best['mean']:.3f}. SS17 reports that "
        f"depth 3 ends below every network of depth 2. Here, after {steps:,} batches "
        f"({PROTOCOL.steps:,} in full), its validation RMSE is {deep['best']:.3f} to "
        f"{deep['worst']:.3f} over {rows['seed'].n_unique()} seeds, {below}; the means of depth 2 "
        f"are, by width, {texts}."
    )


EXPERIMENT = Experiment(rows, chart, sentence, ("hidden", "parameters", "seed", "step", "rmse"))

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
