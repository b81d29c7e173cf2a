"""Proved errors of trained networks: above every attack, and close to the largest one found.

    python experiments/certified_checks.py [--scale smoke|cpu|gpu]

Depth-2 networks trained by Adam on Cone and Hat(2), dimension 2 and 3, width 64 and 256: the upper
bound of the sup error over the ball that branch and bound proves (errors/certified.py), beside the
largest error that an attack finds. Each second network carries a spike of height 0.05 on a cap of
the ball that random inputs miss; its proved error must not miss it. A promise is broken where an
attack finds more than is proved, or where the proved bound lies below the spike.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from depthwright import targets
from depthwright.distributions import UniformRadius
from depthwright.errors import attack, certified_sup
from depthwright.experiment import Experiment, Run
from depthwright.figures.chart import Chart, Panel, Series
from depthwright.networks.torch_network import ModuleNetwork, layers_of
from depthwright.training import TrainingConfig, train_rivals
from depthwright.training.config import TrainerConfig

if TYPE_CHECKING:
    import polars

CASES = {
    "smoke": (("Cone", 2, 16, 1),),
    "cpu": tuple(
        (name, d, width, seeds)
        for name, seeds in (("Cone", 3), ("Hat", 2))
        for d in (2, 3)
        for width in (64, 256)
    ),
}
CASES["gpu"] = CASES["cpu"]
STEPS = {"smoke": 100, "cpu": 2000, "gpu": 2000}
SPIKE, CAP = 0.05, 1e-6
"""Height of the planted spike, and that of the cap that carries it."""
PLAIN, SPIKED = "as trained", "with a spike"
COLOURS = {
    (2, PLAIN): "#0b6e99",
    (2, SPIKED): "#7a5195",
    (3, PLAIN): "#c8553d",
    (3, SPIKED): "#e09f3e",
}


def spiked(network: ModuleNetwork) -> tuple[ModuleNetwork, np.ndarray]:
    """One more neuron, which is not 0 on a cap of the ball alone; and the middle of that cap."""
    (weight, bias), (outer, offset) = layers_of(network)
    d = weight.shape[1]
    top = torch.zeros(1, d, dtype=torch.float64)
    top[0, -1] = 1.0
    height = torch.tensor([[SPIKE / CAP]], dtype=torch.float64)
    layers = [
        (
            torch.cat([weight, top]),
            torch.cat([bias, torch.tensor([CAP - 1.0], dtype=torch.float64)]),
        ),
        (torch.cat([outer, height], dim=1), offset),
    ]
    return ModuleNetwork.of(layers), top[0].numpy()


def measure(target: str, input_dim: int, width: int, seed: int, steps: int) -> list[dict[str, Any]]:
    radial = getattr(targets, target)(input_dim)
    law = UniformRadius(input_dim)
    config = TrainingConfig(steps=steps, learning_rates=[3e-3], seeds=1)
    trained = train_rivals(
        {"trained": [(input_dim, width, 1)]},
        radial,
        law,
        config,
        TrainerConfig(accelerator="cpu", progress=False),
        seed=seed,
    )
    network = ModuleNetwork(trained.rivals["trained"].network.to_torch(torch.float64))
    other, top = spiked(network)
    generator = torch.Generator().manual_seed(seed)
    x = law.sample(100_000, generator)
    at = torch.from_numpy(top)[None]
    found = []
    for kind, each in ((PLAIN, network), (SPIKED, other)):
        start = time.perf_counter()
        proved = certified_sup(each, radial)
        seconds = time.perf_counter() - start
        assert proved is not None
        gap = (each.evaluate(x) - radial(x)).abs()[:, 0]
        starts = torch.cat([x[gap.topk(200).indices], each.kink_points(200, generator).to(x)])
        met = max(float(gap.max()), attack(each, radial, starts, 200))
        there = float((each.evaluate(at) - radial(at)).abs())
        found.append(
            {
                "network": kind,
                "error_sup_sampled": float(gap.max()),
                "error_sup_attacked": met,
                "error_at_spike": there,
                "error_sup_certified": proved,
                "gap": proved / max(met, there) - 1,
                "certify_seconds": seconds,
            }
        )
    return found


def rows(run: Run) -> polars.DataFrame:
    cells = [
        {"target": name, "input_dim": d, "width": width, "seed": seed, "steps": STEPS[run.scale]}
        for name, d, width, seeds in CASES[run.scale]
        for seed in range(seeds)
    ]
    return run.cells(cells, measure)


def chart(rows: polars.DataFrame) -> Chart:
    import polars

    lines = []
    for keys, part in rows.group_by("input_dim", "network", maintain_order=True):
        d, kind = int(str(keys[0])), str(keys[1])
        x = tuple(part["error_sup_attacked"].to_list())
        y = tuple((part["error_sup_certified"] / polars.Series(x)).to_list())
        notes = tuple(
            f"{row['target']}, width {row['width']}" for row in part.iter_rows(named=True)
        )
        colour = COLOURS[d, kind]
        lines.append(Series(f"d = {d}, {kind}", x, y, "points", colour, notes=notes))
    axis = "proved / attacked sup error"
    panel = Panel("attacked sup error", axis, tuple(lines), True, True, lines=(("attacked", 1.0),))
    return Chart((panel,))


def sentence(rows: polars.DataFrame) -> str:
    import polars

    plain = rows.filter(polars.col("network") == PLAIN)
    spikes = rows.filter(polars.col("network") == SPIKED)
    kept = int((plain["error_sup_certified"] >= plain["error_sup_attacked"]).sum())
    missed = int((spikes["error_sup_sampled"] < spikes["error_at_spike"]).sum())
    seen = int((spikes["error_sup_certified"] >= spikes["error_at_spike"]).sum())
    gap: float = plain["gap"].max()  # type: ignore[assignment]
    slowest: float = rows["certify_seconds"].max()  # type: ignore[assignment]
    return (
        f"For {kept} of {len(plain)} trained networks the proved error is above the largest one "
        f"that an attack finds, by at most {gap:.1%}. Each proof takes {slowest:.0f} s or less. In "
        f"each network a spike of height {SPIKE:g} was planted as well: random inputs miss "
        f"{missed} of {len(spikes)} spikes, and {seen} are below what is proved."
    )


def broken(rows: polars.DataFrame) -> list[str]:
    return [
        f"{row['target']} d={row['input_dim']} width {row['width']} seed {row['seed']} "
        f"{row['network']}: {max(row['error_sup_attacked'], row['error_at_spike']):.6g} above "
        f"{row['error_sup_certified']:.6g}"
        for row in rows.iter_rows(named=True)
        if not row["error_sup_certified"] >= max(row["error_sup_attacked"], row["error_at_spike"])
    ]


COLUMNS = (
    *("target", "input_dim", "width", "seed", "network", "error_sup_sampled"),
    *("error_sup_attacked", "error_at_spike", "error_sup_certified", "gap", "certify_seconds"),
)
EXPERIMENT = Experiment(rows, chart, sentence, COLUMNS, broken)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
