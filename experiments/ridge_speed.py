"""Structured against dense evaluation of one ridge network, same points, same run.

    python experiments/ridge_speed.py [--scale smoke|cpu|gpu]

The plain module pays width·d multiply-adds a point and moves batch × width floats through the
cache; the structured form pays directions·(nonzeros + 1). The dense module is run at the chunk
size that suits it best. Memory is the peak of the process before the dense module exists.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Any

import torch

from depthwright.constructions import Ridge
from depthwright.distributions import UniformRadius
from depthwright.experiment import Experiment, Run, fastest
from depthwright.figures.chart import Chart, Panel, series
from depthwright.networks.ridge import RidgeNetwork
from depthwright.targets import Cone

if TYPE_CHECKING:
    import polars

SIZES = {"smoke": (8, 20_000), "cpu": (20, 100_000), "gpu": (20, 100_000)}
"""Input dimension and points."""
CHUNKS = (32, 64, 128, 256, 512, 2048, 8192)
DENSE_SHARE = 0.1
"""Part of the points that the dense module is timed on; its time is proportional."""


def measure(input_dim: int, points: int) -> list[dict[str, Any]]:
    """One row per chunk size of the dense form."""
    network = Ridge(Cone(input_dim=input_dim), accuracy=0.1).build().network
    assert isinstance(network, RidgeNetwork)
    x = UniformRadius(input_dim).sample(points, torch.Generator().manual_seed(0), torch.float32)
    network.evaluate(x[:2], "float32")  # compile
    structured = fastest(5, lambda: network.evaluate(x, "float32"))
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    module = network.to_torch(torch.float32)
    part = x[: int(points * DENSE_SHARE)]
    with torch.no_grad():
        gap = float((module(x[:200]) - network.evaluate(x[:200], "float32")).abs().max())
        shared = {
            "width": network.architecture.width,
            "threads": torch.get_num_threads(),
            "structured_seconds": structured,
            "structured_gigabytes": gigabytes,
            "difference": gap,
            "rounding_bound": network.rounding_bound("float32")
            + network.dense_rounding_bound("float32"),
        }
        found = []
        for chunk in CHUNKS:
            pieces = part.split(chunk)
            seconds = fastest(2, lambda pieces=pieces: [module(p) for p in pieces]) / DENSE_SHARE  # type: ignore[misc]
            row = {"chunk": chunk, "dense_seconds": seconds, "ratio": seconds / structured}
            found.append(row | shared)
    return found


def rows(run: Run) -> polars.DataFrame:
    """One network and one run: both timings of the ratio are taken in the same minute."""
    input_dim, points = SIZES[run.scale]
    return run.cells([{"input_dim": input_dim, "points": points}], measure)


def chart(rows: polars.DataFrame) -> Chart:
    ratio = series(rows, "chunk", "ratio", "dense / structured", contender="constructed")
    x, y = "points that the dense form takes at once", "seconds, dense / structured"
    return Chart((Panel(x, y, (ratio,), x_log=True, lines=(("equally fast", 1.0),)),))


def sentence(rows: polars.DataFrame) -> str:
    one = rows.sort("ratio").row(0, named=True)
    return (
        f"A cone's ridge network in dimension {one['input_dim']} (width {one['width']:,}) "
        f"evaluates {one['points']:,} points {one['ratio']:.1f} times faster by its structure than "
        f"as a plain module at its best chunk size ({one['chunk']}), in float32 with "
        f"{one['threads']} threads and {one['structured_gigabytes']:.2f} GB of memory at its peak; "
        f"the two differ by at most {one['difference']:.1e}, the stated rounding bound is "
        f"{one['rounding_bound']:.1e}."
    )


def broken(rows: polars.DataFrame) -> list[str]:
    one = rows.row(0, named=True)
    if one["difference"] <= one["rounding_bound"]:
        return []
    return [f"the forms differ by {one['difference']:.2g}, above {one['rounding_bound']:.2g}"]


EXPERIMENT = Experiment(rows, chart, sentence, broken=broken)

if __name__ == "__main__":
    EXPERIMENT.main(__file__)
