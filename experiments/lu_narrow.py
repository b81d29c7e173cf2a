"""Narrow networks that imitate wide ones: trained by Lu17's protocol, and constructed.

    python experiments/lu_narrow.py [--scale smoke|cpu|gpu]

Lu, Pu, Wang, Hu and Wang 2017 asked whether wide shallow networks can be imitated by narrow ones
that are not much deeper, and tried it by training. The protocol, from secondary sources and so kept
in `Protocol`: input dimension 1 and 2, k = 3, 4, 5, targets of width 2k² and depth 3 (weights
N(0, 1), biases uniform), approximators of width 3k^{3/2} and depth k + 2, Adam on grid points.
Targets are divided by their standard deviation on the grid, so errors are relative. Beside them the
packed twin (accuracy and δ below) and the slim exact one, narrower and deeper, evaluated exactly at
some of the same points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from depthwright.constructions import Construction, NarrowExactSlim, NarrowPacked
from depthwright.distributions.uniform import UniformCube
from depthwright.experiment import Experiment, Run, largest, least
from depthwright.figures.chart import Chart, Panel, series
from depthwright.networks import Architecture
from depthwright.targets import Network

if TYPE_CHECKING:
    import polars
    import torch


@dataclass(frozen=True)
class Protocol:
    """The setting of Lu17, as far as it is reported."""

    bias_bound: float = 1.0
    """Biases uniform on ±this."""
    grid: tuple[int, int] = (20_000, 200)
    """Grid points per coordinate on [−1, 1] for d = 1 and d = 2: 20,000 and 40,000 points."""
    batch_size: int = 256
    learning_rates: tuple[float, ...] = (1e-3, 3e-3)

    def target_widths(self, d: int, k: int) -> tuple[int, ...]:
        """Depth 3, width 2k²."""
        return (d, 2 * k * k, 2 * k * k, 1)

    def approximator(self, d: int, k: int) -> tuple[int, ...]:
        """Depth k + 2, width 3k^{3/2}."""
        return (d, *[math.ceil(3 * k**1.5)] * (k + 1), 1)


PROTOCOL = Protocol()
ACCURACY = FAILURE = 1e-3
KS = {"smoke": (3, 4), "cpu": (3, 4, 5), "gpu": (3, 4, 5)}
STEPS = {"smoke": 200, "cpu": 8000, "gpu": 40_000}
SEEDS = {"smoke": 1, "cpu": 2, "gpu": 8}
CHECKED = {"smoke": 20, "cpu": 300, "gpu": 2000}
"""Points at which twins are evaluated exactly."""
NAMES = {
    "trained": "trained, Lu17's size",
    "narrow_packed": "packed twin",
    "narrow_exact_slim": "exact twin, slim",
}


class Grid(UniformCube):
    """Uniform on Lu17's grid points."""

    @property
    def side(self) -> int:
        """Number of points per coordinate."""
        return PROTOCOL.grid[self.input_dim - 1]

    def sample(
        self, count: int, generator: torch.Generator, dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        import torch

        shape = (count, self.input_dim)
        where = torch.randint(self.side, shape, generator=generator, device=generator.device)
        return where.to(dtype or torch.float64) * (2 / (self.side - 1)) - 1

    def everywhere(self) -> torch.Tensor:
        """All grid points, float64."""
        import torch

        axis = torch.linspace(-1, 1, self.side, dtype=torch.float64)
        return torch.cartesian_prod(*[axis] * self.input_dim).reshape(-1, self.input_dim)


@lru_cache(maxsize=1)
def target(d: int, k: int) -> Network:
    """The random target of seed k, divided by its standard deviation on the grid."""
    import torch

    rng = np.random.default_rng(k)
    state = {}
    for i, (fan_in, fan_out) in enumerate(pairwise(PROTOCOL.target_widths(d, k))):
        state[f"{2 * i}.weight"] = torch.from_numpy(rng.standard_normal((fan_out, fan_in)))
        bias = rng.uniform(-PROTOCOL.bias_bound, PROTOCOL.bias_bound, fan_out)
        state[f"{2 * i}.bias"] = torch.from_numpy(bias)
    deviation = float(Network(state)(Grid(d).everywhere()).std())
    for part in ("4.weight", "4.bias"):
        state[part] = state[part] / deviation
    return Network(state)


def measure(d: int, k: int, contender: str, steps: int, seeds: int, points: int) -> dict[str, Any]:
    """Measure one contender for one target."""
    if contender == "trained":
        return trained(d, k, steps, seeds)
    recipes: dict[str, Construction] = {
        "narrow_packed": NarrowPacked(target(d, k), ACCURACY, FAILURE),
        "narrow_exact_slim": NarrowExactSlim(target(d, k)),
    }
    return constructed(d, k, recipes[contender], points)


def trained(d: int, k: int, steps: int, seeds: int) -> dict[str, Any]:
    """The best of several seeds and learning rates, trained on all grid points."""
    from depthwright.training import TrainerConfig, TrainingConfig, train_rivals

    shape = PROTOCOL.approximator(d, k)
    config = TrainingConfig(
        steps=steps,
        seeds=seeds,
        batch_size=PROTOCOL.batch_size,
        learning_rates=list(PROTOCOL.learning_rates),
    )
    result = train_rivals(
        {"trained": [shape]}, target(d, k), Grid(d), config, TrainerConfig(), progress=False
    )
    x = Grid(d).everywhere()
    gaps = result.rivals["trained"].network.evaluate(x, "float32").double() - target(d, k)(x)
    return {**row(d, k, gaps, Architecture.of(shape)), "seconds": result.seconds}


def constructed(d: int, k: int, recipe: Construction, points: int) -> dict[str, Any]:
    """Exact values at some grid points; points of the bad set are counted separately."""
    import time

    import torch

    start = time.perf_counter()
    built = recipe.build()
    seconds = time.perf_counter() - start
    x = Grid(d).sample(points, torch.Generator().manual_seed(0))
    gaps = built.network.evaluate(x, "exact") - target(d, k).truth(x)
    good = (
        ~torch.from_numpy(built.in_bad_set(x.numpy()))
        if built.in_bad_set
        else torch.ones(points).bool()
    )
    return {
        **row(d, k, gaps[good], built.network.architecture),
        "promised": built.claim.bound,
        "bad_points": int((~good).sum()),
        "seconds": seconds,
    }


def row(d: int, k: int, gaps: torch.Tensor, size: Architecture) -> dict[str, Any]:
    own = Architecture.of(PROTOCOL.target_widths(d, k))
    return {
        "target_width": own.width,
        "target_parameters": own.parameters,
        "width": size.width,
        "depth": size.depth,
        "parameters": size.parameters,
        "error_rms": float(gaps.square().mean().sqrt()),
        "error_sup_sampled": float(gaps.abs().max()),
        "promised": None,
        "bad_points": None,
    }


def rows(run: Run) -> polars.DataFrame:
    scale = run.scale
    return run.cells(
        (
            {
                "d": d,
                "k": k,
                "contender": contender,
                "steps": STEPS[scale],
                "seeds": SEEDS[scale],
                "points": CHECKED[scale],
            }
            for d in (1, 2)
            for k in KS[scale]
            for contender in NAMES
        ),
        measure,
    )


def chart(rows: polars.DataFrame) -> Chart:
    """Error against the target's width, one panel per dimension, and sizes."""
    import polars

    column = polars.col
    panels = []
    ticks = tuple(float(n) for n in rows["target_width"].unique().sort())
    for d in (1, 2):
        curves = []
        for name, text in NAMES.items():
            if name == "narrow_exact_slim":
                continue  # no error to draw on a logarithmic axis
            part = rows.filter((column("d") == d) & (column("contender") == name))
            who = "trained_width" if name == "trained" else name
            curves.append(series(part, "target_width", "error_rms", text, contender=who))
            if name == "narrow_packed":
                promise = f"{text}: promised"
                curves.append(
                    series(part, "target_width", "promised", promise, "promised", contender=who)
                )
        panels.append(
            Panel(
                "target width 2k²",
                "root mean squared error / deviation",
                tuple(curves),
                y_log=True,
                ticks=ticks,
                title=f"d = {d}",
            )
        )
    return Chart(tuple(panels))


def sentence(rows: polars.DataFrame) -> str:
    parts = {str(name): part for (name,), part in rows.group_by("contender")}
    trained, packed, exact = (parts[name] for name in NAMES)

    def span(part: polars.DataFrame, column: str, form: str) -> str:
        return f"{least(part, column):{form}} to {largest(part, column):{form}}"

    return (
        f"Narrow networks trained by Lu17's protocol err by {span(trained, 'error_rms', '.1e')} of "
        f"the target's deviation, packed twins by {span(packed, 'error_rms', '.1e')}. Lu17 reports "
        "that trained networks of width 3k^1.5 and depth k + 2 imitate targets of width 2k² with "
        "errors of order 1e-3; those trained here have "
        f"{span(trained, 'parameters', ',.0f')} parameters. The packed twin, of width "
        f"{largest(packed, 'width'):.0f} and depth {span(packed, 'depth', ',.0f')}, promises an "
        f"error of {largest(packed, 'promised'):.1e} with probability {1 - FAILURE:g}; outside the "
        f"bad set, at {packed['points'][0]:,} points of each, it has at most "
        f"{largest(packed, 'error_sup_sampled'):.1e}. The exact one, of width "
        f"{span(exact, 'width', '.0f')} and depth {span(exact, 'depth', ',.0f')}, differs from its "
        f"target by at most {largest(exact, 'error_sup_sampled'):.1g}."
    )


def broken(rows: polars.DataFrame) -> list[str]:
    return [
        f"{r['contender']}, d = {r['d']}, k = {r['k']}: {r['error_sup_sampled']:.3g} above "
        f"{r['promised']:.3g}"
        for r in rows.drop_nulls("promised").iter_rows(named=True)
        if not r["error_sup_sampled"] <= r["promised"]
    ]


EXPERIMENT = Experiment(rows, chart, sentence, broken=broken)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
